"""One generation of a model in memory, and who works on it."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Facts", "Version", "next_generation"]

T = TypeVar("T")
_generations = itertools.count(1)


def next_generation() -> int:
    """A number for what is loaded next; it grows with every load in this process."""
    return next(_generations)


@dataclass(frozen=True, slots=True)
class Facts:
    """What can be said of a model in memory.

    Args:
        generation: Its ``next_generation``.
        size_bytes: Of its weights.
        devices: Where they lie; ``cpu`` is host memory.
    """

    generation: int
    size_bytes: int | None
    devices: tuple[str, ...]


class Version(Generic[T]):
    """Weights in memory with those who work on them. Whoever began on it ends on it.

    Args:
        value: What the provider made of it.
        facts: Of it.
    """

    def __init__(self, value: T, facts: Facts) -> None:
        self.value = value
        self.facts = facts
        self.users = 0
        self.leases = 0
        self.served = 0
        self.is_restart = False  # it was started again after its process had died
        self.idle = asyncio.Event()
        self.idle.set()
        self._idle_since = time.monotonic()

    @property
    def is_idle(self) -> bool:
        """Whether nobody has anything of it."""
        return not self.users and not self.leases

    @property
    def idle_s(self) -> float | None:
        """Seconds since someone last worked on it; ``None`` while someone does."""
        return time.monotonic() - self._idle_since if self.is_idle else None

    @contextmanager
    def used(self) -> Iterator[None]:
        """An answer is under way inside; what unloads or replaces the model waits for its end."""
        self.users += 1
        self.idle.clear()
        try:
            yield
            self.served += 1
        finally:
            self.users -= 1
            self._idle_since = time.monotonic()
            if not self.users:
                self.idle.set()

    @contextmanager
    def leased(self) -> Iterator[None]:
        """The user has the weights in hand inside: they may be given up here, but not moved."""
        self.leases += 1
        try:
            yield
        finally:
            self.leases -= 1
            self._idle_since = time.monotonic()
