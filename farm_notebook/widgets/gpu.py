"""The panel of the devices: whose their memory is, how busy they are, and freeing what nobody uses."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from html import escape
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from farm_notebook.devices import device_problems, device_stats
from farm_notebook.devices.words import COLUMNS, device_row
from farm_notebook.farm import Farm
from farm_notebook.sanitize import printable
from farm_notebook.types import DeviceStats, ModelShare
from farm_notebook.widgets.outbox import Slices
from farm_notebook.widgets.part import Handler, Part

if TYPE_CHECKING:
    from farm_notebook.widgets.panel import Panel

__all__ = ["GPUPanel", "GPUPart"]

PERIOD_S = 1.0  # between two looks while the panel is visible
KEPT_S = 300.0  # how far back the curves go

Read: TypeAlias = Callable[[Mapping[str, Sequence[ModelShare]]], tuple[DeviceStats, ...]]


def GPUPanel(*, farm: Farm | None = None) -> Panel:
    """The memory, load, temperature and power of every device, looked at each second while it is visible.

    Args:
        farm: Whose models are told apart; without one it is the default farm.

    Raises:
        MissingExtraError: Widgets are not installed.
    """
    from farm_notebook.widgets.panel import Panel

    return Panel("gpu", [GPUPart(farm)])


class GPUPart(Part):
    """The kernel's side of it.

    Args:
        farm: As for ``Part``.
        read: Reads the devices, given what models take of them; called in a thread.
        clock: Seconds since the epoch.
        options: As for ``Part``.
    """

    name: ClassVar[str] = "gpu"

    def __init__(
        self,
        farm: Farm | None = None,
        *,
        read: Read = device_stats,
        clock: Callable[[], float] = time.time,
        **options: Any,
    ) -> None:
        super().__init__(farm, **options)
        self._read = read
        self._clock = clock
        self._devices: tuple[DeviceStats, ...] = ()
        self._samples: deque[dict[str, Any]] = deque()
        self._freed: dict[str, Any] | None = None
        self.while_shown(PERIOD_S, self._look)

    def slices(self) -> Slices:
        return {
            "devices": [_device(each) for each in self._devices],
            "samples": list(self._samples),
            "problems": list(device_problems()),
            "freed": self._freed,
        }

    def calls(self) -> Mapping[str, Handler]:
        return {"free": self._free}

    async def ready(self) -> None:
        await self._look()

    def static_html(self) -> str:
        head = "".join(f"<th>{escape(each)}</th>" for each in COLUMNS)
        rows = "\n".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in device_row(each)) + "</tr>"
            for each in self._devices
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"

    def static_text(self) -> str:
        rows = (dict(zip(COLUMNS, device_row(each), strict=True)) for each in self._devices)
        return "\n".join(
            printable(
                f"{row['device']}: {row['memory']}, {row['free']} free, load {row['load']}; {row['name']}"
            )
            for row in rows
        )

    async def _look(self) -> None:
        self._devices = await asyncio.to_thread(self._read, self.farm.models.shares())
        now = self._clock()
        sample = {"at": now, "devices": {each.id: _figures(each) for each in self._devices}}
        self._samples.append(sample)
        while self._samples[0]["at"] < now - KEPT_S:
            self._samples.popleft()
        self.set(devices=[_device(each) for each in self._devices], problems=list(device_problems()))
        self.emit("sample", **sample)

    async def _free(self) -> None:
        report = await self.farm.models.free()
        self._freed = {"at": self._clock(), "lines": str(report).splitlines()}
        self.set(freed=self._freed)
        await self._look()
        self.settled()


def _device(device: DeviceStats) -> dict[str, Any]:
    """A device in JSON values, with the names of models as users write them."""
    models = [{"ref": str(share.ref), "size_bytes": share.size_bytes} for share in device.models]
    return asdict(device) | {"models": models}


def _figures(device: DeviceStats) -> dict[str, float | None]:
    """What of a device is drawn as a curve."""
    used = device.used_bytes / device.total_bytes if device.total_bytes else None
    return {
        "memory": None if used is None else round(used, 4),
        "load": None if device.utilization is None else round(device.utilization, 3),
        "temperature_c": device.temperature_c,
        "power_w": device.power_w,
    }
