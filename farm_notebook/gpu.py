"""The devices that models run on: ``farm.gpu.stats()``.

It works without a GPU, too: the CPU is always among them.
"""

from __future__ import annotations

from farm_notebook.devices import device_problems, device_stats
from farm_notebook.farm import default_farm
from farm_notebook.types import DeviceStats

__all__ = ["problems", "stats"]


def stats() -> tuple[DeviceStats, ...]:
    """Every device now: the accelerators in torch's order, and the CPU last; with what our models take of it.

    Cheap; makes no CUDA context.
    """
    return device_stats(default_farm().models.shares())


def problems() -> tuple[str, ...]:
    """What kept the latest ``stats`` from telling more, such as a driver that is missing; a sentence each."""
    return device_problems()
