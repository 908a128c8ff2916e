"""What the commands write with: the answer to stdout, the rest to stderr, progress where someone looks.

What a model or a server said is not trusted: on a terminal its control characters are made harmless.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from types import TracebackType
from typing import Any, NoReturn, Self, TextIO

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from farm_notebook.types import (
    Event,
    LoadProgress,
    LoadStage,
    PromptProgress,
    Queued,
    Rerouted,
    Retrying,
    Routed,
    Started,
)

__all__ = [
    "ProgressLine",
    "console",
    "emit",
    "emit_json",
    "is_terminal",
    "note",
    "pacify_stdout",
    "prepare_stdout",
]

_STAGES: dict[LoadStage, str] = {"fetch": "fetching", "verify": "verifying", "load": "loading"}
_HARMLESS = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)], "\N{REPLACEMENT CHARACTER}")
_HARMLESS |= {ord("\t"): "\t", ord("\n"): "\n", ord("\r"): ""}


class _Console(Console):
    """A console that leaves a closed pipe to the one place that handles it."""

    def on_broken_pipe(self) -> NoReturn:
        raise BrokenPipeError


def console(*, stderr: bool = False) -> Console:
    """A console that prints text as it is: no markup, no emoji codes, no highlighting, no wrapping."""
    return _Console(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=True)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a stream, if it is open at all, ends at a terminal."""
    return stream is not None and stream.isatty()


def prepare_stdout() -> None:
    """Have characters that the terminal's encoding lacks replaced, where Python would raise."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def pacify_stdout() -> None:
    """After its reader went away, keep Python from complaining of stdout when it exits.

    From "Note on SIGPIPE" in the documentation of Python's ``signal`` module.
    """
    with contextlib.suppress(OSError, ValueError):  # not a real file, as under a test
        stdout_fd = sys.stdout.fileno()
        null_fd = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null_fd, stdout_fd)
        os.close(null_fd)


def emit(text: str, *, end: str = "") -> None:
    """Write a piece of the answer to stdout, at once.

    Raises:
        BrokenPipeError: Nobody reads it any more.
    """
    if sys.stdout is None:
        return
    sys.stdout.write(_harmless(text, sys.stdout) + end)
    sys.stdout.flush()


def emit_json(value: Any) -> None:
    """Write one JSON value and a line break to stdout."""
    emit(json.dumps(value, ensure_ascii=False), end="\n")


def note(text: str, *, style: str = "") -> None:
    """Write a line for the user to stderr."""
    console(stderr=True).print(_harmless(text, sys.stderr), style=style)


class ProgressLine:
    """One line on a terminal's stderr that says how far a model is; a context manager.

    It is there only while there is progress to show, so that it never stands beside the answer.
    """

    def __init__(self) -> None:
        self._console = console(stderr=True)
        self._bar: Progress | None = None
        self._shown: tuple[str, TaskID] | None = None
        self._is_rerouted = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()

    def show(self, event: Event) -> None:
        """Draw a progress event; any other event takes the line away.

        Why a model was chosen stays on the screen; who could not answer is told until the first word.
        """
        match event:
            case Routed(ref, reason):
                self.clear()
                if reason and self._console.is_interactive:
                    self._console.print(_one_line(f"asking {ref}: {reason}"), style="dim")
            case LoadProgress("load", 0):  # its own server may tell nothing until all of it is there
                self._draw("loading the model", 0, None, _need(event))
            case LoadProgress(stage, completed, total):
                of = f" of {decimal(total)}" if total is not None else ""
                self._draw(f"{_STAGES[stage]} the model", completed, total, f"{decimal(completed)}{of}")
            case PromptProgress(processed, total):
                self._draw("reading the prompt", processed, total, f"{processed:,} of {total:,} tokens")
            case Retrying(_, problem, wait_s):
                self._draw("waiting to ask again", 0, None, f"{wait_s:.1f} s: {problem}")
            case Queued(_, limit, wait_s):
                self._draw(f"waiting{f' {wait_s:.1f} s' if wait_s else ''} for {limit}", 0, None, "")
            case Rerouted(source, target, problem):
                self._draw(f"{source}: {problem}; asking {target}", 0, None, "")
                self._is_rerouted = True
            case Started() if self._is_rerouted:
                pass
            case _:
                self.clear()

    def clear(self) -> None:
        """Take the line away."""
        bar, self._bar, self._shown, self._is_rerouted = self._bar, None, None, False
        if bar is not None:
            bar.stop()

    def _draw(self, what: str, completed: int, total: int | None, amount: str) -> None:
        self._is_rerouted = False
        if not self._console.is_interactive:
            return
        what, amount = _one_line(what), _one_line(amount)
        if self._bar is None:
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.fields[amount]}", markup=False),
                console=self._console,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._bar.start()
        if self._shown is None or self._shown[0] != what:
            if self._shown is not None:
                self._bar.remove_task(self._shown[1])
            self._shown = what, self._bar.add_task(what, total=total, amount=amount)
        self._bar.update(self._shown[1], completed=completed, total=total, amount=amount)


def _need(step: LoadProgress) -> str:
    """What a load needs, and what is free, where that is known."""
    if step.total_bytes is None:
        return ""
    to = f" to {step.device}" if step.device else ""
    free = f", where {decimal(step.free_bytes)} are free" if step.free_bytes is not None else ""
    return f"{decimal(step.total_bytes)}{to}{free}"


def _one_line(text: str) -> str:
    """What a server said, for a terminal's one line of progress."""
    return " ".join(text.split()).translate(_HARMLESS)


def _harmless(text: str, stream: TextIO | None) -> str:
    """The text without what could move the cursor, set the title or reach the clipboard of a terminal."""
    return text.translate(_HARMLESS) if is_terminal(stream) else text
