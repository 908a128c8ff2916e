"""How far a load is, in words."""

from __future__ import annotations

import time
from collections.abc import Callable

from farm_notebook.types import LoadProgress

__all__ = ["LoadSteps"]

STEADY_S = 1.0  # until a speed is worth showing

_UNITS = (("GB", 1e9, 1), ("MB", 1e6, 0), ("kB", 1e3, 0))  # and how many digits behind the point
_STAGES = {"fetch": "Fetching", "verify": "Verifying", "load": "Loading"}


class LoadSteps:
    """Puts each step of one load into words: where to, how much of how much, how fast.

    Args:
        what: Is loaded, in words.
        clock: Seconds that never go back.
    """

    def __init__(self, what: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._what = what
        self._clock = clock
        self._to = ""
        self._begun: tuple[str, float, int] | None = None  # the stage, when it was first seen, and where

    def describe(self, step: LoadProgress) -> str:
        """One line; before the first byte it says what is needed and what is free."""
        if self._begun is None or self._begun[0] != step.stage or step.completed_bytes < self._begun[2]:
            self._begun = step.stage, self._clock(), step.completed_bytes
        if step.device is not None:
            self._to = f" to {step.device}"
        doing = f"{_STAGES[step.stage]} {self._what}"
        if step.stage == "load" and not step.completed_bytes:
            return f"{doing}{_need(step, self._to)}"
        to = self._to if step.stage == "load" else ""
        return f"{doing}{to} … {_share(step)}{self._speed(step)}"

    def _speed(self, step: LoadProgress) -> str:
        assert self._begun is not None, "it was set just now"
        _, begun_at, begun_with = self._begun
        took_s = self._clock() - begun_at
        moved = step.completed_bytes - begun_with
        return f", {_bytes(moved / took_s)}/s" if took_s >= STEADY_S and moved else ""


def _need(step: LoadProgress, to: str) -> str:
    if step.total_bytes is None:
        return f"{to} …"
    free = f", where {_bytes(step.free_bytes)} are free" if step.free_bytes is not None else ""
    return f": {_bytes(step.total_bytes)}{to}{free}"


def _share(step: LoadProgress) -> str:
    done, total = step.completed_bytes, step.total_bytes
    if not total:
        return _bytes(done)
    # One unit for both, so that the line does not move.
    unit, size, digits = next((each for each in _UNITS if total >= each[1]), _UNITS[-1])
    return f"{done / size:.{digits}f} of {total / size:.{digits}f} {unit} ({done / total:.0%})"


def _bytes(count: float) -> str:
    from rich.filesize import decimal

    return decimal(int(count))
