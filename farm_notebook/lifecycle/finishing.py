"""Work that is brought to its end, whatever happens to who waits for it, or because nobody does."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["call_off", "finish", "tried"]

T = TypeVar("T")


async def finish(work: Coroutine[Any, Any, T]) -> T:
    """Await work to its end; a cancel that came meanwhile is raised only then.

    Raises:
        CancelledError: The caller was cancelled; the work is done all the same.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return task.result()
    if not task.cancelled():
        task.exception()  # it is told nowhere else, and must not be logged as forgotten
    try:
        raise cancelled
    finally:
        del cancelled  # its traceback leads here: whatever the callers hold would stay with it


async def tried(work: Coroutine[Any, Any, object]) -> list[Exception]:
    """Await work, and tell what it raised."""
    try:
        await work
    except Exception as error:  # noqa: BLE001 - whoever asks decides
        return [error]
    return []


async def call_off(task: asyncio.Task[Any]) -> None:
    """Cancel a task that nobody waits for any more, and wait until it has let go; its error is dropped."""
    if not task.done():
        task.cancel()
        await asyncio.wait([task])
    if not task.cancelled():
        task.exception()  # it was raised where it counts, and must not be logged as forgotten
