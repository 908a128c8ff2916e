"""AMD's GPUs, as the library amdsmi tells of them where ROCm has brought it.

Source: https://rocm.docs.amd.com/projects/amdsmi/en/latest/reference/amdsmi-py-api.html
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from farm_notebook.types import DeviceStats

__all__ = ["Amd"]

OPEN_AGAIN_S = 30
_MOST_WATTS = 100_000  # greater numbers are microwatts, which some versions give


class Amd:
    """Keeps the library open. It is of one process: a forked child makes its own.

    Args:
        environ: Where ``HIP_VISIBLE_DEVICES`` and its like are.
        clock: Tells the time in seconds.
    """

    def __init__(
        self, environ: Mapping[str, str] = os.environ, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.problem = ""
        self._environ, self._clock = environ, clock
        self._handles: tuple[Any, ...] = ()
        self._names: dict[int, str] = {}
        self._open_at_s = float("-inf")

    def read(self, pids: Collection[int]) -> tuple[DeviceStats, ...]:
        """The GPUs that HIP shows to this process, as torch numbers them; what is wrong is in ``problem``.

        Args:
            pids: This process and its children.
        """
        if not self._handles and (now := self._clock()) >= self._open_at_s:
            self._open_at_s = now + OPEN_AGAIN_S
            self._open()
        return tuple(self._stats(number, index, pids) for number, index in enumerate(self._visible()))

    def _open(self) -> None:
        try:
            import amdsmi
        except (ImportError, OSError, KeyError):  # it looks for its library when it is imported
            return
        try:
            amdsmi.amdsmi_init()
            self._handles, self.problem = tuple(amdsmi.amdsmi_get_processor_handles()), ""
        except amdsmi.AmdSmiException as error:
            self.problem = f"AMD SMI: {error}"

    def _visible(self) -> list[int]:
        """HIP looks through what ROCr has left.

        Source: https://rocm.docs.amd.com/en/latest/conceptual/gpu-isolation.html
        """
        shown = list(range(len(self._handles)))
        hip = "HIP_VISIBLE_DEVICES" if "HIP_VISIBLE_DEVICES" in self._environ else "CUDA_VISIBLE_DEVICES"
        for name in ("ROCR_VISIBLE_DEVICES", hip):
            if (wanted := self._environ.get(name)) is not None:
                numbers = [int(word) for word in wanted.split(",") if word.strip().isdigit()]
                shown = [shown[number] for number in numbers if number < len(shown)]
        return shown

    def _stats(self, number: int, index: int, pids: Collection[int]) -> DeviceStats:
        import amdsmi as smi

        handle, vram = self._handles[index], smi.AmdSmiMemoryType.VRAM
        heat = smi.AmdSmiTemperatureType.HOTSPOT, smi.AmdSmiTemperatureMetric.CURRENT
        total = _told(smi.amdsmi_get_gpu_memory_total, handle, vram) or 0
        used = _told(smi.amdsmi_get_gpu_memory_usage, handle, vram) or 0
        load = _number(_told(smi.amdsmi_get_gpu_activity, handle), "gfx_activity")
        power = _told(smi.amdsmi_get_power_info, handle)
        if index not in self._names:
            about = _told(smi.amdsmi_get_gpu_asic_info, handle) or {}
            self._names[index] = str(about.get("market_name") or "AMD GPU")
        return DeviceStats(
            id=f"cuda:{number}",  # so torch calls it, too
            kind="rocm",
            name=self._names[index],
            total_bytes=total,
            used_bytes=used,
            free_bytes=max(0, total - used),
            ours_bytes=_ours(_told(smi.amdsmi_get_gpu_process_list, handle), pids),
            utilization=None if load is None else load / 100,
            temperature_c=_told(smi.amdsmi_get_temp_metric, handle, *heat),
            power_w=_watts(power, "socket_power", "current_socket_power", "average_socket_power"),
            power_limit_w=_watts(power, "power_limit"),
            detail="" if total else "its driver does not say how much memory it has",
        )


def _ours(processes: Any, pids: Collection[int]) -> int | None:
    if processes is None:
        return None
    return sum(int(_number(process, "mem") or 0) for process in processes if process.get("pid") in pids)


def _watts(power: Any, *names: str) -> float | None:
    found = next((value for name in names if (value := _number(power, name))), None)
    return None if found is None else found / 1e6 if found > _MOST_WATTS else found


def _number(answer: Any, name: str) -> float | None:
    """A figure of an answer; what a GPU cannot tell is ``"N/A"`` or a 16 or 32 bit number of ones."""
    value = (answer or {}).get(name)
    return value if isinstance(value, int | float) and value not in (0xFFFF, 0xFFFFFFFF) else None


def _told(ask: Callable[..., Any], *arguments: Any) -> Any:
    """What the driver answers; ``None`` where this GPU or this driver does not say."""
    import amdsmi

    try:
        return ask(*arguments)
    except amdsmi.AmdSmiException:
        return None
