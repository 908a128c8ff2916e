"""The GPU of an Apple chip, which has the CPU's memory and may wire a part of it.

The system tells how large that part is, and torch, where it is imported, what this process takes of it.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import platform
import sys
from collections.abc import Callable
from typing import Any

from farm_notebook.types import DeviceStats

__all__ = ["Apple", "system_value"]

_LARGE_BYTES = 36 << 30
_MIB = 1 << 20


def system_value(name: str) -> bytes:
    """What macOS says of itself under a name; empty where it says nothing.

    Source: https://developer.apple.com/documentation/kernel/1387446-sysctlbyname
    """
    system = ctypes.CDLL(ctypes.util.find_library("c"))
    size = ctypes.c_size_t(256)
    buffer = ctypes.create_string_buffer(size.value)
    failed = system.sysctlbyname(name.encode(), buffer, ctypes.byref(size), None, ctypes.c_size_t(0))
    return b"" if failed else buffer.raw[: size.value]


class Apple:
    """The one GPU of a Mac with a chip of Apple's own.

    Args:
        is_here: Whether this is such a Mac; ``None`` looks.
        ask: ``system_value``, or another.
    """

    def __init__(self, *, is_here: bool | None = None, ask: Callable[[str], bytes] = system_value) -> None:
        self.problem = ""
        if is_here is None:
            is_here = sys.platform == "darwin" and platform.machine() == "arm64"
        self._is_here, self._ask = is_here, ask
        self._name = ask("machdep.cpu.brand_string").rstrip(b"\0").decode() if is_here else ""

    def read(self, host: DeviceStats) -> tuple[DeviceStats, ...]:
        """Its figures now; none on any other machine.

        Args:
            host: The CPU's, whose memory it is.
        """
        if not self._is_here:
            return ()
        mps = _torch_mps()
        ours = None if mps is None else int(mps.driver_allocated_memory())
        total = self._most_bytes(host.total_bytes) if mps is None else int(mps.recommended_max_memory())
        free = max(0, min(total - (ours or 0), host.free_bytes))
        return (
            DeviceStats(
                id="mps",
                kind="mps",
                name=self._name,
                total_bytes=total,
                used_bytes=total - free,
                free_bytes=free,
                ours_bytes=ours,
                detail="has the CPU's memory",
            ),
        )

    def _most_bytes(self, memory_bytes: int) -> int:
        """What the GPU may wire: what the user has set, else two thirds, of a large memory three quarters."""
        limit = int.from_bytes(self._ask("iogpu.wired_limit_mb"), "little") * _MIB
        return limit or memory_bytes * (3 if memory_bytes > _LARGE_BYTES else 2) // (
            4 if memory_bytes > _LARGE_BYTES else 3
        )


def _torch_mps() -> Any:
    """torch's module for it if it is imported and can use it; it is never imported for this."""
    torch = sys.modules.get("torch")
    mps, backends = getattr(torch, "mps", None), getattr(torch, "backends", None)
    is_available = getattr(getattr(backends, "mps", None), "is_available", None)
    return mps if is_available is not None and is_available() else None
