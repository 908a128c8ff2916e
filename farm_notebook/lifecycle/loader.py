"""What a shelf needs of a provider to keep its models: the seam between the two."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

from farm_notebook.lifecycle.job import Tell
from farm_notebook.lifecycle.version import Facts
from farm_notebook.types import LoadOptions, ModelRef

__all__ = ["Loader"]

K = TypeVar("K")
T = TypeVar("T")


class Loader(Protocol[K, T]):
    """Brings models into memory, moves them, and gives them up. Everything runs on the farm's loop.

    Nothing is called for a value while another call for it is under way.
    """

    def ref(self, key: K) -> ModelRef:
        """The name that a user gave a model."""
        ...

    def base(self, key: K) -> K | None:
        """What a model stands on, as an adapter does on its base; ``None`` where it stands alone."""
        ...

    def facts(self, value: T) -> Facts:
        """What can be said of one that is in memory."""
        ...

    async def load(self, key: K, base: T | None, options: LoadOptions, tell: Tell) -> T:
        """Bring one into memory, and see that it works; cancelling stops it, and leaves nothing of it.

        Its variables are cleared where it fails, so that the error's traceback keeps no part of a model.

        Args:
            key: Which one.
            base: What it stands on, and shares the memory of.
            options: Where they differ from the settings.
            tell: Takes progress, from any thread.

        Raises:
            OutOfMemoryError: It does not fit beside what is there.
            FarmError: It cannot be loaded, or does not work.
        """
        ...

    async def interrupt(self, value: T) -> None:
        """End what it is answering with an error for whoever asked; it stays loaded, and answers others."""
        ...

    async def close(self, value: T) -> None:
        """Give its memory back; it is not used again."""
        ...

    async def park(self, value: T) -> bool:
        """Move it to host memory; whether that frees any. A failure leaves it as it was."""
        ...

    async def unpark(self, value: T) -> None:
        """Move it back, the same to the bit; nothing where it is not parked. A cancel leaves it parked.

        Raises:
            OutOfMemoryError: It does not fit any more; it stays in host memory.
        """
        ...

    def death(self, value: T) -> Coroutine[Any, Any, str] | None:
        """Waits until the process that runs it is gone, and says how it went; ``None`` without one."""
        ...
