"""Whether a model would fit into memory, as far as can be told before it is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from farm_notebook.devices import ledger, place
from farm_notebook.errors import FarmError
from farm_notebook.types import DeviceStats

__all__ = ["Fit", "fit"]

Fit: TypeAlias = Literal["fits", "tight", "too large"]

TIGHT = 1.3  # times its weights: the context of a long conversation may take that much


def fit(size_bytes: int, devices: Sequence[DeviceStats]) -> Fit:
    """Whether weights fit into the memory that is free now, of the device that they would be put on.

    Args:
        size_bytes: Of the files, which is about what they take in memory where they are not unpacked.
        devices: As just read.

    Returns:
        ``tight`` where the weights fit, and a long conversation may not.
    """
    if not _has_room(size_bytes, devices):
        return "too large"
    return "fits" if _has_room(round(size_bytes * TIGHT), devices) else "tight"


def _has_room(size_bytes: int, devices: Sequence[DeviceStats]) -> bool:
    try:
        place(size_bytes, devices, reserved=ledger.reserved)
    except FarmError:
        return False
    return True
