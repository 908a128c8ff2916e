"""How models go: given up, set aside, or replaced, once nobody works on them."""

from __future__ import annotations

import logging
from typing import Any, Generic, TypeVar

from farm_notebook.errors import InvalidRequestError
from farm_notebook.lifecycle.background import Background
from farm_notebook.lifecycle.caretaker import Caretaker
from farm_notebook.lifecycle.slot import Slot, Slots
from farm_notebook.lifecycle.version import Version

__all__ = ["Departures"]

K = TypeVar("K")
T = TypeVar("T")

_log = logging.getLogger("farm_notebook.models")


class Departures(Generic[K, T]):
    """Empties slots, and sees what was in them off.

    Args:
        slots: All of the shelf.
        care: Does it to the models.
        background: Where old generations wait for those who work on them.
    """

    def __init__(self, slots: Slots[K, T], care: Caretaker[K, T], background: Background) -> None:
        self._slots = slots
        self._care = care
        self._background = background

    async def put_away(self, slot: Slot[K, T], *, drain_s: float | None = None) -> bool:
        """Give a model's memory back once nobody works on it; whether it was there.

        What is being done to it is waited for, and what stands on it goes first. Who asks for it from now on
        loads it anew.
        """
        async with slot.lock:
            if slot.held is None:
                if slot.machine.state == "failed":
                    slot.machine.to("absent")
                return False
            leaving = slot.aside or await self._taken_out(slot, drain_s)
            slot.aside = None
            slot.machine.to("unloading")
            try:
                await self.close(slot, leaving)
            finally:
                slot.machine.to("absent")
        return True

    async def set_aside(self, slot: Slot[K, T], *, drain_s: float | None = None) -> bool:
        """Move a model to host memory once nobody works on it; whether it is there now.

        What stands on another is given up, since it is no more than its base and a little, and the base is
        set aside where nobody else has anything of it. Where moving fails the model answers as before.

        Raises:
            InvalidRequestError: Someone has it in hand.
            Exception: Whatever the loader raised.
        """
        if (base := self._slots.base(slot)) is not None:
            return await self._set_aside_with(slot, base, drain_s)
        async with slot.lock:
            if slot.version is None:
                return slot.aside is not None
            _require_not_leased(slot, slot.version)
            version = await self._taken_out(slot, drain_s)
            slot.machine.to("unloading")
            slot.aside = version  # also where this is cancelled: it comes back from wherever it is
            try:
                await self.park(slot, version)
            except Exception as error:
                slot.aside = None
                self.put_back(slot, version)
                self.fall_back(slot, error, "not set aside")
                raise
            except BaseException:
                slot.machine.to("aside")
                raise
            slot.machine.to("aside")
        return True

    async def alone(self, slot: Slot[K, T], version: Version[T], drain_s: float | None) -> None:
        """Wait until nobody works on a generation that was taken out, and nothing stands on it."""
        await self._care.drain(version, drain_s)
        for dependent in self._slots.dependents(slot):  # also those that are on their way there
            await self.put_away(dependent, drain_s=drain_s)
        await version.bare.wait()  # for old generations of theirs

    async def park(self, slot: Slot[K, T], version: Version[T]) -> bool:
        """Move a generation that was taken out to host memory; whether that freed any.

        Raises:
            InvalidRequestError: Someone has it in hand.
        """
        _require_not_leased(slot, version)  # by now, together with what stood on it
        return await self._care.park(version)

    def put_back(self, slot: Slot[K, T], version: Version[T]) -> None:
        """Have a generation answer again that was taken out, unless its process died meanwhile."""
        if version.is_dead:
            self._background.spawn(self.see_off(slot, version))
        else:
            slot.version = version

    async def bring_back(self, slot: Slot[K, T], old: Version[T]) -> None:
        """Have an old generation answer again; where it does not fit any more, it waits in host memory."""
        try:
            await self._care.unpark(old)
        except Exception as error:  # noqa: BLE001 - whatever it is, what is told is the error before it
            _log.warning("%s stays in host memory: %s", slot.machine.ref, error)
            slot.aside = old
        else:
            self.put_back(slot, old)

    def fall_back(self, slot: Slot[K, T], error: BaseException, what: str = "") -> None:
        """What was begun has failed or was stopped; the slot's state is that of what is in it."""
        detail = f"{what}: {_reason(error)}" if what else _reason(error)
        if slot.version is not None:
            slot.machine.to("ready", generation=slot.version.facts.generation, detail=detail)
        elif slot.aside is not None:
            slot.machine.to("aside", detail=detail)
        elif isinstance(error, Exception) or slot.machine.state != "loading":
            slot.machine.to("failed", detail=detail)
        else:
            slot.machine.to("absent")

    async def see_off(self, slot: Slot[K, T], version: Version[T], drain_s: float | None = None) -> None:
        """Give an old generation up once nobody works on it, and nothing stands on it."""
        await self._care.drain(version, drain_s)
        await version.bare.wait()
        await self.close(slot, version)

    async def close(self, slot: Slot[K, T], version: Version[T]) -> None:
        """Give a generation's memory back now."""
        try:
            await self._care.close(version)
        finally:
            slot.generations = [each for each in slot.generations if not each.is_closed]

    async def _taken_out(self, slot: Slot[K, T], drain_s: float | None) -> Version[T]:
        """What is in a slot, once nobody works on it; nobody is given it from now on."""
        version, slot.version = slot.version, None
        assert version is not None
        slot.machine.to("draining")
        try:
            await self.alone(slot, version, drain_s)
        except BaseException as error:
            self.put_back(slot, version)
            self.fall_back(slot, error, "not given up")
            raise
        return version

    async def _set_aside_with(self, slot: Slot[K, T], base: Slot[K, T], drain_s: float | None) -> bool:
        """Give up what stands on a base, and set that aside where nobody else has anything of it."""
        if slot.version is not None:
            _require_not_leased(slot, slot.version)
        if not await self.put_away(slot, drain_s=drain_s):
            return False
        if base.version is None or not base.version.is_idle:
            return base.aside is not None
        return await self.set_aside(base, drain_s=drain_s)


def _require_not_leased(slot: Slot[Any, Any], version: Version[Any]) -> None:
    if version.leases:
        raise InvalidRequestError(
            f"{slot.machine.ref} cannot be moved: it is leased {version.leases} times. Leave the blocks "
            "`with farm.models.lease(...)` first."
        )


def _reason(error: BaseException) -> str:
    """Why, in a line."""
    if not isinstance(error, Exception):
        return "it was stopped"
    return str(error).strip().partition("\n")[0] or type(error).__name__
