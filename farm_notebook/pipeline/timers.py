"""Gives up on a stream that went silent: until the first event, between events, and in all.

The connect timer belongs to the provider, which alone knows when it connects. Loading a model is
exempt: the timers start at ``Started``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from farm_notebook.config import TimeoutConfig
from farm_notebook.errors import ProviderTimeoutError, TimerName
from farm_notebook.pipeline import Handler, Middleware
from farm_notebook.types import ChatRequest, Event, LoadProgress, Started

__all__ = ["timers"]


def timers(timeouts: TimeoutConfig) -> Middleware:
    """Raise ``ProviderTimeoutError``, naming the timer, when a stream exceeds one of ``timeouts``."""

    def wrap(handler: Handler) -> Handler:
        async def watched(request: ChatRequest) -> AsyncGenerator[Event, None]:
            now = asyncio.get_running_loop().time
            timer: TimerName = "first event"
            limit_s: float | None = None
            total_at: float | None = None
            async with aclosing(handler(request)) as events:
                while True:
                    deadline = now() + limit_s if limit_s is not None else None
                    if total_at is not None and (deadline is None or total_at < deadline):
                        deadline, timer = total_at, "total"
                    try:
                        async with asyncio.timeout_at(deadline) as waiting:
                            event = await anext(events)
                    except StopAsyncIteration:
                        return
                    except TimeoutError:
                        if waiting.expired():
                            raise _error(request, timer, timeouts) from None
                        raise
                    match event:
                        case LoadProgress():
                            pass
                        case Started():
                            timer, limit_s = "first event", timeouts.first_event_s
                            total_at = now() + timeouts.total_s if timeouts.total_s else None
                        case _:
                            timer, limit_s = "idle", timeouts.idle_s
                    yield event

        return watched

    return wrap


def _error(request: ChatRequest, timer: TimerName, timeouts: TimeoutConfig) -> ProviderTimeoutError:
    setting = f"{timer.replace(' ', '_')}_s"
    return ProviderTimeoutError(
        f"{request.ref} sent nothing in time: the {timer} timer ran out after "
        f"{getattr(timeouts, setting):g} s. Raise it with FARM_TIMEOUTS__{setting.upper()}.",
        timer=timer,
        provider=request.ref.provider,
    )
