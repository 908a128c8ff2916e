"""All devices of this machine, read at once. Nothing is read until someone asks."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from farm_notebook.devices.amd import Amd
from farm_notebook.devices.apple import Apple
from farm_notebook.devices.family import Family
from farm_notebook.devices.host import Host
from farm_notebook.devices.nvidia import Nvidia
from farm_notebook.types import DeviceStats, ModelShare

__all__ = ["Reader", "device_problems", "device_stats", "device_stats_with_load"]

LOAD_AFTER_S = 0.2


class Reader:
    """Reads the devices of this machine; any thread may.

    Args:
        nvidia, amd, apple, host: Where the figures come from; each is made when it is not given.
    """

    def __init__(
        self,
        *,
        nvidia: Nvidia | None = None,
        amd: Amd | None = None,
        apple: Apple | None = None,
        host: Host | None = None,
    ) -> None:
        self._lock = threading.Lock()
        self._family = Family()
        self._nvidia, self._amd = nvidia or Nvidia(), amd or Amd()
        self._apple, self._host = apple or Apple(), host or Host()

    def read(self) -> tuple[DeviceStats, ...]:
        """The accelerators in the order of their numbers, and the CPU last."""
        with self._lock:
            pids = self._family.pids()
            host = self._host.read(self._family.resident_bytes())
            # torch is built for one maker's GPUs only, so that both together would have the same numbers
            gpus = self._nvidia.read(pids) or self._amd.read(pids)
            return (*gpus, *self._apple.read(host), host)

    @property
    def problems(self) -> tuple[str, ...]:
        """What kept the latest reading from telling more."""
        return tuple(part.problem for part in (self._nvidia, self._amd) if part.problem)


_reader: Reader | None = None
_making = threading.Lock()


def device_stats(models: Mapping[str, Sequence[ModelShare]] | None = None) -> tuple[DeviceStats, ...]:
    """Every device of this machine as it is now: the accelerators in torch's order, and the CPU last.

    It takes a fraction of a millisecond, makes no CUDA context, starts no process and imports no torch. A
    driver that is missing or broken is no error: see ``device_problems``.

    Args:
        models: What the models in memory take, by the id of the device.
    """
    found = _shared().read()
    if not models:
        return found
    return tuple(replace(each, models=tuple(models.get(each.id, ()))) for each in found)


def device_stats_with_load(
    models: Mapping[str, Sequence[ModelShare]] | None = None,
) -> tuple[DeviceStats, ...]:
    """``device_stats`` for one look: waits a moment where nothing was read before that the load is since."""
    found = device_stats(models)
    if found[-1].utilization is not None:
        return found
    time.sleep(LOAD_AFTER_S)
    return device_stats(models)


def device_problems() -> tuple[str, ...]:
    """What kept the latest ``device_stats`` from telling more, such as a missing driver; a sentence each."""
    return _shared().problems


def _shared() -> Reader:
    global _reader
    with _making:
        if _reader is None:
            _reader = Reader()
        return _reader


def _begin_anew() -> None:
    """In a forked child: its parent's threads may have held the locks, and the drivers are opened again."""
    global _reader, _making
    _reader, _making = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
