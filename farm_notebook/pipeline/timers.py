"""Gives up on a stream that went silent: until the first event, between events, and in all.

The connect timer belongs to the provider, which alone knows when it connects. Loading a model is
exempt: the timers run from ``Started`` to ``Finished``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from farm_notebook.config import TimeoutConfig
from farm_notebook.errors import ProviderTimeoutError, TimerName
from farm_notebook.pipeline import Handler, Middleware
from farm_notebook.types import ChatRequest, Event, Finished, LoadProgress, Started

__all__ = ["timers"]

_EVER = float("inf")


def timers(timeouts: TimeoutConfig) -> Middleware:
    """Raise ``ProviderTimeoutError``, naming the timer, when a stream exceeds one of ``timeouts``."""

    def wrap(handler: Handler) -> Handler:
        async def watched(request: ChatRequest) -> AsyncGenerator[Event, None]:
            watchdog = _Watchdog(timeouts)
            try:
                async with aclosing(handler(request)) as events:
                    next_event = events.__anext__
                    while True:
                        watchdog.watch()
                        try:
                            event = await next_event()
                        except StopAsyncIteration:
                            return
                        except asyncio.CancelledError:
                            if watchdog.barked():
                                raise _error(request, watchdog.timer, timeouts) from None
                            raise
                        finally:
                            watchdog.rest()
                        if not watchdog.is_idle_watched or isinstance(event, Finished):
                            watchdog.hear(event)
                        yield event
            finally:
                watchdog.stop()

        return watched

    return wrap


class _Watchdog:
    """Cancels the task that waits for an event when its time is up.

    What it does for each event is next to nothing: it notes when the wait began. One timer of the loop serves
    the whole stream: it looks at the note when it goes off, and is set again where there is time left.
    ``asyncio.timeout`` would set one for each event.
    """

    def __init__(self, timeouts: TimeoutConfig) -> None:
        self.timer: TimerName = "first event"
        self.is_idle_watched = (
            False  # whether the first word was heard, after which only the end changes timers
        )
        self._timeouts = timeouts
        self._loop = asyncio.get_running_loop()
        self._now = self._loop.time
        self._handle: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None
        self._since = self._now()
        self._limit_s = self._total_at = _EVER
        self._cancels_before = 0
        self._has_barked = False

    def watch(self) -> None:
        """The running task begins to wait for an event; where no timer runs nobody has to know."""
        if self._limit_s == self._total_at == _EVER:
            return
        self._since = self._now()
        task = self._task = asyncio.current_task()
        self._cancels_before = task.cancelling() if task else 0
        if self._handle is None:
            self._set()

    def rest(self) -> None:
        """The wait is over; the time until the next one is the caller's own."""
        self._task = None

    def hear(self, event: Event) -> None:
        """An event came: see which timer runs from now on."""
        if isinstance(event, LoadProgress):
            return
        if isinstance(event, Started):
            self._limit_s = _or_ever(self._timeouts.first_event_s)
            self._total_at = self._now() + _or_ever(self._timeouts.total_s)
        elif isinstance(event, Finished):  # nothing is missing; tidying up has limits of its own
            self._limit_s = self._total_at = _EVER
        else:
            self._limit_s, self.timer = _or_ever(self._timeouts.idle_s), "idle"
            self.is_idle_watched = True
        self.stop()

    def barked(self) -> bool:
        """Whether a ``CancelledError`` is this watchdog's doing, and no one else wants the task cancelled."""
        return self._has_barked and self._task is not None and self._task.uncancel() <= self._cancels_before

    def stop(self) -> None:
        """Look no more, until the next wait."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _set(self) -> None:
        deadline = min(self._since + self._limit_s, self._total_at)
        if deadline < _EVER:
            self._handle = self._loop.call_at(deadline, self._look)

    def _look(self) -> None:
        self._handle = None
        if self._task is None:
            return  # the next wait sets the timer again
        if self._now() < min(self._since + self._limit_s, self._total_at):
            self._set()
            return
        if self._total_at < self._since + self._limit_s:
            self.timer = "total"
        self._has_barked = True
        self._task.cancel()


def _or_ever(limit_s: float | None) -> float:
    return _EVER if limit_s is None else limit_s


def _error(request: ChatRequest, timer: TimerName, timeouts: TimeoutConfig) -> ProviderTimeoutError:
    setting = f"{timer.replace(' ', '_')}_s"
    return ProviderTimeoutError(
        f"{request.ref} sent nothing in time: the {timer} timer ran out after "
        f"{getattr(timeouts, setting):g} s. Raise it with FARM_TIMEOUTS__{setting.upper()}.",
        timer=timer,
        provider=request.ref.provider,
    )
