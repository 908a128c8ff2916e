"""Devices that models run on: which there are, and how their memory is used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from farm_notebook.types.models import ModelRef

__all__ = ["DeviceKind", "DeviceStats", "ModelShare"]

DeviceKind = Literal["cpu", "cuda", "rocm", "mps"]


@dataclass(frozen=True, slots=True)
class ModelShare:
    """What one model takes of one device's memory."""

    ref: ModelRef
    size_bytes: int


@dataclass(frozen=True, slots=True)
class DeviceStats:
    """A device as its driver sees it now, with the memory of every process; ``None`` where nobody tells.

    Args:
        id: As torch names it here: ``cuda:0``, ``mps``, ``cpu``.
        kind: What it is; a ``rocm`` device is a ``cuda`` one to torch.
        name: As its maker calls it.
        total_bytes: Of its memory. Of the CPU: the machine's, or a container's limit where that is less.
        used_bytes: By all processes, and by the driver itself.
        free_bytes: What can still be allocated.
        ours_bytes: Of this process and those it started.
        utilization: Of its arithmetic units, 0 to 1, lately.
        temperature_c: In degrees Celsius.
        power_w: Drawn lately, in watts; of a part of a GPU, the whole GPU's.
        power_limit_w: The most that it may draw.
        models: What the models in memory take of it.
        detail: What is special or wrong here, in words; empty where nothing is.
    """

    id: str
    kind: DeviceKind
    name: str
    total_bytes: int
    used_bytes: int
    free_bytes: int
    ours_bytes: int | None = None
    utilization: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    models: tuple[ModelShare, ...] = ()
    detail: str = ""
