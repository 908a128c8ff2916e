"""Drivers that have the GPUs they are given."""

from __future__ import annotations

from collections.abc import Collection

import psutil

from farm_notebook.devices.amd import Amd
from farm_notebook.devices.nvidia import Nvidia
from farm_notebook.types import DeviceStats

__all__ = ["SomeAmd", "SomeNvidia"]


class SomeNvidia(Nvidia):
    """Has the GPUs that it is given, and is asked with this process among ours."""

    def __init__(self, *found: DeviceStats, problem: str = "") -> None:
        super().__init__({})
        self.found, self.problem = found, problem

    def read(self, pids: Collection[int]) -> tuple[DeviceStats, ...]:
        assert psutil.Process().pid in pids
        return self.found


class SomeAmd(Amd):
    """Has the GPUs that it is given."""

    def __init__(self, *found: DeviceStats, problem: str = "") -> None:
        super().__init__({})
        self.found, self.problem = found, problem

    def read(self, pids: Collection[int]) -> tuple[DeviceStats, ...]:
        return self.found
