"""One generation of a model in memory, who works on it, and what stands on it."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from farm_notebook.errors import ProviderError

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
        base: The generation it stands on, as an adapter does, until it is closed.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        value: T,
        facts: Facts,
        base: Version[T] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._value = [value]  # until it is closed
        self.facts = facts
        self.base = base
        self.users = 0
        self.leases = 0
        self.carried = 0
        self.served = 0
        self.is_restart = False  # it was started again after its process had died
        self.is_dead = False  # its process is gone
        self.is_closed = False
        self.lock = asyncio.Lock()  # what is done to its value is done one after the other
        self.idle = asyncio.Event()  # nobody works on it
        self.idle.set()
        self.bare = asyncio.Event()  # nothing stands on it
        self.bare.set()
        self._clock = clock
        self._idle_since = clock()
        self._standing = ExitStack()
        if base is not None:
            self._standing.enter_context(base.carrying())

    @property
    def value(self) -> T:
        """What the provider made of it.

        Raises:
            ProviderError: It is closed; who still knows of it keeps no weights.
        """
        if not self._value:
            raise ProviderError("The model was unloaded while it was in use. Make the call again.")
        return self._value[0]

    @property
    def is_idle(self) -> bool:
        """Whether nobody has anything of it."""
        return not self.users and not self.leases and not self.carried

    @property
    def idle_s(self) -> float | None:
        """Seconds since someone last worked on it, or on what stands on it; ``None`` while someone does."""
        return self._clock() - self._idle_since if not self.users and not self.leases else None

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
            self._touch()
            if not self.users:
                self.idle.set()

    @contextmanager
    def leased(self) -> Iterator[None]:
        """The user has the weights in hand inside, and its base's with them: they may be given up here, but
        not moved.
        """
        with ExitStack() as stack:
            if self.base is not None:
                stack.enter_context(self.base.leased())
            self.leases += 1
            try:
                yield
            finally:
                self.leases -= 1
                self._touch()

    @contextmanager
    def carrying(self) -> Iterator[None]:
        """Something stands on it inside, or is about to; it is not closed meanwhile."""
        self.carried += 1
        self.bare.clear()
        try:
            yield
        finally:
            self.carried -= 1
            if not self.carried:
                self.bare.set()

    def dismiss(self) -> None:
        """Have nobody wait for those who work on it: it is about to go whatever they do."""
        self.idle.set()
        self.bare.set()

    def close(self) -> None:
        """It is gone; what it stood on may go too."""
        self.is_closed = True
        self._value.clear()
        self._standing.close()

    def _touch(self) -> None:
        self._idle_since = self._clock()
        if self.base is not None:
            self.base._touch()
