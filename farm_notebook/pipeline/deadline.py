"""A deadline for what mostly waits for nothing: a timer is set only once it does wait.

The timer of ``asyncio.timeout`` takes longer than looking up something that is known, and of a kept answer it
would be a tenth.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Awaitable, Generator
from typing import Any, TypeVar

__all__ = ["within"]

T = TypeVar("T")


async def within(seconds: float, work: Awaitable[T]) -> T:
    """What ``work`` gives, as under ``asyncio.timeout``.

    Args:
        seconds: From when it first waits for something.
        work: Not yet begun.

    Raises:
        TimeoutError: It takes longer; it was cancelled.
    """
    steps = work.__await__()
    try:
        step = next(steps)
    except StopIteration as done:
        outcome: T = done.value
        return outcome
    async with asyncio.timeout(seconds):
        return await _rest(steps, step)


@types.coroutine
def _rest(steps: Generator[Any, Any, T], step: Any) -> Generator[Any, Any, T]:
    """``yield from steps``, where the first step was taken before. Source: PEP 380."""
    try:
        while True:
            try:
                sent = yield step
            except BaseException as error:  # noqa: BLE001 - it is the work's own business what it does about it
                step = steps.throw(error)
            else:
                step = steps.send(sent)
    except StopIteration as done:
        outcome: T = done.value
        return outcome
