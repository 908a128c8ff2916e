"""Paints an answer while it streams: into a cell's output, or as plain text into a terminal.

In a cell, arriving text is gathered and painted at a bounded rate. Parts that are finished are left
alone and only the tail is painted again, so that the bytes sent grow with the answer and not with its
square. At the end the parts give way to one static output; where other outputs of the cell must stay,
they are left standing and the last one gets the footer. Painting happens on the farm's loop, in the
cell's context.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
import sys
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from farm_notebook.farm.step_events import Rejected, StepEvent, ToolFinished, ToolStarted
from farm_notebook.notebook.calls import Calls, written_call, written_result
from farm_notebook.notebook.formats import Bundle, Format, has_footer, remark_bundle, with_remark
from farm_notebook.progress import Progress
from farm_notebook.reply import Reply
from farm_notebook.sanitize import as_inline_text, printable
from farm_notebook.types import TextDelta

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from farm_notebook.config import DisplayConfig

__all__ = ["CLEAR_LINE", "CellDisplay", "Display", "TerminalDisplay", "display_for"]

CLEAR_LINE = "\r\x1b[2K"  # to the start of a terminal's line, and nothing left on it


class Display(ABC):
    """What an answer is painted on."""

    @abstractmethod
    def add(self, event: StepEvent) -> None:
        """Take the next event of the stream, or of what happens between the streams of one answer."""

    @abstractmethod
    def finish(self, reply: Reply, news: str = "") -> None:
        """Leave the finished or partial answer as one static output.

        Args:
            reply: The answer.
            news: What happened to its model meanwhile, in a sentence; it is shown below.
        """

    @abstractmethod
    def discard(self) -> None:
        """Leave nothing: there is no answer, and an error is about to be shown."""


class CellDisplay(Display):
    """A cell's output in a notebook.

    Args:
        shell: The kernel's shell, which publishes.
        form: What the answer is shown as.
        repaint_s: Seconds between two repaints; ``None`` paints once, at the end.
        owns_cell: Whether the cell has no other output, so that it may be cleared.
    """

    def __init__(
        self, shell: InteractiveShell, form: Format, *, repaint_s: float | None, owns_cell: bool
    ) -> None:
        self._publisher: Any = shell.display_pub
        self._format = form
        self._repaint_s = repaint_s if owns_cell or form.is_shown_as_it_streams else None
        self._owns_cell = owns_cell
        self._id = secrets.token_hex(4)
        self._finished_parts = 0
        self._is_painted = False
        self._tail = ""
        self._progress = Progress()
        self._calls = Calls()
        self._timer: asyncio.TimerHandle | None = None
        self._painted_at = float("-inf")

    def add(self, event: StepEvent) -> None:
        match event:
            case ToolStarted() | ToolFinished():
                self._show_call(event)
                return
            case Rejected():
                self._tail = ""  # the answer is made anew
                self._progress.add(event)
            case TextDelta(text) if text:
                if self._calls:
                    self._next_part()
                    self._calls = Calls()
                if not self._tail and not self._finished_parts:
                    self._repaint_now()  # the first word replaces a note, and need not wait its turn
                self._tail += text
            case _ if self._tail or self._finished_parts or self._calls or not self._progress.add(event):
                return
        if self._repaint_s is not None and self._timer is None:
            loop = asyncio.get_running_loop()
            delay_s = max(0.0, self._painted_at + self._repaint_s - loop.time())
            self._timer = loop.call_later(delay_s, self._paint)

    def finish(self, reply: Reply, news: str = "") -> None:
        is_behind = self._timer is not None
        self._stop_timer()
        if self._calls:
            self._end_calls()
        if is_behind and self._finished_parts:
            self._paint()  # the whole of a long answer takes a moment to make; its end need not wait
        shown = reply
        if self._finished_parts and self._owns_cell:
            self._publisher.clear_output(wait=True)
            self._is_painted, self._finished_parts = False, 0
        elif self._finished_parts:
            shown = replace(reply, text=self._tail)
        data, remark = self._format.final(shown), _remark(reply, news)
        self._publish(with_remark(data, remark), {"farm": reply.provenance()})
        if remark and not has_footer(data):
            self._next_part()
            self._publish(remark_bundle(remark))

    def discard(self) -> None:
        self._stop_timer()
        if self._is_painted or self._finished_parts:
            if self._owns_cell:
                self._publisher.clear_output(wait=True)
            else:
                self._publish({})

    def _show_call(self, event: ToolStarted | ToolFinished) -> None:
        """The calls are a part by themselves, between what was said before them and what is said after."""
        self._stop_timer()
        if self._tail:
            self._paint()
            self._next_part()
        match event:
            case ToolStarted(call):
                self._calls.begin(call)
            case ToolFinished(result):
                self._calls.end(result)
        if self._repaint_s is not None or not self._calls.is_waiting:
            self._paint_calls()

    def _end_calls(self) -> None:
        if self._calls.is_waiting:
            self._calls.stop()
            self._paint_calls()
        self._next_part()

    def _paint_calls(self) -> None:
        self._publish({"text/markdown": self._calls.markdown, "text/plain": "\n".join(self._calls.lines)})

    def _next_part(self) -> None:
        self._finished_parts += 1
        self._is_painted, self._tail = False, ""

    def _paint(self) -> None:
        self._timer = None
        self._painted_at = asyncio.get_running_loop().time()
        if not self._tail:
            self._publish({"text/markdown": f"*{as_inline_text(self._progress.note)}*"})
            return
        while cut := self._format.split(self._tail):
            finished, self._tail = cut
            self._publish(self._format.preview(finished))
            self._finished_parts += 1
            self._is_painted = False
        if self._tail:
            self._publish(self._format.preview(self._tail))

    def _publish(self, data: Bundle, metadata: dict[str, Any] | None = None) -> None:
        """Paint the present part: a new output at first, an update of it from then on."""
        self._publisher.publish(
            data=data,
            metadata=metadata,
            transient={"display_id": f"{self._id}-{self._finished_parts}"},
            update=self._is_painted,
        )
        self._is_painted = True

    def _repaint_now(self) -> None:
        self._stop_timer()
        self._painted_at = float("-inf")

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class TerminalDisplay(Display):
    """A terminal: the answer's text as it comes, with nothing painted twice.

    Args:
        form: What the answer is; anything but Markdown and text is shown once, at the end.
        live: Whether to write while the answer streams.
    """

    def __init__(self, form: Format, *, live: bool) -> None:
        self._format = form
        self._live = live
        self._wrote = False
        self._progress = Progress()

    def add(self, event: StepEvent) -> None:
        match event:
            case ToolStarted(call):
                self._say(written_call(call))
            case ToolFinished(result):
                self._say(f"  {written_result(result)}")
            case TextDelta(text) if self._live:
                self._clear_note()
                sys.stdout.write(printable(text))
                sys.stdout.flush()
                self._wrote = True
            case _ if not self._wrote and sys.stderr.isatty() and self._progress.add(event):
                self._show_note(self._progress.note)

    def finish(self, reply: Reply, news: str = "") -> None:
        self._clear_note()
        if self._wrote:
            text = f"\n\n{reply.footer}"
        elif self._format.is_shown_as_it_streams:
            text = f"{reply.text}\n\n{reply.footer}"
        else:
            text = self._format.final(reply)["text/plain"]
        remark = _remark(reply, news)
        below = f"\n{' '.join(remark.split())}" if remark else ""
        sys.stdout.write(f"{printable(text + below)}\n")
        sys.stdout.flush()

    def discard(self) -> None:
        self._clear_note()

    def _say(self, line: str) -> None:
        """A line by itself, below what was said: tools print and ask in between."""
        self._clear_note()
        sys.stdout.write(f"\n{line}\n" if self._wrote else f"{line}\n")
        sys.stdout.flush()
        self._wrote = False

    def _show_note(self, note: str) -> None:
        width = shutil.get_terminal_size().columns - 1  # a line that wraps could not be taken away
        sys.stderr.write(f"{CLEAR_LINE}{note[:width]}")
        sys.stderr.flush()

    def _clear_note(self) -> None:
        if not self._wrote and sys.stderr.isatty():
            sys.stderr.write(CLEAR_LINE)
            sys.stderr.flush()


def display_for(
    shell: InteractiveShell, form: Format, config: DisplayConfig, *, live: bool, owns_cell: bool
) -> Display:
    """What an answer is painted on in a shell: a cell's output, or a terminal.

    Args:
        shell: Where the cell runs.
        form: What the answer is shown as.
        config: How live that may be.
        live: Whether to paint while the answer streams.
        owns_cell: Whether the cell has no other output, so that it may be cleared.
    """
    live = live and config.live
    if hasattr(shell, "kernel"):
        repaint_s = config.repaint_s if live else None
        return CellDisplay(shell, form, repaint_s=repaint_s, owns_cell=owns_cell)
    return TerminalDisplay(form, live=live and form.is_shown_as_it_streams)


def _remark(reply: Reply, news: str) -> str:
    return " · ".join(filter(None, (reply.routed, news)))
