"""Asks the user whether a call may be made: ``--confirm``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from farm_notebook.errors import InvalidRequestError
from farm_notebook.notebook.calls import written_call

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from farm_notebook.types import ToolCall

__all__ = ["Confirmation"]

_CANNOT = (
    "--confirm asks before a tool is called, and nobody can be asked here. Run the cell in a notebook or a "
    "terminal, or leave --confirm out (`%config FarmMagics.confirm = False`, `--no-confirm`)."
)
_QUESTION = "Call {}? [y]es, [n]o, [a]ll: "
_ANSWERS = {"y": True, "yes": True, "n": False, "no": False, "": False}
_ALL = ("a", "all")


class Confirmation:
    """A question before each call of one cell, until all are allowed at once.

    Args:
        shell: Where the cell runs.

    Raises:
        InvalidRequestError: The front end, as one that runs whole notebooks, takes no input.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        kernel: Any = getattr(shell, "kernel", None)
        if kernel is not None and not getattr(kernel, "_allow_stdin", True):
            raise InvalidRequestError(_CANNOT)
        self._allows_all = False

    def __call__(self, call: ToolCall) -> bool:
        """Ask in the thread of the cell, whose ``input`` it is.

        Raises:
            InvalidRequestError: Nobody can be asked.
        """
        while not self._allows_all:
            try:
                said = input(_QUESTION.format(written_call(call))).strip().lower()
            except (EOFError, NotImplementedError):  # IPython's StdinNotImplementedError is the latter
                raise InvalidRequestError(_CANNOT) from None
            if said in _ANSWERS:
                return _ANSWERS[said]
            self._allows_all = said in _ALL
        return True
