"""Code that is put into the cell below the next one that is run.

A kernel can only fill a cell as part of what it answers to an execution, so this is what is left where the
page cannot insert one.
"""

from __future__ import annotations

from typing import Any

from farm_notebook.errors import InvalidRequestError

__all__ = ["NextCell", "present_shell"]


def present_shell() -> Any:
    """The notebook's shell; ``None`` outside of a notebook."""
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        return None
    shell: Any = get_ipython()
    return shell if hasattr(shell, "kernel") else None


class NextCell:
    """What waits to be put there.

    Args:
        shell: The notebook's; ``None`` where there is none.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._waiting: list[str] = []

    def put(self, code: str) -> None:
        """Have it appear once the next cell has run; several pieces appear in one cell.

        Raises:
            InvalidRequestError: There is nothing that runs cells.
        """
        if self._shell is None:
            raise InvalidRequestError("No notebook takes cells from this kernel. Copy the code instead.")
        self._waiting.append(code)
        if len(self._waiting) == 1:
            self._shell.events.register("post_run_cell", self._fill)

    def forget(self) -> None:
        """Put nothing there any more."""
        if self._waiting:
            self._waiting = []
            self._shell.events.unregister("post_run_cell", self._fill)

    def _fill(self, *_: object) -> None:
        """On the thread that runs cells."""
        code = "\n\n".join(self._waiting)
        self.forget()
        if code:
            self._shell.set_next_input(code, replace=False)
