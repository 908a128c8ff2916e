"""Work that nobody waits for, and that is not left behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

__all__ = ["Background"]

_log = logging.getLogger("farm_notebook.models")


class Background:
    """Tasks that run beside others until they end or are stopped. It belongs to the farm's loop."""

    def __init__(self) -> None:
        self._tasks = set[asyncio.Task[Any]]()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin one; what it raises is logged."""
        self.add(task := asyncio.create_task(work))
        task.add_done_callback(_report)

    def add(self, task: asyncio.Task[Any]) -> None:
        """Count one in that somebody else looks after."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Cancel all, and wait until they have let go."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _report(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("What was done to a model beside others failed", exc_info=error)
