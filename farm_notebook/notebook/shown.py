"""The value of a cell that has shown it already: it is bound to ``Out`` without being shown a second time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["ShownValue"]


class ShownValue:
    """Has a shell's display hook pass over one object, once, and by the end of the cell at the latest.

    Args:
        shell: The shell.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        formatters: Any = shell.display_formatter
        self._is_notebook = hasattr(shell, "kernel")
        text = formatters.formatters["text/plain"]
        formatter = formatters.ipython_display_formatter if self._is_notebook else text
        self._printers: dict[int, Any] = formatter.singleton_printers  # by id; they come before all others
        self._value: object = None  # kept, so that its id stays its own
        self._replaced: Any = None

    def mark(self, value: object) -> None:
        """Note what the cell has shown; ``None`` is never shown anyway."""
        self.clear()
        if value is None:
            return
        self._value = value
        self._replaced = self._printers.get(id(value))
        self._printers[id(value)] = self._skip if self._is_notebook else self._brief

    def clear(self, *_: object) -> None:
        """Show it again from now on; also for the event ``post_run_cell``."""
        if self._value is None:
            return
        if self._replaced is None:
            self._printers.pop(id(self._value), None)
        else:
            self._printers[id(self._value)] = self._replaced
        self._value = self._replaced = None

    def _skip(self, _: object) -> None:
        """In a notebook: nothing."""
        self.clear()

    def _brief(self, value: object, printer: Any, cycle: bool) -> None:
        """In a terminal: one line, for there ``Out[n]:`` is printed all the same."""
        self.clear()
        brief = getattr(value, "_farm_brief_", None)
        printer.text(brief() if brief else f"<{type(value).__name__}>")
