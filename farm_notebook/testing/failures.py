"""What a user is to read where a call was not recorded, or is blocked: the error, and where it was made."""

from __future__ import annotations

import re
from pathlib import Path
from types import FrameType
from typing import Any

from farm_notebook.errors import FarmError

__all__ = ["readable_failure", "shorten"]

_TOLD = ("NotRecordedError", "CassetteError", "RequestBlockedError")  # their words say all
_DIFFERS = "Cell outputs differ"  # says nbval
_BEGINS = re.compile(rf"^(?:{'|'.join(_TOLD)}): ", re.MULTILINE)
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_PACKAGE = Path(__file__).parents[1]


def readable_failure(error: BaseException, told: str) -> str | None:
    """The error's words, and the cell; ``None`` for any other failure, also where outputs differ.

    Args:
        error: As nbval or nbmake raises it.
        told: What they would show.
    """
    if str(error).startswith(_DIFFERS):
        return None
    told = _ANSI.sub("", told)
    begins = [match.start() for match in _BEGINS.finditer(told)]
    return f"{told[begins[-1] :].strip()}\n\n{_cell(error)}" if begins else None


def shorten(error: BaseException) -> None:
    """End the traceback of an error of ours where a test called into this package."""
    entry = error.__traceback__ if isinstance(error, FarmError) else None
    while entry is not None:
        if entry.tb_next is not None and _is_ours(entry.tb_next.tb_frame):
            entry.tb_next = None
        entry = entry.tb_next


def _is_ours(frame: FrameType) -> bool:
    return _PACKAGE in Path(frame.f_code.co_filename).parents


def _cell(error: Any) -> str:
    """The number of the cell that failed, as its runner counts, and its code."""
    if hasattr(error, "cell_num"):  # nbval's
        number, source = error.cell_num, error.source
    else:  # nbmake's
        result = error.args[0]
        number = result.error.failing_cell_index
        source = result.nb.cells[number].source
    return "\n".join([f"Cell {number}:", *(f"    {line}" for line in source.strip().splitlines())])
