"""The models of one provider in memory: loaded once however many ask, replaced and given up while in use.

Who works on a model ends on the generation he began on. Whatever fails or is stopped here leaves the model
that was there, or none where there was none.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Generic, TypeVar

from farm_notebook.errors import ModelUnloadedError
from farm_notebook.lifecycle.arrivals import Arrivals
from farm_notebook.lifecycle.background import Background
from farm_notebook.lifecycle.caretaker import Caretaker
from farm_notebook.lifecycle.common import Idle, Lifecycle
from farm_notebook.lifecycle.departures import Departures
from farm_notebook.lifecycle.finishing import tried
from farm_notebook.lifecycle.job import Job, JobStoppedError
from farm_notebook.lifecycle.loader import Loader
from farm_notebook.lifecycle.slot import Slot, Slots
from farm_notebook.lifecycle.version import Version
from farm_notebook.types import LoadOptions, LoadProgress, ModelStatus

__all__ = ["Shelf"]

K = TypeVar("K")
T = TypeVar("T")

HAND_OVER_S = 1.0  # from the end of a load to the moment when whoever waited for it has begun on the model


class Shelf(Generic[K, T]):
    """Loads, keeps, replaces and gives up models.

    Args:
        loader: Does it.
        lifecycle: What all models of a farm share.
    """

    def __init__(self, loader: Loader[K, T], lifecycle: Lifecycle) -> None:
        self._slots = Slots(loader, lifecycle.journal)
        self._care = Caretaker(loader, lambda: lifecycle.settings.drain_s)
        self._background = Background()  # loads, old generations that are seen off, processes looked after
        self._departures = Departures(self._slots, self._care, self._background)
        self._arrivals = Arrivals(self._slots, self._care, self._departures, self._background, self._ready)
        self._is_closed = False
        self._leave = (lifecycle.room.add(self.idle), lifecycle.add_shelf(self.statuses))

    def versions(self) -> dict[K, Version[T]]:
        """What answers now."""
        return {slot.key: slot.version for slot in self._slots if slot.version is not None}

    def known(self) -> list[K]:
        """Which are in memory, on their way there, or failed to get there."""
        return [slot.key for slot in self._slots if slot.machine.state != "absent"]

    def statuses(self) -> list[ModelStatus]:
        """All that is in memory, is on its way there, or failed to get there."""
        return [self._status(slot) for slot in self._slots if slot.machine.state != "absent"]

    def idle(self) -> list[Idle]:
        """What could be given up for another model."""
        return [
            Idle(slot.machine.ref, held.facts, held.idle_s or 0.0, slot.version is None, self._giver(slot))
            for slot in self._slots
            if (held := slot.held) is not None and slot.is_idle
        ]

    @asynccontextmanager
    async def hold(self, key: K) -> AsyncIterator[Version[T]]:
        """Work on a model: it is loaded if need be, and this generation of it stays until this is left."""
        version = await self._ready(key)
        with version.used():
            yield version

    @asynccontextmanager
    async def lease(self, key: K) -> AsyncIterator[Version[T]]:
        """Have a model in hand: it is loaded if need be, and not moved until this is left."""
        version = await self._ready(key)
        with version.leased():
            yield version

    async def load(self, key: K, options: LoadOptions | None = None) -> AsyncGenerator[LoadProgress, None]:
        """Bring a model into memory, or wait until another's load of it has; nothing where it is there.

        Closing the iterator stops the load, unless others wait for it too.

        Args:
            key: Which one.
            options: To be loaded with from now on, if that works; ``None`` leaves them as they were.

        Raises:
            Exception: Whatever the load raised.
        """
        slot = self._slots.at(key)
        before = 0  # bytes of the base
        while slot.version is None or options not in (None, slot.options):
            if slot.version is not None:
                async with aclosing(self.reload(key, options)) as reloading:
                    async for progress in reloading:
                        yield progress
                return
            base = self._slots.base(slot)
            if slot.loading is None and base is not None and base.version is None:
                async with aclosing(self.load(base.key)) as loading:
                    async for progress in loading:
                        before = progress.completed_bytes if progress.stage == "load" else 0
                        yield progress
                continue
            job = slot.loading or self._begin(slot, options)
            try:
                async with aclosing(job.follow()) as following:
                    async for progress in following:
                        yield _behind(before, progress)
            except JobStoppedError:  # as those who had waited for it left
                self._require_open(slot)
            finally:
                if slot.job is job and job.task.done():  # and this caller begins on what it brought
                    slot.job = None

    async def reload(
        self, key: K, options: LoadOptions | None = None, *, drain_s: float | None = None
    ) -> AsyncGenerator[LoadProgress, None]:
        """Load a model anew from its files, and put it in the place of the one that is there once it works.

        Who asks meanwhile is answered by the old one, or waits where the two do not fit beside each other.
        What stands on the model is loaded anew after it, or when it is next asked for where it had to go.
        Closing the iterator leaves the old one.

        Args:
            key: Which one; one that is not in memory is loaded.
            options: To be loaded with from now on, if that works; ``None`` leaves them as they were.
            drain_s: How long answers of the old one may take to end; ``None`` is as the settings say.

        Raises:
            Exception: Whatever the load raised; the old model answers as before.
        """
        slot = self._slots.at(key)
        self._require_open(slot)
        job = Job[None](lambda tell: self._arrivals.renew(slot, options, drain_s, tell))
        self._background.add(job.task)
        try:
            async with aclosing(job.follow()) as following:
                async for progress in following:
                    yield progress
        except JobStoppedError:
            raise self._closed(slot) from None

    async def put_away(self, key: K, *, drain_s: float | None = None) -> bool:
        """Give a model's memory back once nobody works on it; see ``Departures.put_away``.

        A load of it is stopped, with an error for those who wait for it.

        Returns:
            Whether it was there, or on its way there.
        """
        slot = self._slots.at(key)
        if is_coming := slot.loading is not None and slot.held is None:
            slot.loading.stop(self._unloaded(slot, f"{slot.machine.ref} was unloaded"))
        return await self._departures.put_away(slot, drain_s=drain_s) or is_coming

    async def set_aside(self, key: K, *, drain_s: float | None = None) -> bool:
        """Move a model to host memory once nobody works on it; see ``Departures.set_aside``."""
        return await self._departures.set_aside(self._slots.at(key), drain_s=drain_s)

    async def interrupt(self, key: K) -> None:
        """End what a model is answering, on whatever generation."""
        for version in tuple(self._slots.at(key).generations):
            await self._care.interrupt(version)

    async def clear(self) -> None:
        """Stop everything and give everything up; nothing is loaded from now on."""
        self._is_closed = True
        for leave in self._leave:
            leave()
        slots = list(self._slots)
        for slot in slots:
            for version in slot.generations:
                version.dismiss()
        await self._background.stop()
        errors = await self._close_old(slots)
        for slot in slots:
            errors += await tried(self._departures.put_away(slot))
        errors += await self._close_old(slots)
        if errors:
            raise errors[0]

    async def _close_old(self, slots: list[Slot[K, T]]) -> list[Exception]:
        """Give up old generations that nobody sees off any more and nothing stands on; what that raised."""
        left = [(slot, version) for slot in slots for version in slot.old]
        left.sort(key=lambda pair: -pair[1].facts.generation)  # what stands on another goes before it
        errors: list[Exception] = []
        for slot, version in left:
            if not version.carried:
                errors += await tried(self._departures.close(slot, version))
        return errors

    async def _ready(self, key: K) -> Version[T]:
        slot = self._slots.at(key)
        self._require_open(slot)
        while (version := slot.version) is None:
            async with aclosing(self.load(key)) as loading:
                async for _ in loading:
                    pass
            self._require_open(slot)
        return version

    def _begin(self, slot: Slot[K, T], options: LoadOptions | None) -> Job[None]:
        self._require_open(slot)

        def forget() -> None:
            if slot.job is job:
                slot.job = None

        job = slot.job = Job[None](lambda tell: self._arrivals.bring(slot, options, tell))
        self._background.add(job.task)
        job.task.add_done_callback(lambda _: asyncio.get_running_loop().call_later(HAND_OVER_S, forget))
        return job

    def _status(self, slot: Slot[K, T]) -> ModelStatus:
        base = self._slots.base(slot)
        return slot.status if base is None else replace(slot.status, base=base.machine.ref)

    def _giver(self, slot: Slot[K, T]) -> Callable[[], Awaitable[bool]]:
        async def give_up() -> bool:  # if that can be done at once: whoever asks has others wait
            return slot.is_idle and await self.put_away(slot.key)

        return give_up

    def _require_open(self, slot: Slot[K, T]) -> None:
        if self._is_closed:
            raise self._closed(slot)

    def _closed(self, slot: Slot[K, T]) -> ModelUnloadedError:
        return self._unloaded(slot, "The farm was closed")

    def _unloaded(self, slot: Slot[K, T], what: str) -> ModelUnloadedError:
        ref = slot.machine.ref
        return ModelUnloadedError(
            f"{what} while {ref.model!r} was loading. Make the call again.", provider=ref.provider
        )


def _behind(before: int, progress: LoadProgress) -> LoadProgress:
    """Progress of what stands on another model, counted on from where that one's ended."""
    if progress.stage != "load" or progress.total_bytes is None:
        return progress
    return replace(
        progress,
        completed_bytes=before + progress.completed_bytes,
        total_bytes=before + progress.total_bytes,
    )
