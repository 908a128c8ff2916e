"""Tables of what calls were: as text, and as Markdown. What stands in them is not trusted."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any

from farm_notebook.errors import MissingExtraError
from farm_notebook.sanitize import as_inline_text, printable

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["Column", "count", "dollars", "duration", "frame", "grid", "line", "markdown", "seconds", "text"]

UNKNOWN = "-"
WIDEST = 200  # characters, where nobody's screen says otherwise
SHORTEST_CENT = 0.0001  # US dollars; less than that is written as such


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Args:
        title: What stands above it.
        is_number: Whether it is aligned to the right.
        may_be_cut: Whether it is a text that may end early where there is too little room.
    """

    title: str
    is_number: bool = False
    may_be_cut: bool = False


def grid(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> Table:
    """A table for a terminal; texts too long for their column are cut."""
    from rich.table import Table  # only for a display
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(
            column.title,
            justify="right" if column.is_number else "left",
            no_wrap=not column.may_be_cut,  # those that may are made narrower first
        )
    for row in rows:
        table.add_row(*(Text(line(cell), no_wrap=True, overflow="ellipsis") for cell in row))
    return table


def text(columns: Sequence[Column], rows: Sequence[Sequence[str]], note: str = "") -> str:
    """A table as plain text, with a sentence below it."""
    from rich.console import Console

    width = shutil.get_terminal_size().columns if sys.stdout is not None and sys.stdout.isatty() else WIDEST
    paper = io.StringIO()
    out = Console(file=paper, width=width, color_system=None, force_jupyter=False)  # else a kernel gets it
    out.print(grid(columns, rows))
    lines = [written.rstrip() for written in paper.getvalue().splitlines()]
    return "\n".join([*lines, *(["", note] if note else [])])


def markdown(columns: Sequence[Column], rows: Sequence[Sequence[str]], note: str = "") -> str:
    """A table as Markdown, with a sentence below it."""
    lines = [_row([column.title for column in columns])]
    lines.append(f"|{'|'.join('---:' if column.is_number else '---' for column in columns)}|")
    lines += (_row(row) for row in rows)
    return "\n".join(lines) + (f"\n\n<small>{as_inline_text(note)}</small>" if note else "")


def frame(rows: Sequence[dict[str, object]]) -> Any:
    """Rows as a ``pandas.DataFrame``.

    Raises:
        MissingExtraError: pandas is not installed.
    """
    try:
        pandas = import_module("pandas")
    except ImportError:
        raise MissingExtraError("A frame needs pandas: pip install pandas") from None
    return pandas.DataFrame(rows)


def line(words: str) -> str:
    """Words in one line, without what could move a terminal's cursor."""
    return printable(" ".join(words.split()))


def count(number: int) -> str:
    """A number of something, as people read it."""
    return f"{number:,}"


def dollars(cost: float | None, *, has_more: bool = False) -> str:
    """US dollars.

    Args:
        cost: ``None`` where it is not known.
        has_more: Whether there is more of it that is not known.
    """
    if cost is None:
        return "unknown"
    if 0 < cost < SHORTEST_CENT:
        amount = f"under ${SHORTEST_CENT}"
    else:
        amount = f"${cost:,.2f}" if cost >= 1 or cost == 0 else f"${cost:,.4f}"
    return f"{amount} + ?" if has_more else amount


def seconds(value: float | None) -> str:
    """A time in seconds."""
    return UNKNOWN if value is None else f"{value:.2f} s"


def duration(value: float) -> str:
    """A time in hours, minutes and seconds, with the days before them; longer than any calendar is for ever.

    Args:
        value: In seconds.
    """
    try:
        return str(timedelta(seconds=value))
    except OverflowError:
        return "ever"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(as_inline_text(line(cell)) for cell in cells)} |"
