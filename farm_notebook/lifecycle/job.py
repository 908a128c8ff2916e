"""Work that tells how far it is, for as many as want to know."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, Generic, TypeAlias, TypeVar

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
        self._furthest: dict[LoadStage, LoadProgress] = {}  # in the order of the stages
        self._waiting = 0
        self.task = asyncio.create_task(work(self._tell))
        self.task.add_done_callback(lambda task: task.cancelled() or task.exception())  # nobody need look

    def stop(self) -> None:
        """Cancel it; ``task`` tells when it has let go."""
        self.task.cancel()

    async def follow(self) -> AsyncGenerator[LoadProgress, None]:
        """Wait for its end, which may be an error of its own; the result is in ``task``.

        Yields:
            How far each stage is; the end of each, however soon the next one began.

        Raises:
            JobStoppedError: It was cancelled, and not by this caller.
        """
        self._waiting += 1
        try:
            shown: dict[LoadStage, LoadProgress] = {}
            while not self.task.done():
                await asyncio.wait([self.task], timeout=POLL_S)
                for stage, progress in tuple(self._furthest.items()):
                    if shown.get(stage) != progress:
                        shown[stage] = progress
                        yield progress
            if self.task.cancelled():
                raise JobStoppedError
            self.task.result()  # which raises what it did
        finally:
            self._waiting -= 1
            if not self._waiting:
                self.stop()

    def _tell(self, progress: LoadProgress) -> None:
        """What is told never goes back within a stage: several files may arrive at once."""
        last = self._furthest.get(progress.stage)
        if last is None or last.completed_bytes < progress.completed_bytes:
            self._furthest[progress.stage] = progress
