"""Shows an exception group in its own words, which IPython does for every other exception.

IPython lets an exception render itself with ``_render_traceback_``; but a group, or what was raised while one
was handled, it prints with all frames of each of its members, to stderr and not as the cell's error.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["GroupDisplay"]


class GroupDisplay:
    """Takes the place of a shell's ``showtraceback``, until it is removed."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell: Any = shell
        self._show: Callable[..., None] = shell.showtraceback

    def install(self) -> None:
        """Show groups from now on."""
        self._shell.showtraceback = self.show

    def remove(self) -> None:
        """Leave it to IPython again, unless somebody else has taken the place since."""
        if self._shell.__dict__.get("showtraceback") == self.show:
            del self._shell.showtraceback

    def show(self, exc_tuple: Any = None, *arguments: Any, **options: Any) -> None:
        """Show an exception: ``exc_tuple``, or the one that is being handled."""
        kind, error, frames = exc_tuple or sys.exc_info()
        render = getattr(error, "_render_traceback_", None)
        if render is None or not _has_group(error):
            self._show(exc_tuple, *arguments, **options)
            return
        sys.last_type, sys.last_value, sys.last_traceback = kind, error, frames
        self._shell._showtraceback(kind, error, render())


def _has_group(error: BaseException | None) -> bool:
    return isinstance(error, BaseExceptionGroup) or (error is not None and _has_group(error.__context__))
