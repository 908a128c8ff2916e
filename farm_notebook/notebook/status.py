"""One line that is painted over while something goes on, and stays as its outcome."""

from __future__ import annotations

import secrets
import shutil
import sys
import time
from typing import TYPE_CHECKING, Any

from farm_notebook.notebook.display import CLEAR_LINE
from farm_notebook.sanitize import printable

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["StatusLine"]

REPAINT_S = 0.2


class StatusLine:
    """A line in a cell's output, or on a terminal's stderr.

    Args:
        shell: Whose output it is.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self._publisher: Any = shell.display_pub if hasattr(shell, "kernel") else None
        self._id = secrets.token_hex(4)
        self._is_painted = False
        self._painted_at = float("-inf")

    def show(self, text: str) -> None:
        """Say how far it is; painted five times a second at most."""
        now = time.monotonic()
        if now - self._painted_at < REPAINT_S:
            return
        self._painted_at = now
        if self._publisher is not None:
            self._publish(text)
        elif sys.stderr.isatty():
            width = shutil.get_terminal_size().columns - 1
            self._write(f"{CLEAR_LINE}{printable(text)[:width]}")

    def end(self, text: str) -> None:
        """Leave the outcome."""
        if self._publisher is not None:
            self._publish(text)
        else:
            self.discard()
            print(printable(text))

    def discard(self) -> None:
        """Leave nothing."""
        if self._publisher is not None and self._is_painted:
            self._publish("")
        elif self._publisher is None and sys.stderr.isatty():
            self._write(CLEAR_LINE)

    def _publish(self, text: str) -> None:
        is_update, self._is_painted = self._is_painted, True  # noted first: any step may be interrupted
        self._publisher.publish(
            data={"text/plain": printable(text)} if text else {},
            transient={"display_id": self._id},
            update=is_update,
        )

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
