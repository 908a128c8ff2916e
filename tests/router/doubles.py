"""Providers that list what they are told to, for tests of what is decided by their lists."""

from __future__ import annotations

import asyncio
import math

from farm_notebook.errors import FarmError
from farm_notebook.types import Capability, ModelInfo, ModelRef

__all__ = ["Clock", "Lists", "model"]

MB = 1_000_000


def model(
    name: str,
    *capabilities: Capability,
    available: bool = True,
    loaded: bool = False,
    context_tokens: int | None = None,
    size_bytes: int = 100 * MB,
) -> ModelInfo:
    """A model as a provider lists it; what it can do is not told where nothing is given."""
    return ModelInfo(
        ModelRef(*name.split(":", 1)),
        available=available,
        loaded=loaded,
        context_tokens=context_tokens,
        size_bytes=size_bytes,
        capabilities=frozenset(capabilities) or None,
    )


class Clock:
    """Seconds that pass only when they are told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Lists:
    """What each provider lists; an error is raised, and ``None`` keeps the caller waiting for ever."""

    def __init__(self, *infos: ModelInfo, **others: list[ModelInfo] | FarmError | None) -> None:
        self.found: dict[str, list[ModelInfo] | FarmError | None] = {}
        for info in infos:
            listed = self.found.setdefault(info.ref.provider, [])
            assert isinstance(listed, list)
            listed.append(info)
        self.found |= others
        self.asked: list[str] = []
        self.was_asked = asyncio.Event()
        self.left: list[str] = []

    async def __call__(self, provider: str) -> list[ModelInfo]:
        self.asked.append(provider)
        self.was_asked.set()
        try:
            found = self.found.get(provider, [])
            await asyncio.sleep(math.inf if found is None else 0)
        except asyncio.CancelledError:
            self.left.append(provider)
            raise
        if isinstance(found, FarmError):
            raise found
        assert found is not None
        return list(found)
