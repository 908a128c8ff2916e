"""The digest of a model in memory, whose files may be others by now."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable

__all__ = ["digest_of_loaded"]


async def digest_of_loaded(
    fingerprint: str | None,
    generation: int,
    *,
    look: Callable[[], Awaitable[str | None]],
    digest: Callable[[], Awaitable[str | None]],
) -> str | None:
    """The digest of the files that a model was loaded from, while they are there; else what stands for it.

    Args:
        fingerprint: Of the files when they were loaded.
        generation: Of the model.
        look: Tells the fingerprint of the files there are now.
        digest: Tells the digest of the files there are now; it takes a while for large ones.

    Returns:
        A digest that no other version of the model has; ``None`` where the provider knows none.
    """
    found = await digest()
    if found is None or await look() == fingerprint:
        return found
    return hashlib.sha256(f"{fingerprint} {generation}".encode()).hexdigest()
