"""Rewrites cells before IPython reads them: so that a streaming cell is awaited, and a ``?`` is a question.

In a kernel that can await cells, a cell that is one magic that asks models becomes an ``await``: the kernel
goes on serving widgets while the answer streams. A cell run by another cell stays
synchronous, for there the kernel's loop is already busy.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from IPython.core.inputtransformer2 import make_tokens_by_line

from farm_notebook.notebook.cells import CELL_MAGICS
from farm_notebook.notebook.commands import COMMANDS

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["CellTransformer"]

_NAMES = "|".join(CELL_MAGICS)
_CELL_MAGIC = re.compile(rf"%%(?P<name>{_NAMES})(?=\s|$)(?P<line>.*)", re.DOTALL)
_ASKING = "|".join(command.name for command in COMMANDS.values() if command.asks)
_LINE_MAGIC = re.compile(
    rf"\s*%(?P<name>{_NAMES}|farm(?=[ \t]+(?:{_ASKING})(?:\s|$)))(?:[ \t]+(?P<line>.*))?", re.DOTALL
)
_ANY_LINE = re.compile(
    rf"(?P<start>\s*(?:\w+\s*=\s*)?)%(?P<magic>farm|{_NAMES})(?:[ \t]+(?P<line>.*))?", re.DOTALL
)
_AWAITED = (
    "await get_ipython().magics_manager.registry['FarmMagics'].ask_async({name!r}, {line!r}, {cell!r})\n"
)
_SYNC = "{start}get_ipython().run_line_magic({magic!r}, {line!r})\n"
_OLDEST_AWAITING_KERNEL = (7, 4)


class CellTransformer:
    """An IPython input transformer that knows whether a cell is running.

    Args:
        shell: The shell it is registered with.
    """

    has_side_effects = False

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self._running = 0

    def cell_started(self, *_: object) -> None:
        """For the event ``pre_run_cell``."""
        self._running += 1

    def cell_ended(self, *_: object) -> None:
        """For the event ``post_run_cell``; the cell that loads the extension ends without having started."""
        self._running = max(0, self._running - 1)

    def __call__(self, lines: list[str]) -> list[str]:
        """The cell's lines, rewritten where they are ours."""
        written = [index for index, line in enumerate(lines) if line.strip()]
        if not written:
            return lines
        first = lines[written[0]]
        if cell_magic := _CELL_MAGIC.match(first):
            if not self._may_await:
                return lines
            body = "".join(lines[written[0] + 1 :])
            return [_AWAITED.format(name=cell_magic["name"], line=cell_magic["line"].strip(), cell=body)]
        line_magic = _LINE_MAGIC.fullmatch(first.rstrip("\n"))
        if len(written) == 1 and line_magic and self._may_await and not _continues(first):
            return [_AWAITED.format(name=line_magic["name"], line=line_magic["line"] or "", cell=None)]
        if first.startswith("%%") or not any("%farm" in line for line in lines):
            return lines  # the body of another magic may be a file's; one that runs it transforms it again
        return _guard_questions(lines)

    @property
    def _may_await(self) -> bool:
        kernel = sys.modules.get("ipykernel")
        return (
            self._running == 0
            and hasattr(self._shell, "kernel")
            and self._shell.autoawait
            and getattr(kernel, "version_info", (0,))[:2] >= _OLDEST_AWAITING_KERNEL
        )


def _guard_questions(lines: list[str]) -> list[str]:
    """Call a line magic outright where its line ends with ``?``, which IPython takes for a call for help on
    the line's last word. ``%farm`` itself answers a subcommand's name and a ``?`` with the help of it.

    Lines inside a string are left alone.
    """
    guarded = list(lines)
    for tokens in make_tokens_by_line(lines):
        start = tokens[0].start[0] - 1 if tokens else len(lines)
        if start >= len(lines) or not lines[start].rstrip().endswith("?"):
            continue
        if match := _ANY_LINE.fullmatch(lines[start].rstrip("\n")):
            guarded[start] = _SYNC.format(**match.groupdict(default=""))
    return guarded


def _continues(line: str) -> bool:
    return line.rstrip("\n").endswith("\\")
