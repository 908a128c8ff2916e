"""A shelf of toys, and those who use it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType

from toy_loader import Toy, ToyLoader

from farm_notebook.config import ModelsConfig
from farm_notebook.lifecycle.common import Lifecycle
from farm_notebook.lifecycle.shelf import Shelf
from farm_notebook.lifecycle.states import TRANSITIONS
from farm_notebook.lifecycle.version import Version
from farm_notebook.types import LoadOptions, LoadProgress, ModelEvent, ModelRef

__all__ = ["ADAPTED", "ToyShelf", "Using", "all_of", "settled", "shelf_of", "turns"]

ADAPTED = {"adapter": "base", "another": "base"}  # adapters, and what they stand on


class ToyShelf(Shelf[str, Toy]):
    """A shelf of toys that checks each step of each model's life; at the block's end nothing may be left.

    Args:
        loader: Of the toys.
        settings: Of models.
    """

    def __init__(self, loader: ToyLoader, settings: ModelsConfig | None = None) -> None:
        self.toys = loader
        self.lifecycle = Lifecycle(settings or ModelsConfig())
        self._states: dict[ModelRef, str] = {}
        self.lifecycle.journal.listen(self._check)
        super().__init__(loader, self.lifecycle)

    def state(self, key: str) -> str:
        """What a model is doing."""
        return self._states.get(ModelRef("toy", key), "absent")

    async def ask(self, key: str, words: int = 3) -> str:
        """What a model answers."""
        async with self.hold(key) as version:
            return await self.toys.answer(version, words)

    async def bring(self, key: str, options: LoadOptions | None = None) -> list[LoadProgress]:
        """Load a model."""
        return await all_of(self.load(key, options))

    async def renew(
        self, key: str, options: LoadOptions | None = None, drain_s: float | None = None
    ) -> list[LoadProgress]:
        """Reload a model."""
        return await all_of(self.reload(key, options, drain_s=drain_s))

    async def __aenter__(self) -> ToyShelf:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            await self.end()

    async def end(self) -> None:
        """Clear it, and see that nothing is left."""
        self.toys.is_ending = True
        await self.clear()
        assert self.toys.violations == []
        assert (self.toys.device_bytes, self.toys.host_bytes) == (0, 0)
        assert [toy.key for toy in self.toys.toys if not toy.is_closed] == []
        assert self.statuses() == []
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not others

    def _check(self, event: ModelEvent) -> None:
        before = self._states.get(event.ref, "absent")
        self.toys.require(event.before == before, f"{event.ref} was {before}, not {event.before}")
        self.toys.require(event.state in TRANSITIONS[event.before], f"{event.before} to {event.state}")
        self._states[event.ref] = event.state


async def all_of(events: AsyncIterator[LoadProgress]) -> list[LoadProgress]:
    """All that it yields."""
    return [event async for event in events]


class Using:
    """Somebody who works on a model until he is told to leave."""

    def __init__(self, shelf: ToyShelf, key: str = "a") -> None:
        self._shelf = shelf
        self._key = key
        self.leave = asyncio.Event()
        self.has_begun = asyncio.Event()
        self.version: Version[Toy] | None = None
        self.task = asyncio.create_task(self._use())

    async def _use(self) -> None:
        async with self._shelf.hold(self._key) as self.version:
            toy = self.version.value
            interrupts = toy.interrupts
            self.has_begun.set()
            while not self.leave.is_set() and toy.interrupts == interrupts:  # noqa: ASYNC110 - a toy tells nothing by itself
                await asyncio.sleep(0.1)

    async def __aenter__(self) -> Version[Toy]:
        await self.has_begun.wait()
        assert self.version is not None
        return self.version

    async def __aexit__(self, *_: object) -> None:
        self.leave.set()
        await self.task


def shelf_of(loader: ToyLoader | None = None, *, drain_s: float = 300.0) -> ToyShelf:
    return ToyShelf(loader or ToyLoader(), ModelsConfig(drain_s=drain_s))


async def turns(count: int = 30) -> None:
    """Let all others go as far as they can without waiting for time or for a gate."""
    for _ in range(count):
        await asyncio.sleep(0)


async def settled() -> None:
    """Let everything that needs time have it."""
    await asyncio.sleep(1000)
