"""Work in a thread of its own, which is asked to stop and never killed.

Neither ``asyncio.to_thread`` nor an executor will do: the interpreter waits for their threads when it ends,
and so would a kernel that is shut down while a long answer is written or a large model loads.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from traceback import clear_frames
from typing import Any, Generic, TypeVar

__all__ = ["Halt", "HaltedError", "Work", "in_thread"]

T = TypeVar("T")


class HaltedError(Exception):
    """The work was asked to stop, and did."""


class Halt:
    """What the work looks at between two steps."""

    def __init__(self) -> None:
        self._asked = False

    def ask(self) -> None:
        """Have the work stop at its next look."""
        self._asked = True

    @property
    def is_asked(self) -> bool:
        """Whether to stop: someone asked to, or the interpreter is about to end."""
        return self._asked or not threading.main_thread().is_alive()

    def check(self) -> None:
        """Stop here if asked to.

        Raises:
            HaltedError: To be let through.
        """
        if self.is_asked:
            raise HaltedError


class Work(Generic[T]):
    """A call that runs in a thread from now on.

    Args:
        call: Gets the ``Halt`` to look at.
        halt: To share one with others.

    ``done`` holds what it returned or raised; nobody needs to look. It is made on the running loop.
    """

    def __init__(self, call: Callable[[Halt], T], halt: Halt | None = None) -> None:
        self.halt = halt or Halt()
        self._call = call
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[T] = self._loop.create_future()
        self.done.add_done_callback(lambda done: done.cancelled() or done.exception())
        # Not a daemon, as the loop's thread is: the interpreter has to wait for the step it is in, since one
        # that ends under a step of torch aborts.
        threading.Thread(target=self._run, name="farm-huggingface", daemon=False).start()

    def _run(self) -> None:
        try:
            try:
                result = self._call(self.halt)
            finally:
                del self._call  # and what it holds, which may be a model: who is told may count on its memory
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is raised again where it is waited for
            self._tell(self._fail, error)
        else:
            self._tell(self._succeed, result)

    def _tell(self, callback: Callable[[Any], None], outcome: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, outcome)
        except RuntimeError:  # the loop was closed: nobody waits any more
            return

    def _succeed(self, result: T) -> None:
        if not self.done.done():
            self.done.set_result(result)

    def _fail(self, error: BaseException) -> None:
        if not self.done.done():
            self.done.set_exception(error)


async def in_thread(call: Callable[[Halt], T]) -> T:
    """Run a call in a thread of its own. A cancel asks it to stop, and is raised when it has.

    Args:
        call: Gets the ``Halt`` to look at.

    Raises:
        CancelledError: What the call may have made all the same was dropped.
    """
    work = Work(call)
    cancelled: asyncio.CancelledError | None = None
    while not work.done.done():
        try:
            await asyncio.wait([work.done])
        except asyncio.CancelledError as error:
            work.halt.ask()
            cancelled = error
    if cancelled is not None:
        if (failed := work.done.exception()) is not None:
            clear_frames(failed.__traceback__)  # which hold what was half made, in a circle with the work
        raise cancelled
    return work.done.result()
