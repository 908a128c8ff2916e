"""The models of one provider in memory: loaded once however many ask, replaced and given up while in use.

Who works on a model ends on the generation he began on. Whatever fails or is stopped here leaves the model
that was there, or none where there was none.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any, Generic, TypeVar

from farm_notebook.errors import FarmError, InvalidRequestError, OutOfMemoryError, ProviderError
from farm_notebook.lifecycle.common import Idle, Lifecycle
from farm_notebook.lifecycle.finishing import finish
from farm_notebook.lifecycle.job import Job, JobStoppedError, Tell
from farm_notebook.lifecycle.loader import Loader
from farm_notebook.lifecycle.slot import Slot
from farm_notebook.lifecycle.states import StateMachine
from farm_notebook.lifecycle.version import Version
from farm_notebook.types import LoadOptions, LoadProgress, ModelStatus

__all__ = ["Shelf"]

K = TypeVar("K")
T = TypeVar("T")

AGAIN = "That was just after it was started again; the next request does."
LEAVE_S = 5.0  # from the end of an answer that was interrupted to its asker's leaving


class Shelf(Generic[K, T]):
    """Loads, keeps, replaces and gives up models.

    Args:
        loader: Does it.
        lifecycle: What all models of a farm share.
    """

    def __init__(self, loader: Loader[K, T], lifecycle: Lifecycle) -> None:
        self._loader = loader
        self._lifecycle = lifecycle
        self._slots: dict[K, Slot[K, T]] = {}
        self._tasks = set[asyncio.Task[None]]()  # that see old generations off, and look after processes
        self._reloads = set[Job[None]]()
        self._is_closed = False
        lifecycle.room.add(self.idle)

    def versions(self) -> dict[K, Version[T]]:
        """What answers now."""
        return {key: slot.version for key, slot in self._slots.items() if slot.version is not None}

    def known(self) -> list[K]:
        """Which are in memory, on their way there, or failed to get there."""
        return [key for key, slot in self._slots.items() if slot.machine.state != "absent"]

    def statuses(self) -> list[ModelStatus]:
        """All that is in memory, is on its way there, or failed to get there."""
        return [
            slot.status(
                is_pinned=self._lifecycle.is_pinned(slot.machine.ref),
                is_watched=self._lifecycle.is_watched(slot.machine.ref),
            )
            for slot in self._slots.values()
            if slot.machine.state != "absent"
        ]

    def idle(self) -> list[Idle]:
        """What could be given up for another model."""
        return [
            Idle(slot.machine.ref, held.facts, held.idle_s or 0.0, slot.version is None, self._giver(slot))
            for slot in self._slots.values()
            if (held := slot.held) is not None
            and held.is_idle
            and not slot.lock.locked()
            and not self._dependents(slot.key)
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
            options: To be loaded with from now on; ``None`` leaves them as they were.

        Raises:
            Exception: Whatever the load raised.
        """
        slot = self._slot(key)
        if options is not None and options != slot.options:
            if slot.version is not None:
                async with aclosing(self.reload(key, options)) as reloading:
                    async for progress in reloading:
                        yield progress
                return
            slot.options = options
        before = 0  # bytes of the base
        while slot.version is None:
            base = self._loader.base(key)
            if slot.job is None and base is not None and self._slot(base).version is None:
                async with aclosing(self.load(base)) as loading:
                    async for progress in loading:
                        before = progress.completed_bytes if progress.stage == "load" else 0
                        yield progress
                continue
            job = slot.job or self._begin(slot)
            try:
                async with aclosing(job.follow()) as following:
                    async for progress in following:
                        yield _behind(before, progress)
            except JobStoppedError:
                self._require_open(slot)
            await asyncio.sleep(0)  # for what happens at its end

    async def reload(
        self, key: K, options: LoadOptions | None = None, *, drain_s: float | None = None
    ) -> AsyncGenerator[LoadProgress, None]:
        """Load a model anew from its files, and put it in the place of the one that is there once it works.

        Who asks meanwhile is answered by the old one, or waits where the two do not fit beside each other.
        What stands on the model is loaded anew after it. Closing the iterator leaves the old one.

        Args:
            key: Which one; one that is not in memory is loaded.
            options: To be loaded with from now on; ``None`` leaves them as they were.
            drain_s: How long answers of the old one may take to end; ``None`` is as the settings say.

        Raises:
            Exception: Whatever the load raised; the old model answers as before.
        """
        slot = self._slot(key)
        self._require_open(slot)
        job = Job[None](lambda tell: self._renew(slot, options, drain_s, tell))
        self._reloads.add(job)
        job.task.add_done_callback(lambda _: self._reloads.discard(job))
        try:
            async with aclosing(job.follow()) as following:
                async for progress in following:
                    yield progress
        except JobStoppedError:
            raise self._closed(slot) from None

    async def put_away(self, key: K, *, drain_s: float | None = None) -> bool:
        """Give a model's memory back once nobody works on it; whether it was there.

        What is being done to it is waited for. Who asks for it from now on loads it anew.
        """
        for dependent in self._dependents(key):
            await self.put_away(dependent.key, drain_s=drain_s)  # it holds the same memory
        if (slot := self._slots.get(key)) is None:
            return False
        async with slot.lock:
            if slot.aside is None and slot.version is None:
                if slot.machine.state == "failed":
                    slot.machine.to("absent")
                return False
            leaving = slot.aside or await self._taken_out(slot, drain_s)
            slot.aside = None
            slot.machine.to("unloading")
            try:
                await finish(self._loader.close(leaving.value))
            finally:
                slot.machine.to("absent")
        return True

    async def set_aside(self, key: K, *, drain_s: float | None = None) -> bool:
        """Move a model to host memory once nobody works on it; whether it is there now.

        Raises:
            InvalidRequestError: Someone has it in hand.
        """
        for dependent in self._dependents(key):
            await self.put_away(dependent.key, drain_s=drain_s)
        if (slot := self._slots.get(key)) is None:
            return False
        async with slot.lock:
            if slot.version is None:
                return slot.aside is not None
            _require_not_leased(slot, slot.version)
            version = await self._taken_out(slot, drain_s)
            slot.machine.to("unloading")
            slot.aside = version  # also where moving it fails: it comes back from wherever it is
            try:
                await finish(self._park(version))
            finally:
                slot.machine.to("aside")
        return True

    async def interrupt(self, key: K) -> None:
        """End what a model is answering."""
        if (slot := self._slots.get(key)) is not None and slot.version is not None:
            await self._loader.interrupt(slot.version.value)

    async def clear(self) -> None:
        """Stop everything and give everything up."""
        self._is_closed = True
        jobs = [slot.job for slot in self._slots.values() if slot.job is not None]
        tasks = [*(job.task for job in (*jobs, *self._reloads)), *self._tasks]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for slot in self._slots.values():
            async with slot.lock:
                if (held := slot.held) is not None:
                    slot.version = slot.aside = None
                    await finish(self._loader.close(held.value))

    async def _ready(self, key: K) -> Version[T]:
        while (version := self._slot(key).version) is None:
            async with aclosing(self.load(key)) as loading:
                async for _ in loading:
                    pass
        return version

    def _slot(self, key: K) -> Slot[K, T]:
        if key not in self._slots:
            machine = StateMachine(self._loader.ref(key), self._lifecycle.journal)
            self._slots[key] = Slot(key, machine)
        return self._slots[key]

    def _dependents(self, key: K) -> list[Slot[K, T]]:
        """Those that stand on a model, in memory or on their way there."""
        slots = [slot for slot in self._slots.values() if slot.held is not None or slot.job is not None]
        return [slot for slot in slots if self._loader.base(slot.key) == key]

    def _begin(self, slot: Slot[K, T]) -> Job[None]:
        self._require_open(slot)
        job = slot.job = Job[None](lambda tell: self._bring(slot, tell))
        job.task.add_done_callback(lambda _: setattr(slot, "job", None))
        return job

    async def _bring(self, slot: Slot[K, T], tell: Tell) -> None:
        """The job of a load."""
        async with slot.lock:
            if slot.version is None:
                await self._fill(slot, tell)

    async def _fill(self, slot: Slot[K, T], tell: Tell) -> None:
        """Load what is not there, or bring back what was set aside; its lock is held."""
        slot.machine.to("loading")
        try:
            if (version := slot.aside) is not None:
                await self._loader.unpark(version.value)
            else:
                version = await self._loaded(slot, slot.options, tell)
        except BaseException as error:
            if slot.aside is not None:
                slot.machine.to("aside", detail=_reason(error))
            elif isinstance(error, Exception):
                slot.machine.to("failed", detail=_reason(error))
            else:
                slot.machine.to("absent")
            raise
        slot.aside = None
        self._install(slot, version)

    async def _loaded(self, slot: Slot[K, T], options: LoadOptions, tell: Tell) -> Version[T]:
        base = self._loader.base(slot.key)
        if base is None:
            value = await self._loader.load(slot.key, None, options, tell)
        else:
            async with self.hold(base) as on:
                value = await self._loader.load(slot.key, on.value, options, tell)
        return Version(value, self._loader.facts(value))

    def _install(self, slot: Slot[K, T], version: Version[T], detail: str = "") -> None:
        slot.version = version
        slot.machine.to("ready", generation=version.facts.generation, detail=detail)
        if (death := self._loader.death(version.value)) is not None:
            self._spawn(self._look_after(slot, version, death))

    async def _renew(
        self, slot: Slot[K, T], options: LoadOptions | None, drain_s: float | None, tell: Tell
    ) -> None:
        """The job of a reload."""
        async with slot.lock:
            options = slot.options if options is None else options
            old = slot.version
            if old is None:
                await self._fill_anew(slot, options, tell)
            else:
                slot.machine.to("reloading", generation=old.facts.generation)
                try:
                    version = await self._replacement(slot, old, options, drain_s, tell)
                except BaseException as error:
                    state = "ready" if slot.version is not None else "failed"
                    detail = f"not reloaded: {_reason(error)}"
                    slot.machine.to(state, generation=old.facts.generation, detail=detail)  # type: ignore[arg-type]  # mypy widens the words
                    raise
                slot.options = options
                self._install(slot, version)
                self._spawn(self._see_off(old, drain_s))
        for dependent in self._dependents(slot.key):
            await self._renew(dependent, None, drain_s, tell)

    async def _fill_anew(self, slot: Slot[K, T], options: LoadOptions, tell: Tell) -> None:
        """Load what is not there; what was set aside is of files that may be others now."""
        if (aside := slot.aside) is not None:
            slot.machine.to("unloading")
            slot.aside = None
            await finish(self._loader.close(aside.value))
            slot.machine.to("absent")
        slot.options = options
        await self._fill(slot, tell)

    async def _replacement(
        self, slot: Slot[K, T], old: Version[T], options: LoadOptions, drain_s: float | None, tell: Tell
    ) -> Version[T]:
        """The new generation, beside the old one if both fit, else in the place of it."""
        try:
            return await self._loaded(slot, options, tell)
        except OutOfMemoryError:
            if old.leases or self._loader.base(slot.key) is not None:
                raise
            return await self._instead(slot, old, options, drain_s, tell)

    async def _instead(
        self, slot: Slot[K, T], old: Version[T], options: LoadOptions, drain_s: float | None, tell: Tell
    ) -> Version[T]:
        """The new generation in the device memory of the old one, which waits in host memory meanwhile."""
        for dependent in self._dependents(slot.key):
            await self.put_away(dependent.key, drain_s=drain_s)
        slot.version = None  # who asks now waits for the lock
        try:
            await self._drained(old, drain_s)
            if not await self._park(old):
                raise OutOfMemoryError(
                    f"{slot.machine.ref} does not fit twice, and host memory is where it is already. "
                    "Unload it first, or free memory.",
                    provider=slot.machine.ref.provider,
                )
            return await self._loaded(slot, options, tell)
        except BaseException:
            await finish(self._put_back(slot, old))
            raise

    async def _put_back(self, slot: Slot[K, T], old: Version[T]) -> None:
        await self._loader.unpark(old.value)
        slot.version = old

    async def _park(self, version: Version[T]) -> bool:
        return await self._loader.park(version.value)

    async def _taken_out(self, slot: Slot[K, T], drain_s: float | None) -> Version[T]:
        """What is in a slot, once nobody works on it; nobody is given it from now on."""
        version, slot.version = slot.version, None
        assert version is not None
        slot.machine.to("draining")
        try:
            await self._drained(version, drain_s)
        except BaseException:
            slot.version = version
            slot.machine.to("ready", generation=version.facts.generation)
            raise
        return version

    async def _drained(self, version: Version[T], drain_s: float | None) -> None:
        """Wait until nobody works on a generation; who still does after a while is interrupted."""
        try:
            async with asyncio.timeout(self._lifecycle.settings.drain_s if drain_s is None else drain_s):
                await version.idle.wait()
        except TimeoutError:
            await self._loader.interrupt(version.value)
            try:
                async with asyncio.timeout(LEAVE_S):
                    await version.idle.wait()
            except TimeoutError:  # whoever asked does not look; what he asked for has ended
                return

    async def _see_off(self, version: Version[T], drain_s: float | None) -> None:
        """Give an old generation up once nobody works on it."""
        try:
            await self._drained(version, drain_s)
        finally:
            await finish(self._loader.close(version.value))

    async def _look_after(
        self, slot: Slot[K, T], version: Version[T], death: Coroutine[Any, Any, str]
    ) -> None:
        """Start a model again whose process died; one that dies again before it answered stays dead."""
        how = await death
        if slot.version is not version:  # it was given up
            return
        slot.version = None
        is_hopeless = version.is_restart and not version.served
        if slot.machine.state == "ready":
            slot.machine.to("failed", detail=f"{how} {AGAIN if is_hopeless else 'It is started again.'}")
        if is_hopeless:
            return
        try:
            started = await self._ready(slot.key)
        except FarmError:  # the state tells
            return
        started.is_restart = True

    def _giver(self, slot: Slot[K, T]) -> Any:
        return lambda: self.put_away(slot.key)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _require_open(self, slot: Slot[K, T]) -> None:
        if self._is_closed:
            raise self._closed(slot)

    def _closed(self, slot: Slot[K, T]) -> ProviderError:
        ref = slot.machine.ref
        return ProviderError(
            f"The farm was closed while {ref.model!r} was loading. Make the call again.",
            provider=ref.provider,
        )


def _require_not_leased(slot: Slot[Any, Any], version: Version[Any]) -> None:
    if version.leases:
        raise InvalidRequestError(
            f"{slot.machine.ref} cannot be moved: it is leased {version.leases} times. Leave the blocks "
            "`with farm.models.lease(...)` first."
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


def _reason(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
