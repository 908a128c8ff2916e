"""Where a model is put: the accelerator with the most room, several where one is too small, or the CPU."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from farm_notebook.errors import InvalidRequestError, OutOfMemoryError
from farm_notebook.types import DeviceStats

__all__ = ["SPARE_BYTES", "Placement", "Share", "place"]

Share: TypeAlias = tuple[str, int]  # a device's id, and bytes of its memory
SPARE_BYTES = 256 << 20  # what answering takes beside the weights, at the very least


@dataclass(frozen=True, slots=True)
class Placement:
    """How a model's memory is shared among devices.

    Args:
        shares: Devices and bytes, in the order in which they are filled.
        rooms: The same devices, and the most that may be put on each.
    """

    shares: tuple[Share, ...]
    rooms: tuple[Share, ...]

    @property
    def device_ids(self) -> tuple[str, ...]:
        """The devices, in the order in which they are filled."""
        return tuple(device_id for device_id, _ in self.shares)

    @property
    def device_map(self) -> str | dict[str, str]:
        """What ``from_pretrained`` takes as ``device_map``; ``sequential`` needs ``max_memory`` with it."""
        return {"": self.device_ids[0]} if len(self.shares) == 1 else "sequential"

    @property
    def max_memory(self) -> dict[int | str, int]:
        """What accelerate takes as ``max_memory``: the most bytes of each device, ``cuda:1`` as ``1``.

        It is the room and not the share, because layers cannot be cut. What is not in it is not used.

        Source: https://huggingface.co/docs/accelerate/concept_guides/big_model_inference
        """
        return {_key(device_id): room_bytes for device_id, room_bytes in self.rooms}


def place(
    size_bytes: int,
    devices: Iterable[DeviceStats],
    *,
    wanted: str = "auto",
    reserved: Callable[[str], int] = lambda device_id: 0,
    spare_bytes: int = SPARE_BYTES,
) -> Placement:
    """Choose where a model is put.

    Args:
        size_bytes: What its weights take.
        devices: What there is, as just read.
        wanted: ``auto``: an accelerator where there is one, else the CPU. A kind, such as ``cuda``: only such
            devices. An id, such as ``cuda:1``: only that one.
        reserved: What other loads have yet to take of a device: ``ledger.reserved``.
        spare_bytes: What must be left free on each device that is used.

    Returns:
        Of those that fit, the device with the most room. Where none does, as few as will do, those with the
        most room; they are filled in the order of their numbers, as accelerate does.

    Raises:
        OutOfMemoryError: It does not fit; says what is free where.
        InvalidRequestError: There is no such device; names those there are.
    """
    there = tuple(devices)
    candidates = _candidates(there, wanted)
    rooms = {each.id: max(0, each.free_bytes - reserved(each.id) - spare_bytes) for each in candidates}
    ranked = sorted(candidates, key=lambda each: rooms[each.id], reverse=True)  # equals stay in their order
    chosen = _fewest(size_bytes, ranked, rooms)
    if chosen is None:
        raise OutOfMemoryError(_refusal(size_bytes, candidates, there, reserved, spare_bytes))
    shares, rest = [], size_bytes
    for device in chosen:
        share = min(rest, rooms[device.id])
        shares.append((device.id, share))
        rest -= share
    return Placement(tuple(shares), tuple((device.id, rooms[device.id]) for device in chosen))


def _candidates(devices: Sequence[DeviceStats], wanted: str) -> tuple[DeviceStats, ...]:
    if wanted == "auto":
        accelerators = tuple(each for each in devices if each.kind != "cpu" and each.total_bytes)
        found = accelerators or tuple(devices)
    else:
        found = tuple(each for each in devices if wanted in (each.id, each.kind, each.id.partition(":")[0]))
    if not found:
        valid = ", ".join(("auto", *(each.id for each in devices)))
        raise InvalidRequestError(f"There is no device {wanted!r}. Valid: {valid}. `%farm gpu` shows them.")
    return found


def _fewest(
    size_bytes: int, ranked: Sequence[DeviceStats], rooms: dict[str, int]
) -> tuple[DeviceStats, ...] | None:
    """The first so many that it fits into, in the order of their numbers; ``None`` where it does not fit."""
    total, several = 0, []
    for device in ranked:
        several.append(device)
        total += rooms[device.id]
        if size_bytes <= total:
            return tuple(sorted(several, key=lambda each: _number(each.id)))
    return None


def _refusal(
    size_bytes: int,
    candidates: Sequence[DeviceStats],
    there: Sequence[DeviceStats],
    reserved: Callable[[str], int],
    spare_bytes: int,
) -> str:
    from rich.filesize import decimal

    told = []
    for each in candidates:
        promised = reserved(each.id)
        taken = f", {decimal(promised)} of them reserved for other loads" if promised else ""
        told.append(f"{each.id} has {decimal(each.free_bytes)} of {decimal(each.total_bytes)} free{taken}")
    others = (each for each in there if each not in candidates)
    roomy = [each.id for each in others if size_bytes + spare_bytes + reserved(each.id) <= each.free_bytes]
    elsewhere = f", or put it on {roomy[0]!r}, where it fits" if roomy else ""
    return (
        f"The model needs {decimal(size_bytes)} and {decimal(spare_bytes)} to spare, and {'; '.join(told)}. "
        f"Unload another model, take a smaller one or a smaller number format{elsewhere}."
    )


def _number(device_id: str) -> int:
    return int(match[1]) if (match := re.search(r":(\d+)$", device_id)) else 0


def _key(device_id: str) -> int | str:
    return _number(device_id) if ":" in device_id else device_id
