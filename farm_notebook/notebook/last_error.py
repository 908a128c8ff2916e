"""The last error of a notebook: which cell raised it, and what led to it. One of our own magics is none."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any

from farm_notebook import errors
from farm_notebook.notebook.context.cells import NotebookCell, is_ours, without_place
from farm_notebook.notebook.context.shell import cells_of
from farm_notebook.notebook.tracebacks import ANSI, LONGEST_TRACEBACK, describe_error

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["LastError", "find_last_error"]

_OURS = frozenset(errors.__all__)
_OF_THE_USER = ("KeyboardInterrupt", "SystemExit")
MOST_CELLS = 3  # that are told besides, whose functions were on the way


@dataclass(frozen=True, slots=True)
class LastError:
    """One error.

    Args:
        name: Of its class.
        message: Its words.
        traceback: As text, with causes.
        cell: The one that raised it; its output is left out. ``None`` where nobody knows.
        others: Cells whose functions were called on the way, the nearest to the error first.
        function: The one of them that the error came to first; empty where it was the cell's own lines.
        variables: Its local ones.
    """

    name: str
    message: str
    traceback: str
    cell: NotebookCell | None = None
    others: tuple[NotebookCell, ...] = ()
    function: str = ""
    variables: Mapping[str, object] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """In one line."""
        first = self.message.partition("\n")[0]
        return f"{self.name}: {first}" if first else self.name


def find_last_error(shell: InteractiveShell) -> LastError | None:
    """The last error of a cell that was run before the present one; ``None`` where there was none.

    It stays the last error when a later attempt to have it explained fails.
    """
    cells = {cell.number: NotebookCell(cell.number, cell.source) for cell in cells_of(shell)}
    told = getattr(shell.history_manager, "exceptions", {})  # IPython 9.1 and newer
    error: BaseException | None = getattr(sys, "last_value", None)
    for number in sorted(told, reverse=True):
        name, message = str(told[number].get("ename", "")), str(told[number].get("evalue", ""))
        if number not in cells or name in _OF_THE_USER or _is_ours(name, cells[number].source):
            continue
        if error is not None and (type(error).__name__, str(error)) == (name, message):
            return _of_error(error, shell, cells, number)
        return LastError(
            name, without_place(message), _plain(told[number].get("traceback", ())), cells[number]
        )
    if error is None or type(error).__name__ in (*_OURS, *_OF_THE_USER):
        return None
    return _of_error(error, shell, cells, None)


def _is_ours(name: str, source: str) -> bool:
    """Whether it was one of our magics that failed, and no code of the user's."""
    return is_ours(source) or (name in _OURS and "%farm" in source)


def _of_error(
    error: BaseException, shell: InteractiveShell, cells: dict[int, NotebookCell], number: int | None
) -> LastError:
    """What an error tells of itself, and of the cells on its way."""
    names = _names_of_cells(shell)
    passed = list(dict.fromkeys(_numbers(error, names)))
    if number is None:  # the first of our cells that it passed through was the one that was run
        number = next((each for each in passed if each in cells), max(cells, default=0))
    others = [cells[each] for each in reversed(passed) if each in cells and each != number]
    return LastError(
        type(error).__name__,
        error.msg if isinstance(error, SyntaxError) else str(error),
        _with_labels(describe_error(error), names),
        cells.get(number),
        tuple(others[:MOST_CELLS]),
        *_local_variables(error, names),
    )


def _names_of_cells(shell: InteractiveShell) -> Mapping[str, int]:
    """From what a cell's code is compiled as to its number; IPython's own tracebacks go by it."""
    names: Mapping[str, int] = getattr(shell.compile, "_filename_map", {})
    return names


def _with_labels(traceback: str, names: Mapping[str, int]) -> str:
    """A traceback that calls cells ``In[n]``, as all else does."""

    def label(match: re.Match[str]) -> str:
        number = names.get(match[1])
        return match[0] if number is None else f"In[{number}]"

    return re.sub(r'File "([^"\n]+)"', label, traceback)


def _local_variables(error: BaseException, names: Mapping[str, int]) -> tuple[str, Mapping[str, object]]:
    """The innermost function of a cell that an error passed through, and its variables."""
    frames = [step.tb_frame for step in _steps(error) if step.tb_frame.f_code.co_filename in names]
    if not frames or not frames[-1].f_code.co_flags & inspect.CO_NEWLOCALS:  # a cell's own lines
        return "", {}
    return frames[-1].f_code.co_name, dict(frames[-1].f_locals)


def _steps(error: BaseException) -> Iterator[TracebackType]:
    step: TracebackType | None = error.__traceback__
    while step is not None:
        yield step
        step = step.tb_next


def _numbers(error: BaseException, names: Mapping[str, int]) -> Iterator[int]:
    """The numbers of the cells that a traceback passes through."""
    for step in _steps(error):
        if (number := names.get(step.tb_frame.f_code.co_filename)) is not None:
            yield number
    if isinstance(error, SyntaxError) and (number := names.get(error.filename or "")) is not None:
        yield number


def _plain(lines: Any) -> str:
    """A traceback as IPython keeps it, without its colours."""
    text = re.sub(ANSI, "", "\n".join(map(str, lines)))
    return text[-LONGEST_TRACEBACK:]
