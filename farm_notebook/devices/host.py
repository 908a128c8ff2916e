"""The CPU and its memory, within the limits of a container."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import psutil

from farm_notebook.devices.cgroup import MemoryGroups
from farm_notebook.types import DeviceStats

__all__ = ["Host"]

SHORTEST_S = 0.1  # processor time is counted in hundredths of a second; less says nothing


class Host:
    """The machine that this process runs on.

    Args:
        groups: Tells the limits of its container.
    """

    def __init__(self, groups: MemoryGroups | None = None) -> None:
        self._groups = groups or MemoryGroups()
        self._name = _processor()
        self._times = _processor_times()
        self._utilization: float | None = None

    def read(self, ours_bytes: int) -> DeviceStats:
        """Its figures now; the utilization is that since the last reading.

        Args:
            ours_bytes: What this process and its children take.
        """
        memory = psutil.virtual_memory()
        total, free, detail = memory.total, memory.available, ""
        if (limit := self._groups.limit()) and limit.limit_bytes < total:
            total, free = limit.limit_bytes, min(free, limit.free_bytes)
            detail = "limited by its container"
        return DeviceStats(
            id="cpu",
            kind="cpu",
            name=self._name,
            total_bytes=total,
            used_bytes=total - free,
            free_bytes=free,
            ours_bytes=ours_bytes,
            utilization=self._utilization_now(),
            detail=detail,
        )

    def _utilization_now(self) -> float | None:
        busy_s, all_s = _processor_times()
        since_s = all_s - self._times[1]
        if since_s >= SHORTEST_S * (psutil.cpu_count() or 1):
            self._utilization = min(1.0, max(0.0, (busy_s - self._times[0]) / since_s))
            self._times = busy_s, all_s
        return self._utilization


def _processor_times() -> tuple[float, float]:
    """Seconds that all cores have worked, and that have passed for all of them."""
    times = psutil.cpu_times()
    total = sum(times) - getattr(times, "guest", 0) - getattr(times, "guest_nice", 0)  # which user has, too
    return total - times.idle - getattr(times, "iowait", 0), total


def _processor() -> str:
    try:
        info = Path("/proc/cpuinfo").read_text("utf-8", "replace")
    except OSError:
        info = ""
    found = re.search(r"^model name\s*:\s*(\S.*)$", info, re.M)
    return found[1].strip() if found else platform.processor() or platform.machine()
