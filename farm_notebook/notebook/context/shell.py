"""What a shell remembers of its notebook: the cells that were run, and which names are the user's."""

from __future__ import annotations

import re
from collections.abc import Callable, Set
from typing import TYPE_CHECKING, Any

from farm_notebook.notebook.context.cells import NotebookCell, told_cells

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_RUN_PYTHON = r"%%(time|timeit|capture|prun)\b"

__all__ = ["cells_of", "hidden_names", "source_as_python"]


def cells_of(
    shell: InteractiveShell, printed: Callable[[int], str] = lambda number: ""
) -> list[NotebookCell]:
    """The cells that were run before the present one, oldest first.

    Args:
        shell: The shell.
        printed: What a cell of a kernel printed, by its number.
    """
    history: Any = shell.history_manager
    if history is None:
        return []
    inputs = history.input_hist_raw
    return told_cells(
        inputs[:-1] if _is_in_history(shell) else inputs,
        shell.user_ns.get("_oh", {}),
        getattr(history, "outputs", {}),  # IPython 9.1 and newer
        getattr(history, "exceptions", {}),
        printed,
    )


def hidden_names(shell: InteractiveShell) -> Set[str]:
    """Names among the variables that are IPython's own."""
    return set(shell.user_ns_hidden) | {"In", "Out"}


def source_as_python(shell: InteractiveShell, source: str) -> str:
    """A cell's source as it would be compiled: magics become calls, what is wrong stays wrong.

    Of a cell magic that runs Python, such as ``%%time``, the body.
    """
    first, _, body = source.lstrip().partition("\n")
    if re.match(_RUN_PYTHON, first):
        source = body
    try:
        return str(shell.input_transformer_manager.transform_cell(source))
    except SyntaxError:
        return source


def _is_in_history(shell: InteractiveShell) -> bool:
    """Whether the cell that runs is the last one of the history; a tool's may not be kept in it."""
    running: Any = shell.displayhook.exec_result
    return running is None or bool(running.info.store_history)
