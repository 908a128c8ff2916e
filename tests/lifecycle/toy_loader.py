"""A loader of toys: instant, or as slow as a test wants, failing on cue, counting memory as a device does.

What must never happen to a model is written down in ``violations`` rather than raised, so that it is seen
wherever it happened.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Literal

from farm_notebook.errors import InvalidRequestError, LoadError, OutOfMemoryError, ProviderError
from farm_notebook.lifecycle.job import Tell
from farm_notebook.lifecycle.version import Facts, Version, next_generation
from farm_notebook.types import LoadOptions, LoadProgress, ModelRef

__all__ = ["SIZE", "Toy", "ToyLoader", "no_sleep"]

SIZE = 10
STEPS = 3  # awaits of a load
Place = Literal["device", "host", "nowhere"]


class Toy:
    """A model in memory."""

    def __init__(self, key: str, text: str, base: Toy | None) -> None:
        self.key = key
        self.text = text
        self.base = base
        self.generation = next_generation()
        self.size = SIZE if base is None else 1
        self.place: Place = "device"
        self.is_closed = False
        self.interrupts = 0
        self.busy = ""  # what is being done to it
        self.died = asyncio.Event()


class ToyLoader:
    """A ``Loader`` of toys.

    Args:
        room: Bytes of the device; of host memory there is no end.
        bases: What stands on what.
        has_processes: Toys can die.
        pause: Awaited between two steps of whatever takes time.
    """

    def __init__(
        self,
        *,
        room: int = 100,
        bases: dict[str, str] | None = None,
        has_processes: bool = False,
        pause: Callable[[], Coroutine[None, None, None]] | None = None,
    ) -> None:
        self.room = room
        self.bases = bases or {}
        self.has_processes = has_processes
        self.pause = pause or no_sleep
        self.can_park = True
        self.is_host = False  # the device is the host: parking frees nothing
        self.files: dict[str, str] = {}  # what a model answers; "corrupt" does not load
        self.gates: dict[str, asyncio.Event] = {}  # what a load of a key waits for
        self.device_bytes = 0
        self.host_bytes = 0
        self.loads = Counter[str]()
        self.loading = Counter[str]()
        self.options: dict[str, LoadOptions] = {}
        self.toys: list[Toy] = []
        self.violations: list[str] = []
        self.is_ending = False

    def ref(self, key: str) -> ModelRef:
        return ModelRef("toy", key)

    def base(self, key: str) -> str | None:
        return self.bases.get(key)

    def facts(self, value: Toy) -> Facts:
        return Facts(value.generation, value.size, ("cpu" if self.is_host else "toy:0",))

    async def load(self, key: str, base: Toy | None, options: LoadOptions, tell: Tell) -> Toy:
        self.loads[key] += 1
        self.loading[key] += 1
        self.require(self.loading[key] == 1, f"{key} is loaded twice at a time")
        size = SIZE if base is None else 1
        taken = 0
        try:
            text = self.files.get(key, "1")
            tell(LoadProgress("load", 0, size, "toy:0", self.room - self.device_bytes))
            for step in range(1, STEPS + 1):
                await self.pause()
                self.require(base is None or not base.is_closed, f"{key} is loaded on a base that is closed")
                self._take(size // STEPS + size % STEPS if step == STEPS else size // STEPS)
                taken += size // STEPS + size % STEPS if step == STEPS else size // STEPS
                tell(LoadProgress("load", taken, size))
            if key in self.gates:
                await self.gates[key].wait()
            if options.device == "moon":
                raise InvalidRequestError("There is no device 'moon'.")
            if text == "corrupt":
                raise LoadError(f"{key} is corrupt.\nDetails follow.")
        except BaseException:
            self.device_bytes -= taken
            raise
        finally:
            self.loading[key] -= 1
        self.options[key] = options
        toy = Toy(key, text, base)
        self.toys.append(toy)
        return toy

    async def interrupt(self, value: Toy) -> None:
        async with self._doing(value, "interrupt"):
            await self.pause()
            value.interrupts += 1

    async def close(self, value: Toy) -> None:
        async with self._doing(value, "close"):
            standing = [toy.generation for toy in self.toys if toy.base is value and not toy.is_closed]
            self.require(not standing, f"{value.key} is closed under {standing}")
            await self.pause()
            value.is_closed = True
            if value.place == "host":
                self.host_bytes -= value.size
            else:
                self.device_bytes -= value.size
            value.place = "nowhere"
            value.died.set()

    async def park(self, value: Toy) -> bool:
        async with self._doing(value, "park"):
            await self.pause()
            if not self.can_park:
                raise LoadError(f"{value.key} cannot be set aside.")
            if self.is_host:
                return False
            standing = [toy.generation for toy in self.toys if toy.base is value and not toy.is_closed]
            self.require(not standing, f"{value.key} is moved under {standing}")
            self.host_bytes += value.size
            self.device_bytes -= value.size
            value.place = "host"
            return True

    async def unpark(self, value: Toy) -> None:
        async with self._doing(value, "unpark"):
            await self.pause()
            if value.place == "host":
                self._take(value.size)
                self.host_bytes -= value.size
                value.place = "device"

    def death(self, value: Toy) -> Coroutine[None, None, str] | None:
        async def death() -> str:
            await value.died.wait()
            return f"The process of {value.key} died (signal 9, SIGKILL)."

        return death() if self.has_processes else None

    def kill(self, toy: Toy) -> None:
        """Have its process die."""
        toy.died.set()

    async def answer(self, version: Version[Toy], words: int = 3) -> str:
        """What a model answers; the same text at every step, or else somebody mixed two."""
        toy, interrupts = version.value, version.value.interrupts
        told = []
        for _ in range(words):
            await self.pause()
            if toy.interrupts != interrupts or (toy.died.is_set() and not toy.is_closed):
                raise ProviderError(f"{toy.key} was interrupted.", provider="toy")
            if toy.is_closed and (self.is_ending or version.is_dead):
                raise ProviderError(f"{toy.key} was closed.", provider="toy")
            self.require(not toy.is_closed, f"{toy.key} answers after it was closed")
            self.require(toy.place == "device", f"{toy.key} answers from {toy.place}")
            base = toy.base
            self.require(base is None or base.place == "device", f"{toy.key} answers on a base that is away")
            told.append(f"{toy.text}.{toy.generation}")
        self.require(len(set(told)) == 1, f"{toy.key} answers {told}")
        return toy.text

    def require(self, holds: bool, what: str) -> None:
        """Write down what must not be."""
        if not holds:
            self.violations.append(what)

    def _take(self, size: int) -> None:
        if self.device_bytes + size > self.room:
            raise OutOfMemoryError(f"{size} bytes do not fit.", provider="toy")
        self.device_bytes += size

    @asynccontextmanager
    async def _doing(self, toy: Toy, what: str) -> AsyncIterator[None]:
        self.require(not toy.is_closed, f"{what} of {toy.key} after it was closed")
        self.require(not toy.busy, f"{what} of {toy.key} during its {toy.busy}")
        toy.busy = what
        try:
            yield
        finally:
            toy.busy = ""


async def no_sleep() -> None:
    """Let others go on."""
    await asyncio.sleep(0)
