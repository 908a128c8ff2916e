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
        gather_s: How long it waits for more before it writes. To write once for each of many values would
            keep the interpreter's lock from those who bring them.
    """

    def __init__(self, name: str, *, gather_s: float = 0.0) -> None:
        self._name = name
        self._gather_s = gather_s
        super().__init__()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_due = False
        self._is_awaited = threading.Event()

    def write_soon(self, write: Callable[[], None]) -> None:
        """Have all written that there is now.

        Args:
            write: Writes what there is. What comes while it does so is written by calling it once more.
        """
        with self._lock:
            self._is_due = True
            if self._thread is not None:
                return
            self._is_awaited.clear()
            thread = threading.Thread(target=self._run, args=(write,), name=self._name)
            with contextlib.suppress(RuntimeError):  # the interpreter is on its way out: see in_thread
                thread.start()
                self._thread = thread

    def wait(self) -> None:
        """Wait until the thread has ended, if there is one; it waits for nothing more itself."""
        if (thread := self._thread) is not None:
            self._is_awaited.set()
            thread.join()

    def _run(self, write: Callable[[], None]) -> None:
        while self._goes_on():
            self._is_awaited.wait(self._gather_s)
            self._is_due = False  # before it is looked what there is: what comes from now on is due again
            write()

    def _goes_on(self) -> bool:
        """Whether there is something to write; where there is not, the next who has something starts anew."""
        with self._lock:
            if not self._is_due:
                self._thread = None
            return self._is_due


async def in_thread(work: Callable[[], T]) -> T:
    """Do something in a thread; or here, where the interpreter is on its way out and starts none any more."""
    try:
        return await asyncio.to_thread(work)
    except RuntimeError:
        return work()
