"""Work that tells how far it is, for as many as want to know."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Generic, TypeAlias, TypeVar

from farm_notebook.providers.huggingface.work import Halt, Work
from farm_notebook.types import LoadProgress, LoadStage

__all__ = ["Job", "Tell"]

T = TypeVar("T")
Tell: TypeAlias = Callable[[LoadProgress], None]

POLL_S = 0.1  # between two looks at how far it is


class Job(Generic[T]):
    """A call in a thread, and those who wait for it; when the last of them has left, it is asked to stop.

    Args:
        call: Gets a halt to look at and a function to tell progress to, from any thread.
    """

    def __init__(self, call: Callable[[Halt, Tell], T]) -> None:
        self._furthest: dict[LoadStage, LoadProgress] = {}  # in the order of the stages
        self._waiting = 0
        self.work = Work(lambda halt: call(halt, self._tell))

    async def follow(self) -> AsyncGenerator[LoadProgress, None]:
        """Wait for its end, which may be an error of its own; the result is in ``work.done``.

        Yields:
            How far each stage is; the end of each, however soon the next one began.
        """
        done = self.work.done
        self._waiting += 1
        try:
            shown: dict[LoadStage, LoadProgress] = {}
            while not done.done():
                await asyncio.wait([done], timeout=POLL_S)
                for stage, progress in tuple(self._furthest.items()):
                    if shown.get(stage) != progress:
                        shown[stage] = progress
                        yield progress
            await done
        finally:
            self._waiting -= 1
            if not self._waiting:
                self.work.halt.ask()

    def _tell(self, progress: LoadProgress) -> None:
        """What is told never goes back within a stage: several files may arrive at once."""
        last = self._furthest.get(progress.stage)
        if last is None or last.completed_bytes < progress.completed_bytes:
            self._furthest[progress.stage] = progress
