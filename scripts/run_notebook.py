"""Executes a notebook and writes to the terminal what its cells say, while they say it.

    python scripts/run_notebook.py NOTEBOOK COPY

The executed notebook goes to COPY, which may be NOTEBOOK itself. It holds no timestamps, so that two runs
with equal answers give equal files. The exit code is 1 where a cell failed or the kernel died; what had
been executed until then is in COPY all the same.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, TextIO

try:
    import nbformat
    from jupyter_client.kernelspec import NoSuchKernel
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError
    from traitlets.config import Config

    from farm_notebook.sanitize import printable
except ImportError as error:
    sys.exit(f'error: {error}. Run: pip install "farm-notebook[kernel]"')

KERNEL_START_S = 120
ENCRYPTED = Config(KernelManager={"transport_encryption": "auto"})  # or the kernel warns that it is not
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as a shell says it

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_NOTE = re.compile(r"\*([^*\n]*…[^*\n]*)\*")  # what a cell shows before its answer's first word
_SMALL = re.compile(r"</?small>")


class Screen:
    """The terminal: shows a cell's outputs as one growing text, of which it writes only what is new.

    Args:
        out: Where it writes; a line about progress is rewritten in place where this is a terminal.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._is_tty = out.isatty()
        self._has_note = False
        self._line_is_open = False
        self._new_ids: Callable[[], str] = (f"new-{number}" for number in count()).__next__
        self._begin()

    def cell_started(self, source: str, number: int, total: int) -> None:
        """Show the code that runs now."""
        self._begin()
        label = f"[{number}/{total}] "
        lines = source.rstrip().splitlines()
        code = "\n".join([label + lines[0], *(f"{'':{len(label)}}{line}".rstrip() for line in lines[1:])])
        self._write("\n" + (f"\x1b[1m{code}\x1b[0m" if self._is_tty else code) + "\n")

    def message(self, kind: str, content: dict[str, Any]) -> None:
        """Take the kernel's next message about the running cell."""
        match kind:
            case "stream":
                self._write(printable(content["text"]))
            case "display_data" | "execute_result" | "update_display_data":
                display_id = (content.get("transient") or {}).get("display_id") or self._new_ids()
                self._display(display_id, _as_text(content["data"]))
            case "clear_output":
                self._clear_at_next = True
            case "error":
                self._end_line()
                trace = "\n".join(content["traceback"]) or f"{content['ename']}: {content['evalue']}"
                self._write(printable(_ANSI.sub("", trace)) + "\n")
            case _:
                pass

    def cell_ended(self) -> None:
        """Leave everything that the cell shows now on the screen."""
        if self._is_behind:  # an output was rewritten, not continued
            self._end_line()
            self._write(self._text)
        self._end_line()

    def say(self, line: str) -> None:
        """Write a line of our own."""
        self._end_line()
        self._write(f"{line}\n")

    def _begin(self) -> None:
        self._shown: dict[str, str] = {}  # what the cell's outputs say now, in the order they stand
        self._written = ""
        self._is_behind = False
        self._clear_at_next = False

    @property
    def _text(self) -> str:
        *others, last = [text for text in self._shown.values() if text] or [""]
        return "".join(text if text.endswith("\n") else f"{text}\n" for text in others) + last

    def _display(self, display_id: str, text: str) -> None:
        if self._clear_at_next:
            self._shown, self._clear_at_next = {}, False
        if note := _NOTE.fullmatch(text):
            self._note(note[1])
            return
        self._shown[display_id] = printable(text)
        new = _continuation(self._written, self._text)
        self._is_behind = new is None
        if new:
            self._write(new)
            self._written = self._text

    def _note(self, text: str) -> None:
        if self._is_tty:
            self._write(printable(text))
            self._has_note = True

    def _write(self, text: str) -> None:
        if self._has_note:
            text, self._has_note = f"\r\x1b[2K{text}", False
        if text:
            self._out.write(text)
            self._out.flush()
            self._line_is_open = not text.endswith("\n")

    def _end_line(self) -> None:
        self._write("")
        if self._line_is_open:
            self._write("\n")


class Runner(NotebookClient):
    """Executes a notebook and passes on every message of its kernel as it comes."""

    def __init__(self, notebook: nbformat.NotebookNode, screen: Screen, folder: Path) -> None:
        super().__init__(
            notebook,
            config=ENCRYPTED,
            timeout=None,
            startup_timeout=KERNEL_START_S,
            record_timing=False,
            coalesce_streams=True,
            resources={"metadata": {"path": str(folder)}},
            on_cell_execute=self._cell_started,
            on_cell_executed=self._cell_ended,
        )
        self._screen = screen
        self._numbers = {
            index: number
            for number, index in enumerate((i for i, c in enumerate(notebook.cells) if is_code(c)), start=1)
        }
        self.running = 0
        self.is_interrupted = False

    async def async_start_new_kernel(self, **kwargs: Any) -> None:
        """Start the kernel, and have Ctrl-C cancel the run: nbclient's own handler ends in a traceback."""
        task = asyncio.current_task()
        assert task

        def interrupt() -> None:
            self.is_interrupted = True
            self.shutdown_kernel = "immediate"
            task.cancel()

        with contextlib.suppress(NotImplementedError):  # Windows
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, interrupt)
        await super().async_start_new_kernel(**kwargs)

    def process_message(
        self, msg: dict[str, Any], cell: nbformat.NotebookNode, cell_index: int
    ) -> nbformat.NotebookNode | None:
        self._screen.message(msg["msg_type"], msg["content"])
        return super().process_message(msg, cell, cell_index)

    def _cell_started(self, cell: nbformat.NotebookNode, cell_index: int) -> None:
        self.running = self._numbers[cell_index]
        self._screen.cell_started(cell.source, self.running, len(self._numbers))

    def _cell_ended(self, **_: object) -> None:
        self._screen.cell_ended()


def run(source: Path, copy: Path, screen: Screen) -> int:
    """Execute one notebook.

    Returns:
        The exit code.
    """
    try:
        notebook = nbformat.read(source, as_version=4)
    except (OSError, ValueError, nbformat.ValidationError) as error:
        screen.say(f"error: {source} cannot be read as a notebook: {error}")
        return 1
    runner = Runner(notebook, screen, source.parent)
    code = 1
    try:
        runner.execute()
        code = 0
    except CellExecutionError:
        screen.say(f"error: code cell {runner.running} failed, see above; those below it did not run")
    except (DeadKernelError, asyncio.CancelledError, KeyboardInterrupt) as error:
        if runner.is_interrupted or isinstance(error, KeyboardInterrupt):
            screen.say("interrupted")
            code = EXIT_INTERRUPTED
        else:
            screen.say(f"error: the kernel died in code cell {runner.running}")
    except NoSuchKernel as error:
        screen.say(f'error: there is no kernel {error.name!r} here. Run: pip install "farm-notebook[kernel]"')
    copy.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, copy)
    screen.say(f"\n==> the executed notebook: {os.path.relpath(copy)}")
    return code


def is_code(cell: nbformat.NotebookNode) -> bool:
    """Whether a cell is one that a kernel runs."""
    return bool(cell.cell_type == "code" and cell.source.strip())


def _as_text(data: dict[str, Any]) -> str:
    """What an output says, to read in a terminal."""
    for kind in ("text/markdown", "text/plain", "text/latex"):
        if kind in data:
            return _SMALL.sub("", "".join(data[kind]))
    return f"[{', '.join(data)}]" if data else ""


def _continuation(written: str, text: str) -> str | None:
    """What of ``text`` is not written yet; ``None`` where what was written is not how it begins.

    Space counts for nothing here: a finished answer may be laid out otherwise than it streamed.
    """
    if text.startswith(written):
        return text[len(written) :]
    rest = iter(enumerate(text, start=1))
    end = 0
    for character in filter(lambda one: not one.isspace(), written):
        end, found = next(((at, one) for at, one in rest if not one.isspace()), (0, ""))
        if found != character:
            return None
    return text[end:].lstrip() if written[-1].isspace() else text[end:]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("notebook", type=Path)
    parser.add_argument("copy", type=Path)
    arguments = parser.parse_args()
    return run(arguments.notebook, arguments.copy, Screen(sys.stdout))


if __name__ == "__main__":
    sys.exit(main())
