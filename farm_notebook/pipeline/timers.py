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
            watchdog = _Watchdog()
            timer: TimerName = "first event"
            limit_s: float | None = None
            try:
                async with aclosing(handler(request)) as events:
                    while True:
                        watchdog.watch(timer, limit_s)
                        try:
                            event = await anext(events)
                        except StopAsyncIteration:
                            return
                        except asyncio.CancelledError:
                            if watchdog.barked():
                                raise _error(request, watchdog.timer, timeouts) from None
                            raise
                        finally:
                            watchdog.rest()
                        match event:
                            case LoadProgress():
                                pass
                            case Started():
                                timer, limit_s = "first event", timeouts.first_event_s
                                watchdog.set_total(timeouts.total_s)
                            case _:
                                timer, limit_s = "idle", timeouts.idle_s
                        yield event
            finally:
                watchdog.stop()

        return watched

    return wrap


class _Watchdog:
    """Cancels the task that waits for an event when its time is up.

    One timer of the loop serves the whole stream: it looks at the deadline when it goes off, and is set
    again where the deadline has moved on. ``asyncio.timeout`` would set one for each event.
    """

    def __init__(self) -> None:
        self.timer: TimerName = "first event"
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None
        self._deadline = self._total_at = float("inf")
        self._cancels_before = 0
        self._has_barked = False

    def set_total(self, total_s: float | None) -> None:
        """Start the timer of the whole answer."""
        if total_s is not None:
            self._total_at = self._loop.time() + total_s

    def watch(self, timer: TimerName, limit_s: float | None) -> None:
        """The running task begins to wait for an event, for so long at most."""
        deadline = self._loop.time() + limit_s if limit_s is not None else float("inf")
        self.timer, self._deadline = (
            (timer, deadline) if deadline <= self._total_at else ("total", self._total_at)
        )
        self._task = asyncio.current_task()
        self._cancels_before = self._task.cancelling() if self._task else 0
        if self._handle is None or self._handle.when() > self._deadline:
            self._set()

    def rest(self) -> None:
        """The wait is over; the time until the next one is the caller's own."""
        self._task = None

    def barked(self) -> bool:
        """Whether a ``CancelledError`` is this watchdog's doing, and no one else wants the task cancelled."""
        return self._has_barked and self._task is not None and self._task.uncancel() <= self._cancels_before

    def stop(self) -> None:
        """The stream has ended."""
        if self._handle is not None:
            self._handle.cancel()

    def _set(self) -> None:
        self.stop()
        self._handle = (
            self._loop.call_at(self._deadline, self._look) if self._deadline < float("inf") else None
        )

    def _look(self) -> None:
        self._handle = None
        if self._task is None:
            return  # the next wait sets the timer again
        if self._loop.time() < self._deadline:
            self._set()
        else:
            self._has_barked = True
            self._task.cancel()


def _error(request: ChatRequest, timer: TimerName, timeouts: TimeoutConfig) -> ProviderTimeoutError:
    setting = f"{timer.replace(' ', '_')}_s"
    return ProviderTimeoutError(
        f"{request.ref} sent nothing in time: the {timer} timer ran out after "
        f"{getattr(timeouts, setting):g} s. Raise it with FARM_TIMEOUTS__{setting.upper()}.",
        timer=timer,
        provider=request.ref.provider,
    )
