"""How models come: loaded, brought back, and put in the place of those that are there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from farm_notebook.errors import OutOfMemoryError
from farm_notebook.lifecycle.background import Background
from farm_notebook.lifecycle.caretaker import Caretaker
from farm_notebook.lifecycle.departures import Departures
from farm_notebook.lifecycle.finishing import finish, tried
from farm_notebook.lifecycle.job import Tell
from farm_notebook.lifecycle.slot import Slot, Slots
from farm_notebook.lifecycle.version import Version
from farm_notebook.types import LoadOptions

__all__ = ["Arrivals"]

K = TypeVar("K")
T = TypeVar("T")

AGAIN = "That was just after it was started again; the next request does."


class Arrivals(Generic[K, T]):
    """Fills slots.

    A model's lock is taken by whoever changes what is in its slot. Who needs several takes a base's before
    that of what stands on it: who loads an adapter has its base in hand before he takes the adapter's.

    Args:
        slots: All of the shelf.
        care: Does it to the models.
        departures: Sees off what is replaced.
        background: Where processes are looked after.
        ready: Waits until a model answers.
    """

    def __init__(
        self,
        slots: Slots[K, T],
        care: Caretaker[K, T],
        departures: Departures[K, T],
        background: Background,
        ready: Callable[[K], Awaitable[Version[T]]],
    ) -> None:
        self._slots = slots
        self._care = care
        self._departures = departures
        self._background = background
        self._ready = ready

    async def bring(self, slot: Slot[K, T], options: LoadOptions | None, tell: Tell) -> None:
        """The job of a load."""
        async with self._base_of(slot) as base, slot.lock:
            if slot.version is None:
                await self._fill(slot, base, options or slot.options, tell)

    async def renew(
        self, slot: Slot[K, T], options: LoadOptions | None, drain_s: float | None, tell: Tell
    ) -> None:
        """The job of a reload."""
        async with self._base_of(slot) as base, slot.lock:
            if slot.version is None:
                await self._fill(slot, base, options or slot.options, tell, is_anew=True)
            else:
                await self._replace(slot, slot.version, base, options or slot.options, drain_s, tell)
        await self._renew_dependents(slot, drain_s, tell)

    @asynccontextmanager
    async def _base_of(self, slot: Slot[K, T]) -> AsyncIterator[Version[T] | None]:
        """What a model stands on, in memory and not to be given up meanwhile; before its lock is taken."""
        if (base := self._slots.base(slot)) is None:
            yield None
            return
        version = await self._ready(base.key)
        with version.carrying():
            yield version

    async def _fill(
        self,
        slot: Slot[K, T],
        base: Version[T] | None,
        options: LoadOptions,
        tell: Tell,
        *,
        is_anew: bool = False,
    ) -> None:
        """Bring back what was set aside, or load what is not there; the former goes once the latter works."""
        aside = slot.aside
        is_kept = aside is not None and not is_anew and not aside.is_dead and options == slot.options
        slot.machine.to("loading")
        try:
            if is_kept and aside is not None:
                await self._care.unpark(aside)
                version, aside = aside, None
            else:
                version = await self._loaded(slot, base, options, tell)
        except BaseException as error:
            self._departures.fall_back(slot, error)
            raise
        slot.aside, slot.options = None, options
        self._install(slot, version)
        if aside is not None:
            self._background.spawn(self._departures.see_off(slot, aside))

    async def _replace(
        self,
        slot: Slot[K, T],
        old: Version[T],
        base: Version[T] | None,
        options: LoadOptions,
        drain_s: float | None,
        tell: Tell,
    ) -> None:
        """The new generation in the place of the old one: loaded beside it if both fit, else instead."""
        slot.machine.to("reloading", generation=old.facts.generation)
        try:
            try:
                version = await self._loaded(slot, base, options, tell)
            except OutOfMemoryError:
                if slot.version is not old or old.leases or base is not None:  # its process may have died
                    raise
                version = None
            if version is None:  # and not above, where the error is alive with all that it refers to
                version = await self._instead(slot, old, options, drain_s, tell)
        except BaseException as error:
            self._departures.fall_back(slot, error, "not reloaded")
            raise
        slot.options = options
        self._install(slot, version)
        self._background.spawn(self._departures.see_off(slot, old, drain_s))

    async def _instead(
        self, slot: Slot[K, T], old: Version[T], options: LoadOptions, drain_s: float | None, tell: Tell
    ) -> Version[T]:
        """The new generation in the device memory of the old one, which waits in host memory meanwhile."""
        slot.version = None  # who asks now waits for the lock
        try:
            await self._departures.alone(slot, old, drain_s)
            if not await self._departures.park(slot, old):
                raise OutOfMemoryError(
                    f"{slot.machine.ref} does not fit twice, and host memory is where it is already. "
                    "Unload it first, or free memory.",
                    provider=slot.machine.ref.provider,
                )
            return await self._loaded(slot, None, options, tell)
        except BaseException:
            await finish(self._departures.bring_back(slot, old))
            raise

    async def _renew_dependents(self, slot: Slot[K, T], drain_s: float | None, tell: Tell) -> None:
        """Have what stands on an old generation stand on the one that answers now.

        Raises:
            Exception: The first that a load raised, when all were tried; those go on as they were.
        """
        errors: list[Exception] = []
        for dependent in self._slots.dependents(slot):
            base = slot.version
            if base is None:  # what stood on it has gone too
                return
            with base.carrying():
                async with dependent.lock:
                    old = dependent.version
                    if old is None or old.base is base:
                        continue
                    renew = self._replace(dependent, old, base, dependent.options, drain_s, tell)
                    errors += await tried(renew)
                errors += await tried(self._renew_dependents(dependent, drain_s, tell))
        if errors:
            raise errors[0]

    async def _loaded(
        self, slot: Slot[K, T], base: Version[T] | None, options: LoadOptions, tell: Tell
    ) -> Version[T]:
        """A new generation, which does not answer yet."""
        version = await self._care.load(slot.key, base, options, tell)
        slot.generations.append(version)
        self._background.spawn(self._look_after(slot, version))
        return version

    def _install(self, slot: Slot[K, T], version: Version[T]) -> None:
        slot.version = version
        version.is_restart, slot.is_restarting = slot.is_restarting, False
        slot.machine.to("ready", generation=version.facts.generation)

    async def _look_after(self, slot: Slot[K, T], version: Version[T]) -> None:
        """Start a model again whose process died; one that dies again before it answered stays dead."""
        if (death := self._care.death(version)) is None:
            return
        how = await death
        version.is_dead = True
        if slot.version is not version:  # whoever took it out will see
            return
        is_hopeless = version.is_restart and not version.served
        slot.version, slot.is_restarting = None, not is_hopeless
        self._background.spawn(self._departures.see_off(slot, version))
        if slot.machine.state == "ready":  # and is not loaded anew as it is
            slot.machine.to("failed", detail=f"{how} {AGAIN if is_hopeless else 'It is started again.'}")
        if not is_hopeless:
            await tried(self._again(slot))  # the state tells how that went
        for dependent in self._slots.dependents(slot):
            if dependent.version is not None and dependent.version.base is version:
                await self._departures.put_away(dependent)

    async def _again(self, slot: Slot[K, T]) -> None:
        await self._ready(slot.key)
