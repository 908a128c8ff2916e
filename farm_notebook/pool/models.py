"""The models of a farm by hand: loaded, replaced, watched, moved and given up, of whatever provider."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence, Set
from contextlib import aclosing
from dataclasses import replace
from typing import Protocol

from farm_notebook.config import ModelsConfig
from farm_notebook.errors import FarmError, LoadError, OutOfMemoryError
from farm_notebook.lifecycle.common import Lifecycle
from farm_notebook.lifecycle.finishing import call_off, finish
from farm_notebook.lifecycle.watching import Watcher
from farm_notebook.providers.base import AIProvider
from farm_notebook.types import LoadOptions, LoadProgress, ModelEvent, ModelRef, ModelState, ModelStatus

__all__ = ["Models"]

ANSWERING: frozenset[ModelState] = frozenset({"loading", "ready", "reloading"})  # or about to
INTERRUPT_EVERY_S = 0.1
IN_MEMORY = ANSWERING | {"draining", "unloading", "aside"}


class Providers(Protocol):
    """What is needed of the pool of providers."""

    def get(self, name: str) -> AIProvider:
        """The provider of a name."""
        ...

    def made(self) -> Sequence[AIProvider]:
        """Those that were asked for so far, which are all that can have models."""
        ...


class Models:
    """What a user can do to models. It belongs to the farm's loop.

    Args:
        providers: Who does it.
        lifecycle: What is known of all models.
    """

    def __init__(self, providers: Providers, lifecycle: Lifecycle) -> None:
        self._providers = providers
        self._lifecycle = lifecycle
        self._watcher: Watcher | None = None
        self._unwatched = set[ModelRef]()  # by hand, whatever the settings say
        lifecycle.journal.listen(self._watch_configured)

    def set_policies(self, settings: ModelsConfig) -> None:
        """Have other settings hold from now on; they are the machine's, so that the last ones set do."""
        self._lifecycle.settings = settings

    async def load(
        self, ref: ModelRef, options: LoadOptions | None = None, *, pin: bool | None = None
    ) -> AsyncGenerator[LoadProgress, None]:
        """Fetch a model if need be, and bring it into memory; one that is there in another way is reloaded.

        Args:
            ref: The model.
            options: How; ``None`` is as it was, or as the settings say.
            pin: Whether it is never to be given up for another; ``None`` leaves that as it is.
        """
        provider = self._provider(ref)
        bring = provider.place_model(ref.model, options) if options else provider.load_model(ref.model)
        async with aclosing(bring) as loading:
            async for progress in loading:
                yield progress
        if pin is not None:
            (self._lifecycle.pinned.add if pin else self._lifecycle.pinned.discard)(ref)

    async def reload(
        self, ref: ModelRef, *, drain_s: float | None = None
    ) -> AsyncGenerator[LoadProgress, None]:
        """Have a model answer from its files as they are now; see ``AIProvider.reload_model``."""
        reload = self._provider(ref).reload_model(ref.model, drain_s=drain_s)
        async with aclosing(reload) as reloading:
            async for progress in reloading:
                yield progress

    async def unload(self, ref: ModelRef, *, interrupt: bool = False) -> bool:
        """Give a model's memory back; whether it was loaded.

        Args:
            ref: The model.
            interrupt: End the answers under way, rather than wait for them.
        """
        provider = self._provider(ref)
        if not interrupt:
            return await provider.unload_model(ref.model)
        leaving = asyncio.create_task(provider.unload_model(ref.model))
        try:
            while not leaving.done():
                await provider.interrupt_model(ref.model)  # also those who were let in just before it went
                await asyncio.wait([leaving], timeout=INTERRUPT_EVERY_S)
            return leaving.result()
        finally:
            await finish(call_off(leaving))

    async def unload_all(self, *, interrupt: bool = False) -> tuple[ModelRef, ...]:
        """Give up every model that runs here; which they were.

        Raises:
            Exception: The first that a provider raised, when all were asked.
        """
        statuses = await self.statuses()
        unload = (self.unload(ref, interrupt=interrupt) for ref in {status.ref for status in statuses})
        for outcome in await asyncio.gather(*unload, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
        there = (status.ref for status in statuses if status.state in IN_MEMORY)
        return tuple(dict.fromkeys(there))  # some of them went with others

    async def free_idle(self) -> tuple[tuple[ModelRef, ...], tuple[tuple[ModelRef, str], ...]]:
        """Give up every model that nobody uses; which they were, and which stay, each with the reason."""
        statuses = await self.statuses()
        kept = {status.ref: reason for status in statuses if (reason := _use(status))}
        for status in statuses:
            if status.ref in kept and status.base is not None:
                kept.setdefault(status.base, f"{status.ref} stands on it")
        idle = {status.ref for status in statuses if status.state in IN_MEMORY} - kept.keys()
        unloaded = [ref for ref in sorted(idle, key=str) if await self.unload(ref)]
        for provider in self._providers.made():
            await provider.give_back_memory()
        return tuple(unloaded), tuple(kept.items())

    async def swap(self, leaving: ModelRef, coming: ModelRef) -> AsyncGenerator[LoadProgress, None]:
        """Have one model take the place of another, in the memory that one of them needs.

        The one that leaves waits in host memory while there is room, from where it comes back by a copy.
        Where the other cannot be loaded, or this is stopped before, it is back when the error is raised.
        """
        was_there = leaving != coming and await self._is_in(leaving, ANSWERING)
        try:
            if was_there:
                await self._put_out(leaving)
            async with aclosing(self.load(coming)) as loading:
                async for progress in loading:
                    yield progress
        except BaseException as error:
            if was_there:
                await finish(self._bring_back(leaving, coming, error))
            raise
        await self._lifecycle.room.trim()

    async def statuses(self) -> list[ModelStatus]:
        """The models that are in memory, on their way there, or failed to get there."""
        asked = (provider.model_statuses() for provider in self._providers.made())
        statuses: list[ModelStatus] = []
        for found in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(found, list):
                statuses += found
            elif not isinstance(found, FarmError):  # one that cannot be reached has none to tell of
                raise found
        return [
            replace(
                status,
                is_pinned=self._lifecycle.is_pinned(status.ref),
                is_watched=self._lifecycle.is_watched(status.ref),
            )
            for status in statuses
        ]

    async def watch(self, ref: ModelRef) -> bool:
        """Load a model anew whenever its files change, or its version on a server; whether that is new."""
        await self._provider(ref).fingerprint(ref.model)  # says what is wrong with a name
        self._unwatched.discard(ref)
        return self._begin_to_watch(ref)

    async def unwatch(self, ref: ModelRef) -> bool:
        """Leave it as it is loaded; whether it was watched."""
        self._lifecycle.watched.discard(ref)
        self._unwatched.add(ref)
        return self._looking.unwatch(ref)

    def watched(self) -> tuple[ModelRef, ...]:
        """The models that are watched, also those that are not in memory."""
        return tuple(sorted(self._lifecycle.watched, key=str))

    async def aclose(self) -> None:
        """Watch nothing any more."""
        self._lifecycle.watched.clear()
        if self._watcher is not None:
            await self._watcher.aclose()

    @property
    def _looking(self) -> Watcher:
        if self._watcher is None:
            self._watcher = Watcher(
                lambda ref: self._provider(ref).fingerprint(ref.model),
                lambda ref: self._provider(ref).loaded_fingerprint(ref.model),
                self._renew,
                lambda: self._lifecycle.settings,
            )
        return self._watcher

    def _watch_configured(self, event: ModelEvent) -> None:
        """Begin to watch a model of the settings when it is first in memory."""
        is_configured = str(event.ref) in self._lifecycle.settings.watch and event.ref not in self._unwatched
        if event.state == "ready" and is_configured:
            self._begin_to_watch(event.ref)

    def _begin_to_watch(self, ref: ModelRef) -> bool:
        self._lifecycle.watched.add(ref)
        return self._looking.watch(ref)

    def _provider(self, ref: ModelRef) -> AIProvider:
        return self._providers.get(ref.provider)

    async def _renew(self, ref: ModelRef) -> None:
        await _exhaust(self.reload(ref))

    async def _is_in(self, ref: ModelRef, states: Set[ModelState]) -> bool:
        statuses = await self._provider(ref).model_statuses()
        return any(status.ref == ref and status.state in states for status in statuses)

    async def _put_out(self, ref: ModelRef) -> None:
        """Have a model leave its device: for host memory if it can be moved there."""
        provider = self._provider(ref)
        try:
            await provider.set_aside_model(ref.model)
        except (LoadError, OutOfMemoryError):
            await provider.unload_model(ref.model)

    async def _bring_back(self, left: ModelRef, coming: ModelRef, error: BaseException) -> None:
        """Load a model for which another was to come and did not; where that fails too, the error says so."""
        try:
            if not await self._is_in(coming, {"ready"}):
                await _exhaust(self._provider(left).load_model(left.model))
        except Exception as another:  # noqa: BLE001 - what is told is why the other did not come
            error.add_note(f"{left} is not back: {another} The next request loads it.")


async def _exhaust(progress: AsyncGenerator[LoadProgress, None]) -> None:
    async with aclosing(progress) as events:
        async for _ in events:
            pass


def _use(status: ModelStatus) -> str:
    """Why a model is not to be given up; empty where nothing speaks for it."""
    if status.is_pinned:
        return "it is pinned"
    if status.users:
        return f"it is answering {status.users} request{'s' * (status.users != 1)}"
    if status.leases:
        return "it is leased, by a block `with farm.models.lease(...)`"
    return "" if status.state in ("ready", "aside", "failed") else f"it is {status.state}"
