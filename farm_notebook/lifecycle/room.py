"""Room in memory for a model that is to be loaded: whether there is enough, and who could make some."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from farm_notebook.config import ModelsConfig
from farm_notebook.devices import Booking, device_stats, ledger, place
from farm_notebook.errors import OutOfMemoryError
from farm_notebook.lifecycle.version import Facts
from farm_notebook.types import DeviceStats, ModelRef

__all__ = ["Berth", "Idle", "Room"]

HOST = "cpu"
HOST_PART = 4  # of host memory, one part in so many may hold what was set aside
SHOWN_MODELS = 3


@dataclass(frozen=True, slots=True)
class Idle:
    """A model that nobody works on, and that could be given up.

    Args:
        ref: The model.
        facts: Its size, and where it is.
        idle_s: Seconds since someone worked on it.
        is_aside: It is in host memory only.
        give_up: Does it, if that can still be done at once; whether it could.
    """

    ref: ModelRef
    facts: Facts
    idle_s: float
    is_aside: bool
    give_up: Callable[[], Awaitable[bool]]

    @property
    def devices(self) -> tuple[str, ...]:
        """Where it takes memory now."""
        return (HOST,) if self.is_aside else self.facts.devices


@dataclass(frozen=True, slots=True)
class Berth:
    """What a load was given.

    Args:
        booking: Where to put the model; it is to be told what has arrived.
        free_bytes: What was free there, other loads' shares and what must stay free taken off.
    """

    booking: Booking
    free_bytes: int

    @property
    def devices(self) -> str:
        """Where it goes, in words."""
        return ", ".join(self.booking.placement.device_ids)


class Room:
    """Gives loads their places, one after the other, and has idle models make room if it is told to.

    Args:
        settings: Of this moment.
        is_pinned: Whether a model is never to be given up for another.
        stats: Of the devices, just read.
    """

    def __init__(
        self,
        settings: Callable[[], ModelsConfig],
        is_pinned: Callable[[ModelRef], bool],
        stats: Callable[[], tuple[DeviceStats, ...]] = device_stats,
    ) -> None:
        self._settings = settings
        self._is_pinned = is_pinned
        self._stats = stats
        self._idle: list[Callable[[], list[Idle]]] = []
        self._turn = asyncio.Lock()

    def add(self, idle: Callable[[], list[Idle]]) -> Callable[[], None]:
        """Count with the models of one more shelf; what is returned ends that."""
        self._idle.append(idle)

        def forget() -> None:
            if idle in self._idle:
                self._idle.remove(idle)

        return forget

    @asynccontextmanager
    async def berth(self, ref: ModelRef, size_bytes: int, *, wanted: str = "auto") -> AsyncIterator[Berth]:
        """A place for a model that is loaded inside; other loads leave it alone meanwhile.

        Args:
            ref: The model.
            size_bytes: What it will take.
            wanted: A device, or ``auto``.

        Raises:
            OutOfMemoryError: There is not enough, and nobody may be, or can be, given up for it.
            InvalidRequestError: There is no such device.
        """
        async with self._turn:
            berth = await self._found(ref, size_bytes, wanted)
        try:
            yield berth
        finally:
            berth.booking.release()

    async def trim(self) -> None:
        """Give up what was set aside beyond its bound, the longest idle first, but nothing that is pinned."""
        aside = sorted((idle for idle in self._all() if idle.is_aside), key=lambda idle: -idle.idle_s)
        taken = sum(_size(idle) for idle in aside)
        bound = self._bound()
        for idle in aside:
            if taken > bound and not self._is_pinned(idle.ref) and await idle.give_up():
                taken -= _size(idle)

    def _bound(self) -> int:
        bound = self._settings().warm_bytes
        if bound is None:
            bound = sum(device.total_bytes for device in self._stats() if device.kind == HOST) // HOST_PART
        return bound

    async def _found(self, ref: ModelRef, size_bytes: int, wanted: str) -> Berth:
        while True:
            try:
                return self._take(size_bytes, wanted)
            except OutOfMemoryError as error:
                if not await self._make_some(size_bytes, wanted):
                    raise self._refusal(ref, error, wanted) from None

    def _take(self, size_bytes: int, wanted: str) -> Berth:
        stats = self._stats()
        booking = ledger.book(lambda reserved: place(size_bytes, stats, wanted=wanted, reserved=reserved))
        return Berth(booking, sum(room for _, room in booking.placement.rooms))

    async def _make_some(self, size_bytes: int, wanted: str) -> bool:
        """Give up one model; what is aside goes first, since it is kept only in case."""
        candidates = [idle for idle in self._evictable(wanted) if idle.is_aside or self._settings().evict]
        if not self._would_help(candidates, size_bytes, wanted):
            return False
        candidates.sort(key=lambda idle: (not idle.is_aside, -idle.idle_s))
        for idle in candidates:
            if await idle.give_up():
                return True
        return False

    def _would_help(self, candidates: Sequence[Idle], size_bytes: int, wanted: str) -> bool:
        """Whether there would be enough without them: else nobody is given up for nothing."""
        if any(idle.facts.size_bytes is None for idle in candidates):
            return True  # who knows
        freed = Counter[str]()
        for idle in candidates:
            for device in idle.devices:  # how it is spread over several is not known
                freed[device] += _size(idle)
        stats = [replace(each, free_bytes=each.free_bytes + freed[each.id]) for each in self._stats()]
        try:
            place(size_bytes, stats, wanted=wanted, reserved=ledger.reserved)
        except OutOfMemoryError:
            return False
        return True

    def _evictable(self, wanted: str) -> list[Idle]:
        """Those that take memory where it is wanted."""
        accelerators = {device.id for device in self._stats() if device.kind != HOST and device.total_bytes}
        where = accelerators or {HOST} if wanted == "auto" else {wanted}
        return [
            idle
            for idle in self._all()
            if not self._is_pinned(idle.ref)
            and any(device in where or device.startswith(f"{wanted}:") for device in idle.devices)
        ]

    def _all(self) -> Iterator[Idle]:
        for idle in self._idle:
            yield from idle()

    def _refusal(self, ref: ModelRef, error: OutOfMemoryError, wanted: str) -> OutOfMemoryError:
        """The same, with what could be unloaded."""
        from rich.filesize import decimal

        could = sorted(self._evictable(wanted), key=lambda idle: -idle.idle_s)
        named = [f"{idle.ref} ({decimal(_size(idle))})" for idle in could[:SHOWN_MODELS]]
        more = f" and {len(could) - SHOWN_MODELS} more" if len(could) > SHOWN_MODELS else ""
        hint = (
            f" Idle now: {', '.join(named)}{more}; `%farm unload` gives one up, and with models.evict=true "
            "that happens by itself."
        )
        return OutOfMemoryError(f"{ref} does not fit. {error}{hint if named else ''}", provider=ref.provider)


def _size(idle: Idle) -> int:
    return idle.facts.size_bytes or 0
