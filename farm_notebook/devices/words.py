"""Devices as rows of texts, for whoever shows a table of them."""

from __future__ import annotations

from farm_notebook.types import DeviceStats

__all__ = ["COLUMNS", "device_row"]

COLUMNS = ("device", "name", "memory", "ours", "others", "free", "load", "temperature", "power", "models")
UNKNOWN = "-"
BAR_CELLS = 10
_OURS, _OTHERS, _FREE = "█", "▒", "░"


def device_row(device: DeviceStats) -> tuple[str, ...]:
    """A text for each of ``COLUMNS``; sizes are decimal, as of models' files."""
    from rich.filesize import decimal

    ours = device.ours_bytes
    others = device.used_bytes - (ours or 0)
    power = "/".join(f"{watts:.0f}" for watts in (device.power_w, device.power_limit_w) if watts is not None)
    return (
        device.id,
        f"{device.name} ({device.detail})" if device.detail else device.name,
        f"{_bar(device)} {decimal(device.total_bytes)}",
        UNKNOWN if ours is None else decimal(ours),
        decimal(max(0, others)),
        decimal(device.free_bytes),
        UNKNOWN if device.utilization is None else f"{device.utilization:.0%}",
        UNKNOWN if device.temperature_c is None else f"{device.temperature_c:.0f} °C",
        UNKNOWN if device.power_w is None else f"{power} W",
        ", ".join(f"{share.ref} {decimal(share.size_bytes)}" for share in device.models) or UNKNOWN,
    )


def _bar(device: DeviceStats) -> str:
    """The memory that is ours, others' and free; what is ours or used at all has a cell at least."""
    if not device.total_bytes:
        return _FREE * BAR_CELLS
    used = _cells(device.used_bytes, device.total_bytes)
    ours = min(used, _cells(device.ours_bytes or 0, device.total_bytes))
    return _OURS * ours + _OTHERS * (used - ours) + _FREE * (BAR_CELLS - used)


def _cells(part: int, whole: int) -> int:
    return min(BAR_CELLS, max(round(BAR_CELLS * part / whole), int(part > 0)))
