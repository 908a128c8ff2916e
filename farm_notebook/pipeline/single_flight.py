"""Lets equal requests that are under way at the same time share one stream.

The stream runs in a task of its own, which belongs to no caller: whoever leaves, it goes on for the others,
and when the last one leaves it is closed. Each caller gets every event from the first one on.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Generic, TypeVar

__all__ = ["SingleFlight", "copy_of"]

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """The streams that are under way, by key. Only callers on one event loop share one."""

    def __init__(self) -> None:
        self._flights: dict[str, _Flight[T]] = {}

    async def join(
        self, key: str, start: Callable[[], AsyncGenerator[T, None]], *, anew: bool = False
    ) -> AsyncGenerator[T, None]:
        """The items of the stream under way for a key; where there is none, of a new one.

        Args:
            key: Equal for what may share a stream.
            start: Makes the stream.
            anew: Start one whether or not there is one; later callers join the new one.

        Raises:
            BaseException: What the stream raised, after its last item; each caller gets an error of its own.
        """
        flight = self._flights.get(key)
        if flight is None or anew or not flight.is_here:
            flight = self._flights[key] = _Flight(start(), lambda landed: self._forget(key, landed))
        seen = 0
        flight.board()
        try:
            while True:
                while seen < len(flight.items):
                    seen += 1
                    yield flight.items[seen - 1]
                if flight.has_landed:
                    break
                await flight.news()
            flight.raise_error()
        finally:
            await flight.leave()

    def _forget(self, key: str, flight: _Flight[T]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]


class _Flight(Generic[T]):
    """One stream and what came of it so far.

    Args:
        items: The stream.
        forget: Called when nobody can join any more.
    """

    def __init__(self, items: AsyncGenerator[T, None], forget: Callable[[_Flight[T]], None]) -> None:
        self.items: list[T] = []
        self.has_landed = False
        self._riders = 0
        self._news = asyncio.Event()
        self._forget = forget
        self._error: BaseException | None = None
        self._is_error_taken = False
        self._task = asyncio.create_task(self._fly(items))
        self._task.add_done_callback(self._fall)

    @property
    def is_here(self) -> bool:
        """Whether the stream runs on the running loop; in a forked child it runs nowhere."""
        return self._task.get_loop() is asyncio.get_running_loop()

    def board(self) -> None:
        """Take part in it; who does has to leave."""
        self._riders += 1

    async def leave(self) -> None:
        """Take part no more; the last to leave stops the stream and waits until it did."""
        self._riders -= 1
        if not self._riders and not self.has_landed:
            self._forget(self)
            self._task.cancel()
            await asyncio.wait([self._task])

    async def news(self) -> None:
        """Wait for the next item, or for the end."""
        self._news.clear()
        await self._news.wait()

    def raise_error(self) -> None:
        """Raise what the stream ended with, if it was an error."""
        if self._error is not None:
            raise self._own_error(self._error)

    async def _fly(self, items: AsyncGenerator[T, None]) -> None:
        async with aclosing(items):
            async for item in items:
                self.items.append(item)
                self._news.set()
        self._land(None)  # here already: when the task is told to be done, the loop has gone round once more

    def _fall(self, task: asyncio.Task[None]) -> None:
        if not self.has_landed:
            self._land(asyncio.CancelledError() if task.cancelled() else task.exception())

    def _land(self, error: BaseException | None) -> None:
        self.has_landed = True
        self._error = error
        self._forget(self)
        self._news.set()

    def _own_error(self, error: BaseException) -> BaseException:
        """The error for the first who asks, and a copy for the others: what one adds is not the others'."""
        if not self._is_error_taken:
            self._is_error_taken = True
            return error
        return copy_of(error)


def copy_of(error: BaseException) -> BaseException:
    """An error like another one, with the same causes, to be raised in another place."""
    try:
        own = copy.copy(error)
    except TypeError:  # its class takes more than it tells; better the same one than another
        return error
    own.__cause__, own.__context__ = error.__cause__, error.__context__
    own.__suppress_context__ = error.__suppress_context__
    return own
