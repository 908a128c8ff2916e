"""NVIDIA's GPUs, as the driver's library NVML tells of them. No CUDA context is made, and no torch imported.

Source: https://docs.nvidia.com/deploy/nvml-api/
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeVar

import psutil

from farm_notebook.devices.visible import Gpu, visible
from farm_notebook.types import DeviceStats

__all__ = ["Nvidia"]

OPEN_AGAIN_S = 30
FIRST_PID_NAMESPACE = "pid:[4026531836]"  # PROC_PID_INIT_INO in Linux's include/linux/proc_ns.h

T = TypeVar("T")


class Nvidia:
    """Keeps the library and its handles open. It is of one process: a forked child makes its own.

    Args:
        environ: Where ``CUDA_VISIBLE_DEVICES`` is.
        clock: Tells the time in seconds.
    """

    def __init__(
        self, environ: Mapping[str, str] = os.environ, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.problem = ""
        self._environ, self._clock = environ, clock
        self._gpus: tuple[Gpu, ...] = ()
        self._power_limits: dict[str, float | None] = {}
        self._is_stale, self._open_at_s = True, float("-inf")
        self._order: tuple[str, ...] | None = None
        self._sees_all_processes = _sees_all_processes()

    def read(self, pids: Collection[int]) -> tuple[DeviceStats, ...]:
        """The GPUs that CUDA shows to this process, with their numbers; what is wrong is in ``problem``.

        Args:
            pids: This process and its children.
        """
        if self._is_stale and (now := self._clock()) >= self._open_at_s:
            self._open_at_s = now + OPEN_AGAIN_S
            self._open()
        return tuple(self._stats(number, gpu, pids) for number, gpu in enumerate(self._numbered()))

    def _open(self) -> None:
        try:
            import pynvml
        except ImportError as error:
            self.problem = f"NVML: {error}. Install nvidia-ml-py."
            return
        if self._gpus:  # it is to look again, and does so only once nobody uses it
            _told(pynvml.nvmlShutdown)
            self._gpus = ()
        try:
            pynvml.nvmlInit()
            self._gpus, self.problem = tuple(_gpus()), ""
        except pynvml.NVMLError as error:
            self.problem = f"NVML: {_in_words(error)}"
            return
        self._is_stale = False
        names = {gpu.name for gpu in self._gpus}
        if len(names) > 1 and self._environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
            self.problem = (
                "NVML: these GPUs differ, and CUDA may number them otherwise, the fastest first. Set "
                "CUDA_DEVICE_ORDER=PCI_BUS_ID."
            )

    def _numbered(self) -> tuple[Gpu, ...]:
        """In torch's own order, once it has one; before, in the one that it will have."""
        self._order = self._order or _torch_order()
        if self._order:
            everything = [part for gpu in self._gpus for part in (gpu, *gpu.parts)]
            by_number = {gpu.uuid.partition("-")[2]: gpu for gpu in everything}
            if all(uuid in by_number for uuid in self._order):
                return tuple(by_number[uuid] for uuid in self._order)
        return visible(self._gpus, self._environ.get("CUDA_VISIBLE_DEVICES"))

    def _stats(self, number: int, gpu: Gpu, pids: Collection[int]) -> DeviceStats:
        import pynvml as nvml

        total, free, detail = 0, 0, ""
        try:
            memory = nvml.nvmlDeviceGetMemoryInfo(gpu.handle)
            total, free = memory.total, memory.free
        except nvml.NVMLError_NotSupported:
            shared = psutil.virtual_memory()
            total, free, detail = shared.total, shared.available, "has the CPU's memory"
        except nvml.NVMLError as error:
            detail, self._is_stale = _in_words(error), True
        load = _told(nvml.nvmlDeviceGetUtilizationRates, gpu.handle)
        heat = _told(nvml.nvmlDeviceGetTemperature, gpu.whole, nvml.NVML_TEMPERATURE_GPU)
        power = _told(nvml.nvmlDeviceGetPowerUsage, gpu.whole)
        return DeviceStats(
            id=f"cuda:{number}",
            kind="cuda",
            name=gpu.name,
            total_bytes=total,
            used_bytes=total - free,
            free_bytes=free,
            ours_bytes=self._ours(number, gpu, pids),
            utilization=None if load is None else load.gpu / 100,
            temperature_c=heat,
            power_w=None if power is None else power / 1000,
            power_limit_w=self._power_limit_w(gpu),
            detail=detail,
        )

    def _ours(self, number: int, gpu: Gpu, pids: Collection[int]) -> int | None:
        """What our processes take; the driver may know them by numbers of another container only."""
        from pynvml import nvmlDeviceGetComputeRunningProcesses

        processes = _told(nvmlDeviceGetComputeRunningProcesses, gpu.handle)
        if processes is not None:
            taken = [process.usedGpuMemory for process in processes if process.pid in pids]
            if None not in taken and (taken or self._sees_all_processes):
                return int(sum(taken))
        return _reserved_by_torch(number)

    def _power_limit_w(self, gpu: Gpu) -> float | None:
        if gpu.uuid not in self._power_limits:
            from pynvml import nvmlDeviceGetEnforcedPowerLimit

            limit = _told(nvmlDeviceGetEnforcedPowerLimit, gpu.whole)
            self._power_limits[gpu.uuid] = None if limit is None else limit / 1000
        return self._power_limits[gpu.uuid]


def _gpus() -> Iterator[Gpu]:
    """All of the machine's, or of the container's, in the order of the bus; a lost one is left out."""
    import pynvml as nvml

    for index in range(nvml.nvmlDeviceGetCount()):
        if (handle := _told(nvml.nvmlDeviceGetHandleByIndex, index)) is None:
            continue
        uuid, name = nvml.nvmlDeviceGetUUID(handle), nvml.nvmlDeviceGetName(handle)
        yield Gpu(uuid, name, handle, handle, parts=tuple(_parts(uuid, handle)))


def _parts(uuid: str, whole: Any) -> Iterator[Gpu]:
    import pynvml as nvml

    mode = _told(nvml.nvmlDeviceGetMigMode, whole)
    if mode is None or mode[0] != nvml.NVML_DEVICE_MIG_ENABLE:
        return
    for index in range(_told(nvml.nvmlDeviceGetMaxMigDeviceCount, whole) or 0):
        if (handle := _told(nvml.nvmlDeviceGetMigDeviceHandleByIndex, whole, index)) is None:
            continue
        group, compute = (
            _told(ask, handle)
            for ask in (nvml.nvmlDeviceGetGpuInstanceId, nvml.nvmlDeviceGetComputeInstanceId)
        )
        name = nvml.nvmlDeviceGetName(handle)
        yield Gpu(nvml.nvmlDeviceGetUUID(handle), name, handle, whole, f"MIG-{uuid}/{group}/{compute}")


def _told(ask: Callable[..., T], *arguments: Any) -> T | None:
    """What the driver answers; ``None`` where this GPU or this driver does not say."""
    import pynvml

    try:
        return ask(*arguments)
    except (pynvml.NVMLError, pynvml.NVMLLibraryMismatchError):
        return None


def _in_words(error: Any) -> str:
    import pynvml as nvml

    words = {
        nvml.NVML_ERROR_LIBRARY_NOT_FOUND: "not found, so there is no NVIDIA driver",
        nvml.NVML_ERROR_DRIVER_NOT_LOADED: "driver not loaded",
        nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: (
            "Driver/library version mismatch. The driver was updated while it ran; restart the machine."
        ),
    }
    return words.get(error.value) or str(error)


def _torch_cuda() -> Any:
    """torch's module for CUDA if it has begun to use it; it is never what makes it begin."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    begun = getattr(cuda, "is_initialized", None)  # not there yet while another thread imports it
    return cuda if begun is not None and begun() else None


def _torch_order() -> tuple[str, ...] | None:
    """The uuids of torch's devices, without their prefix."""
    if (cuda := _torch_cuda()) is None:
        return None
    try:
        about = [cuda.get_device_properties(number) for number in range(cuda.device_count())]
    except RuntimeError:  # a kernel that failed leaves torch so until the process ends
        return None
    return tuple(str(getattr(each, "uuid", "")) for each in about)


def _reserved_by_torch(number: int) -> int | None:
    cuda = _torch_cuda()
    try:
        return None if cuda is None else int(cuda.memory_reserved(number))
    except RuntimeError:
        return None


def _sees_all_processes() -> bool:
    """Whether a process that the driver does not name to us is certainly not ours."""
    try:
        return os.readlink("/proc/self/ns/pid") == FIRST_PID_NAMESPACE
    except OSError:  # no Linux
        return True
