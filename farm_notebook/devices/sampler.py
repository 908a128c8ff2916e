"""Figures of the devices as they change, read in a thread and only while somebody looks."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass

from farm_notebook.devices.reading import device_stats
from farm_notebook.types import DeviceStats

__all__ = ["Sample", "Sampler"]


@dataclass(frozen=True, slots=True)
class Sample:
    """What was read at one time of the sampler's clock."""

    at_s: float
    devices: tuple[DeviceStats, ...]


class Sampler:
    """Shares each reading among all who watch. It is used on one event loop.

    Args:
        interval_s: From one reading to the next.
        keep: How many samples ``history`` holds.
        read: Called in a thread, never twice at once.
        clock: Tells the time in seconds.
        sleep: Waits for so many seconds.
    """

    def __init__(
        self,
        interval_s: float = 1.0,
        *,
        keep: int = 300,
        read: Callable[[], tuple[DeviceStats, ...]] = device_stats,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.interval_s = interval_s
        self._read, self._clock, self._sleep = read, clock, sleep
        self._history: deque[Sample] = deque(maxlen=keep)
        self._watchers = 0
        self._coming: asyncio.Task[Sample] | None = None
        self._reading: asyncio.Future[tuple[DeviceStats, ...]] | None = None

    @property
    def history(self) -> tuple[Sample, ...]:
        """The latest samples, the oldest first; with gaps where nobody watched."""
        return tuple(self._history)

    async def watch(self) -> AsyncGenerator[tuple[DeviceStats, ...]]:
        """The devices now, and again after each interval. Close it when done: ``aclosing``.

        Yields:
            What every other watcher gets, too. One that is slow misses samples, and holds up nobody.
        """
        self._watchers += 1
        seen: Sample | None = None
        try:
            while True:
                seen = await self._newer_than(seen)
                yield seen.devices
        finally:
            self._watchers -= 1
            if not self._watchers and self._coming is not None:
                self._coming.cancel()
                self._coming = None

    async def _newer_than(self, seen: Sample | None) -> Sample:
        last = self._history[-1] if self._history else None
        wait_s = 0.0 if last is None else last.at_s + self.interval_s - self._clock()
        if last is not None and last is not seen and wait_s > 0:
            return last
        if self._coming is None or self._coming.done():
            self._coming = asyncio.create_task(self._sample(wait_s))
        return await asyncio.shield(self._coming)

    async def _sample(self, wait_s: float) -> Sample:
        if wait_s > 0:
            await self._sleep(wait_s)
        if self._reading is None or self._reading.done():  # no thread can be cancelled, and drivers may hang
            self._reading = asyncio.get_running_loop().run_in_executor(None, self._read)
        began_s = self._clock()
        sample = Sample(began_s, await asyncio.shield(self._reading))
        self._history.append(sample)
        return sample
