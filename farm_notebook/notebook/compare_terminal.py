"""A comparison in a terminal: columns as wide as the screen allows, painted over while the models stream."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from farm_notebook.notebook.compare_display import CompareDisplay
from farm_notebook.notebook.compare_lane import Lane
from farm_notebook.sanitize import printable

if TYPE_CHECKING:
    from farm_notebook.farm.contender import Contender
    from farm_notebook.reports import Comparison

__all__ = ["CompareTerminalDisplay"]

NARROWEST = 36  # characters of a column
GAP = 3  # characters behind each
HEAD = 3  # lines of a column that are no text: its name, its figures, the space below


class CompareTerminalDisplay(CompareDisplay):
    """A terminal; where nobody looks at one, the comparison is printed once, at the end.

    Args:
        contenders: See ``CompareDisplay``.
        repaint_s: See there.
        console: Where to; ``None`` is stdout.
    """

    def __init__(
        self, contenders: Sequence[Contender], *, repaint_s: float | None, console: Console | None = None
    ) -> None:
        super().__init__(contenders, repaint_s=repaint_s)
        self._console = console or Console(
            file=sys.stdout, force_jupyter=False, markup=False, emoji=False, highlight=False
        )
        self._live: Live | None = None

    def _paint(self, lanes: Sequence[Lane]) -> None:
        width, height = self._console.size
        beside = _beside(len(lanes), width)
        rows = -(-len(lanes) // beside)
        lines = max(1, (height - 1) // rows - HEAD)
        columns = [self._column(lane, width // beside - GAP, lines) for lane in lanes]
        self._draw(_grid(columns, beside))

    def _show_whole(self, lane: Lane) -> None:
        """There is no place for it: what is written above the columns stays."""

    def _leave(self, comparison: Comparison) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        width = self._console.size.width
        if not self._console.is_terminal or _beside(len(comparison), width) < len(comparison):
            self._print(comparison.plain())
            return
        self._print(comparison.figures())
        self._console.print()
        columns = [
            Group(
                Text(printable(each.title), style="bold"),
                Text(printable(each.text.strip("\n"))),
                Text(each.remark, style="italic"),
            )
            for each in comparison
        ]
        self._console.print(_grid(columns, len(columns)))

    def _column(self, lane: Lane, width: int, lines: int) -> Group:
        text = Text(printable(lane.text.strip("\n")))
        if lane.remark:
            text.append("\n" * bool(text) + lane.remark, style="italic")
        wrapped = text.wrap(self._console, width)
        note = Text(printable(" ".join(lane.note.split())), style="dim", no_wrap=True, overflow="ellipsis")
        title = Text(printable(lane.contender.name), style="bold", no_wrap=True, overflow="ellipsis")
        return Group(title, note, *wrapped[-lines:])

    def _draw(self, grid: Table) -> None:
        if self._live is None:
            self._live = Live(
                console=self._console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
                vertical_overflow="crop",
            )
            self._live.start()
        self._live.update(grid, refresh=True)

    def _print(self, text: str) -> None:
        self._console.file.write(f"{text}\n")
        self._console.file.flush()


def _beside(count: int, width: int) -> int:
    """How many columns stand beside each other."""
    return max(1, min(count, width // (NARROWEST + GAP)))


def _grid(columns: Sequence[Group], beside: int) -> Table:
    grid = Table(box=None, show_header=False, expand=True, padding=(0, GAP, 0, 0))
    for _ in range(beside):
        grid.add_column(ratio=1, overflow="fold")
    for start in range(0, len(columns), beside):
        if start:
            grid.add_row()
        grid.add_row(*columns[start : start + beside])
    return grid
