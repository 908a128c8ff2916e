"""Memory of the host and of devices: what is free, what torch holds, and how it is given back."""

from __future__ import annotations

import ctypes
import gc
import mmap
import sys
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Self

import psutil

from farm_notebook.devices import device_stats

if TYPE_CHECKING:
    import torch

__all__ = ["Pages", "allocated_bytes", "empty_caches", "free_bytes", "give_back", "living", "pin"]

PORTABLE = 1  # cudaHostRegisterPortable: pinned for all devices
WORKSPACE_BYTES = 256 << 20  # at the most; 32 MiB a stream and a library on an H100
living: weakref.WeakSet[Any] = weakref.WeakSet()  # the modules that were loaded, and are still there


def free_bytes(device: torch.device) -> int | None:
    """What the driver, not torch, says is free on a device; ``None`` where it does not say.

    Of the processor's memory it is what a container leaves, where this process is in one.
    """
    if device.type == "cpu":
        return device_stats()[-1].free_bytes
    if device.type == "cuda":
        import torch

        return torch.cuda.mem_get_info(device)[0]
    return None


def allocated_bytes(device: torch.device) -> int:
    """What this process has in use on a device: of the processor its resident set, else what torch counts."""
    import torch

    if device.type == "cpu":
        return psutil.Process().memory_info().rss
    if device.type == "mps":
        return torch.mps.current_allocated_memory()
    allocated: int = torch.get_device_module(device).memory_allocated(device)
    return allocated


def give_back(left: Iterable[weakref.ref[Any]] = ()) -> None:
    """Return memory that nobody uses any more to the system and to the devices' drivers; blocks for some ms.

    Args:
        left: Modules that were dropped. Nearly always all are gone by now; only what refers to itself needs a
            collection, which holds everything up.
    """
    if any(module() is not None for module in left):
        gc.collect()
    empty_caches()
    # Without this, the pages that tensors of some MB leave stay with the process.
    if (trim := _libc("malloc_trim", ctypes.c_size_t)) is not None:
        trim(0)


def empty_caches() -> None:
    """Return what torch keeps for its next tensors, on all devices, to their drivers."""
    import torch

    device = torch.accelerator.current_accelerator(check_available=True)
    if device is None:
        return
    if device.type == "cuda" and not living and _is_idle():
        torch._C._cuda_clearCublasWorkspaces()
    torch.get_device_module(device).empty_cache()
    if (empty_host_cache := getattr(torch.accelerator, "empty_host_cache", None)) is not None:
        empty_host_cache()  # of pinned memory; torch 2.9 has no such call


def _is_idle() -> bool:
    """Whether what is on the devices can only be cuBLAS' workspaces: under a computation they must not go."""
    import torch

    count = torch.cuda.device_count()
    return all(torch.cuda.memory_allocated(index) <= WORKSPACE_BYTES for index in range(count))


# Else a forked process, such as a worker that trains, would write into the weights that answer here.
_PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}


class Pages(mmap.mmap):
    """Memory of the host that the system has back as soon as the last tensor in it is gone.

    What ``malloc`` gave a thread for something smaller than some 10 MB stays with it when that is freed.

    Args:
        size_bytes: At least 1.

    Raises:
        MemoryError: There is not so much.
    """

    unpin: Callable[[], object] | None = None  # called before
    _place: int | None = None

    def __new__(cls, size_bytes: int) -> Self:
        try:
            pages = super().__new__(cls, -1, size_bytes, **_PRIVATE)
        except OSError as error:
            raise MemoryError(f"cannot allocate memory: {size_bytes:,} bytes") from error
        if hasattr(mmap, "MADV_HUGEPAGE"):
            with suppress(OSError):  # a system without them
                pages.madvise(mmap.MADV_HUGEPAGE)
        return pages

    def __del__(self) -> None:
        if self.unpin is not None:
            self.unpin()
        drop = _libc("madvise", ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        if self._place is not None and drop is not None:
            # A foreign call, which frees the interpreter's lock: to unmap some GB takes most of a second.
            drop(self._place, len(self), mmap.MADV_DONTNEED)

    def bytes(self) -> torch.Tensor:
        """All of it."""
        import torch

        whole = torch.frombuffer(self, dtype=torch.uint8)
        self._place = whole.data_ptr()
        return whole


def pin(memory: torch.Tensor) -> Callable[[], object] | None:
    """Have CUDA devices read and write a piece of host memory by themselves.

    torch's own pinned memory is rounded up to a power of two.

    Args:
        memory: Whose storage outlives what is returned.

    Returns:
        What undoes it; ``None`` where the system allows no more of it.
    """
    import torch

    runtime: Any = torch.cuda.cudart()  # type: ignore[no-untyped-call]  # torch has no types for it
    place = memory.data_ptr()
    if int(runtime.cudaHostRegister(place, memory.nbytes, PORTABLE)) == 0:
        return partial(runtime.cudaHostUnregister, place)
    with suppress(RuntimeError):  # the error is kept, and raised by whatever runs next: let that be this
        torch.zeros(1, device="cuda")
    return None


@cache
def _libc(name: str, *takes: Any) -> Callable[..., int] | None:
    """A function of the C library on Linux; ``None`` where there is none of that name."""
    if not sys.platform.startswith("linux"):
        return None
    function = getattr(ctypes.CDLL(None), name, None)  # not every library of C has all
    if function is not None:
        function.argtypes, function.restype = takes, ctypes.c_int
    return function
