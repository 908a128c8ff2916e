"""A table as the value of a cell: Markdown in a notebook, text in a terminal, its rows' values in Python."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, overload

__all__ = ["Table"]

T = TypeVar("T")

WIDEST = 1000  # characters, where nobody's screen says otherwise


@dataclass(frozen=True, slots=True)
class Table(Sequence[T], Generic[T]):
    """Rows of texts, and a sequence of the values behind them.

    Args:
        columns: The columns' titles.
        rows: As many texts a row as there are columns; they are not trusted.
        values: What the rows were made of.
        note: A sentence below the table.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    values: tuple[T, ...] = ()
    note: str = ""

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        return self.values[index]

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[T]:
        return iter(self.values)

    def __str__(self) -> str:
        from rich.console import Console  # only for a display
        from rich.table import Table as Grid
        from rich.text import Text

        grid = Grid(box=None, pad_edge=False, show_header=any(self.columns))
        for title in self.columns:
            grid.add_column(title, overflow="fold")
        for row in self.rows:
            grid.add_row(*(Text(_line(cell)) for cell in row))
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDEST
        paper = io.StringIO()
        Console(file=paper, width=width, color_system=None, force_jupyter=False).print(grid)
        lines = [line.rstrip() for line in paper.getvalue().splitlines()]
        return "\n".join([*lines, *(["", _line(self.note)] if self.note else [])])

    __repr__ = __str__

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        from farm_notebook.sanitize import as_inline_text

        lines = [_markdown_row(self.columns), "|---" * len(self.columns) + "|"]
        lines += [_markdown_row(row) for row in self.rows]
        note = f"\n\n<small>{as_inline_text(_line(self.note))}</small>" if self.note else ""
        return {"text/markdown": "\n".join(lines) + note, "text/plain": str(self)}


def _line(text: str) -> str:
    from farm_notebook.sanitize import printable

    return printable(" ".join(text.split()))


def _markdown_row(cells: Sequence[str]) -> str:
    from farm_notebook.sanitize import as_inline_text

    return f"| {' | '.join(as_inline_text(_line(cell)) for cell in cells)} |"
