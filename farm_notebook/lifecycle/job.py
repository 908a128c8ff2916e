"""Work that tells how far it is, for as many as want to know."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, Generic, TypeAlias, TypeVar

from farm_notebook.lifecycle.finishing import finish
from farm_notebook.types import LoadProgress, LoadStage

__all__ = ["Job", "JobStoppedError", "Tell"]

T = TypeVar("T")
Tell: TypeAlias = Callable[[LoadProgress], None]

POLL_S = 0.1  # between two looks at how far it is


class JobStoppedError(Exception):
    """All who had waited for the job left before it ended, or it was told to stop."""


class Job(Generic[T]):
    """A coroutine that runs from now on, and those who wait for it; when the last has left, it is cancelled.

    Args:
        work: Gets a function to tell progress to, from any thread.
    """

    def __init__(self, work: Callable[[Tell], Coroutine[Any, Any, T]]) -> None:
        self._first: dict[LoadStage, LoadProgress] = {}  # in the order of the stages
        self._furthest: dict[LoadStage, LoadProgress] = {}
        self._waiting = 0
        self._stopped_by: Exception | None = None
        self.task = asyncio.create_task(work(self._tell))
        self.task.add_done_callback(lambda task: task.cancelled() or task.exception())  # nobody need look

    def stop(self, error: Exception | None = None) -> None:
        """Cancel it; ``task`` tells when it has let go.

        Args:
            error: Raised for all who wait for it; ``None`` is ``JobStoppedError``.
        """
        self._stopped_by = error
        self.task.cancel()

    async def follow(self) -> AsyncGenerator[LoadProgress, None]:
        """Wait for its end, which may be an error of its own; the result is in ``task``.

        The last to leave before that stops it, and has left when it has let go.

        Yields:
            Where each stage begins, how far it is, and its end, however soon the next one began.

        Raises:
            JobStoppedError: It was cancelled, and not by this caller.
        """
        self._waiting += 1
        try:
            shown: dict[LoadStage, LoadProgress] = {}
            is_done = False
            while not is_done:
                if not self.task.done():
                    await asyncio.wait([self.task], timeout=POLL_S)
                is_done = self.task.done()  # before the look: what is told until then is in it
                for stage, furthest in self._furthest.copy().items():
                    first = self._first[stage]
                    if stage not in shown and first != furthest:
                        yield first  # which may tell more than how far it is
                    if shown.get(stage) != furthest:
                        shown[stage] = furthest
                        yield furthest
            if self.task.cancelled():
                raise self._stopped_by or JobStoppedError
            self.task.result()  # which raises what it did
        finally:
            self._waiting -= 1
            if not self._waiting and not self.task.done():
                self.stop()
                await finish(_ended(self.task))

    def _tell(self, progress: LoadProgress) -> None:
        """What is told never goes back within a stage: several files may arrive at once."""
        self._first.setdefault(progress.stage, progress)
        last = self._furthest.get(progress.stage)
        if last is None or last.completed_bytes < progress.completed_bytes:
            self._furthest[progress.stage] = progress


async def _ended(task: asyncio.Task[Any]) -> None:
    """It is over, however that was."""
    await asyncio.wait([task])
