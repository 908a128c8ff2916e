"""Work that nobody waits for: it is done by a thread, which ends when there is no more of it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

from farm_notebook.stores.fork import ForkSafe

__all__ = ["BackgroundWriter", "in_thread"]

T = TypeVar("T")


class BackgroundWriter(ForkSafe):
    """Writes in a thread of its own what was gathered meanwhile.

    Args:
        name: Of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        super().__init__()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_due = False

    def write_soon(self, write: Callable[[], None]) -> None:
        """Have all written that there is now.

        Args:
            write: Writes what there is. What comes while it does so is written by calling it once more.
        """
        with self._lock:
            if self._thread is not None:
                self._is_due = True
                return
            thread = threading.Thread(target=self._run, args=(write,), name=self._name)
            with contextlib.suppress(RuntimeError):  # the interpreter is on its way out: see in_thread
                thread.start()
                self._thread = thread

    def wait(self) -> None:
        """Wait until the thread has ended, if there is one."""
        if (thread := self._thread) is not None:
            thread.join()

    def _run(self, write: Callable[[], None]) -> None:
        is_due = True
        while is_due:
            write()
            with self._lock:
                is_due, self._is_due = self._is_due, False
                if not is_due:
                    self._thread = None


async def in_thread(work: Callable[[], T]) -> T:
    """Do something in a thread; or here, where the interpreter is on its way out and starts none any more."""
    try:
        return await asyncio.to_thread(work)
    except RuntimeError:
        return work()
