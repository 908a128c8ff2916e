"""What freeing memory came to: which models went, which stay and why, and what holds those that went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from farm_notebook.holders.names import Holder
from farm_notebook.types import DeviceStats, ModelRef

__all__ = ["FreeReport", "HeldModel"]


@dataclass(frozen=True, slots=True)
class HeldModel:
    """A model that was given up and is still in memory.

    Args:
        ref: The model.
        generation: Of it.
        size_bytes: What of it is not given back.
        holders: Who holds it.
    """

    ref: str
    generation: int
    size_bytes: int
    holders: tuple[Holder, ...]


@dataclass(frozen=True, slots=True)
class FreeReport:
    """The outcome of ``farm.models.free``; ``str`` tells it in lines.

    Args:
        unloaded: Models that were given up.
        kept: Models that stay, each with the reason.
        held: Models that were given up, now or earlier, and are still in memory.
        before, after: The devices.
    """

    unloaded: tuple[ModelRef, ...]
    kept: tuple[tuple[ModelRef, str], ...]
    held: tuple[HeldModel, ...]
    before: tuple[DeviceStats, ...]
    after: tuple[DeviceStats, ...]

    def __str__(self) -> str:
        from rich.filesize import decimal

        lines = [f"{ref} is unloaded." for ref in self.unloaded] or ["No idle model was loaded."]
        lines += [f"{ref} stays: {reason}." for ref, reason in self.kept]
        for model in self.held:
            size = decimal(model.size_bytes)
            lines.append(f"{model.ref} (generation {model.generation}) still takes {size}, held by:")
            lines += [f"  {holder}" for holder in model.holders]
        lines += _changes(self.before, self.after)
        return "\n".join(lines)


def _changes(before: Sequence[DeviceStats], after: Sequence[DeviceStats]) -> list[str]:
    from rich.filesize import decimal

    earlier = {device.id: device for device in before}
    return [
        f"{device.id}: {decimal(device.free_bytes)} free of {decimal(device.total_bytes)}, "
        f"{_change(device.free_bytes - earlier[device.id].free_bytes)}."
        for device in after
        if device.id in earlier
    ]


def _change(more_bytes: int) -> str:
    from rich.filesize import decimal

    return f"{decimal(abs(more_bytes))} {'more' if more_bytes >= 0 else 'less'} than before"
