"""Paints a comparison while its models stream: side by side, at a bounded rate, in the end as one output.

While they stream only the end of each answer is painted, so that the bytes sent grow with the time it takes
and not with the square of the answers. A long one that has ended is shown whole below the others, once.
Painting happens on the farm's loop, in the cell's context.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from farm_notebook.notebook.compare_lane import Lane
from farm_notebook.reports.side_by_side import Part, side_by_side
from farm_notebook.types import Event

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from farm_notebook.config import DisplayConfig
    from farm_notebook.farm.contender import Contender
    from farm_notebook.reports import Comparison

__all__ = ["CompareCellDisplay", "CompareDisplay", "compare_display_for"]

LONGEST_LIVE = 3_200  # characters of all answers together that are painted while they stream
LONGEST_LANE = 1_200  # of one of them
LONGEST_PLAIN = 2_000  # of all of them beside the Markdown that says the same


class CompareDisplay(ABC):
    """What a comparison is painted on.

    Args:
        contenders: The models, in the order in which they are shown.
        repaint_s: Seconds between two repaints; ``None`` paints once, at the end.
    """

    def __init__(self, contenders: Sequence[Contender], *, repaint_s: float | None) -> None:
        longest = min(LONGEST_LANE, LONGEST_LIVE // len(contenders))
        self._lanes = {contender: Lane(contender, longest=longest) for contender in contenders}
        self._repaint_s = repaint_s
        self._timer: asyncio.TimerHandle | None = None
        self._painted_at = float("-inf")

    def show(self, contender: Contender, event: Event | None) -> None:
        """Take the next event of a model, or ``None`` when it has ended."""
        lane = self._lanes[contender]
        if not lane.add(event) or self._repaint_s is None:
            return
        if event is None and lane.is_cut and self._may_go_on(contender):
            self._show_whole(lane)
        if self._timer is not None:
            return
        loop = asyncio.get_running_loop()
        delay_s = max(0.0, self._painted_at + self._repaint_s - loop.time())
        self._timer = loop.call_later(delay_s, self._paint_now)

    def finish(self, comparison: Comparison) -> None:
        """Leave the finished or partial comparison as one static output."""
        self._stop_timer()
        self._repaint_s = None
        self._leave(comparison)

    def _may_go_on(self, ended: Contender) -> bool:
        """Whether the others do after one has ended; where it was stopped, all are."""
        is_stopped = ended.outcome is None or ended.outcome.status == "interrupted"
        return not is_stopped and any(each.outcome is None for each in self._lanes)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _paint_now(self) -> None:
        self._stop_timer()
        self._painted_at = asyncio.get_running_loop().time()
        self._paint(list(self._lanes.values()))

    @abstractmethod
    def _paint(self, lanes: Sequence[Lane]) -> None:
        """Show how far the models are."""

    @abstractmethod
    def _show_whole(self, lane: Lane) -> None:
        """Show the whole of a long answer that has ended before others, where there is a place for it."""

    @abstractmethod
    def _leave(self, comparison: Comparison) -> None:
        """Show what came of it."""


class CompareCellDisplay(CompareDisplay):
    """A cell's output in a notebook.

    Args:
        shell: The kernel's shell, which publishes.
        contenders: See ``CompareDisplay``.
        repaint_s: See there.
        owns_cell: Whether the cell has no other output, so that it may be cleared.
    """

    def __init__(
        self,
        shell: InteractiveShell,
        contenders: Sequence[Contender],
        *,
        repaint_s: float | None,
        owns_cell: bool,
    ) -> None:
        super().__init__(contenders, repaint_s=repaint_s)
        self._publisher: Any = shell.display_pub
        self._owns_cell = owns_cell
        self._id = secrets.token_hex(4)
        self._is_painted = False
        self._whole = 0  # how many outputs with a whole answer stand below

    def _paint(self, lanes: Sequence[Lane]) -> None:
        parts = [Part(lane.contender.name, lane.text, lane.note, lane.remark) for lane in lanes]
        self._publish({"text/markdown": side_by_side(parts)})

    def _show_whole(self, lane: Lane) -> None:
        outcome = lane.contender.outcome
        if outcome is None or not self._owns_cell:  # it could not be taken away again
            return
        if not self._is_painted:
            self._paint_now()
        lane.is_whole_below = True
        part = Part(outcome.title, outcome.text, lane.note, outcome.remark)
        self._whole += 1
        self._publisher.publish(
            data={"text/markdown": side_by_side([part])},
            transient={"display_id": f"{self._id}-{self._whole}"},
        )

    def _leave(self, comparison: Comparison) -> None:
        if self._whole:
            self._publisher.clear_output(wait=True)
            self._is_painted = False
        plain = comparison.plain(longest=LONGEST_PLAIN // len(comparison))
        data = {"text/markdown": comparison.markdown(), "text/plain": plain}
        self._publish(data, {"farm": comparison.provenance()})

    def _publish(self, data: dict[str, Any], metadata: dict[str, Any] | None = None) -> None:
        is_update, self._is_painted = self._is_painted, True
        self._publisher.publish(
            data=data, metadata=metadata, transient={"display_id": self._id}, update=is_update
        )


def compare_display_for(
    shell: InteractiveShell,
    contenders: Sequence[Contender],
    config: DisplayConfig,
    *,
    live: bool,
    owns_cell: bool,
) -> CompareDisplay:
    """What a comparison is painted on in a shell: a cell's output, or a terminal.

    Args:
        shell: Where the cell runs.
        contenders: The models.
        config: How live that may be.
        live: Whether to paint while they stream.
        owns_cell: Whether the cell has no other output, so that it may be cleared.
    """
    repaint_s = config.repaint_s if live and config.live else None
    if hasattr(shell, "kernel"):
        return CompareCellDisplay(shell, contenders, repaint_s=repaint_s, owns_cell=owns_cell)
    from farm_notebook.notebook.compare_terminal import CompareTerminalDisplay

    is_seen = sys.stdout is not None and sys.stdout.isatty()
    return CompareTerminalDisplay(contenders, repaint_s=repaint_s if is_seen else None)
