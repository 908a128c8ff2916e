"""The bridges of ``loop`` for work that must have some things done where its caller waits.

A user's function is called in the thread that waits for the answer, as if its cell had called it: there it
may use what belongs to that thread (a SQLite connection, a figure, ``input``), what it prints lands in the
cell, an interrupt ends it, and it may ask models itself. On the farm's loop it would hold up all others.
"""

from __future__ import annotations

import asyncio
import inspect
import signal
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Iterator
from concurrent.futures import Future
from contextlib import aclosing, closing, contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from farm_notebook import loop
from farm_notebook.lifecycle.finishing import call_off

__all__ = ["in_caller", "iterate", "iterate_blocking", "run", "run_blocking"]

T = TypeVar("T")

_END = object()


async def in_caller(function: Callable[[], Any]) -> Any:
    """Have a function called in the thread that waits for this work; one that is to be awaited, is.

    Work that nobody waits for in another thread has it called in a thread of its own.

    Args:
        function: What it raises is raised here, unless it is an interrupt, which ends the caller's wait.
    """
    errand = _Errand(function)
    if (items := _items.get()) is not None:
        items.put_nowait(errand)
    else:
        await asyncio.to_thread(errand.do_blocking)
    outcome = await errand.outcome()
    return await outcome if inspect.isawaitable(outcome) else outcome


async def run(work: Coroutine[Any, Any, T]) -> T:
    """``loop.run``, doing what the work asks for by ``in_caller``."""
    async with aclosing(iterate(_once(work))) as outcomes:
        (outcome,) = [outcome async for outcome in outcomes]
        return outcome


def run_blocking(work: Coroutine[Any, Any, T]) -> T:
    """``loop.run_blocking``, doing what the work asks for by ``in_caller``."""
    with closing(iterate_blocking(_once(work))) as outcomes:
        (outcome,) = outcomes
        return outcome


async def iterate(events: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """``loop.iterate``, doing what the generator asks for by ``in_caller``."""
    if asyncio.get_running_loop() is loop.get_loop():
        async with aclosing(events):
            async for event in events:
                yield event
        return
    async with aclosing(loop.iterate(_with_errands(events))) as items:
        async for item in items:
            if isinstance(item, _Errand):
                await item.do()
            else:
                yield item


def iterate_blocking(events: AsyncGenerator[T, None]) -> Generator[T, None, None]:
    """``loop.iterate_blocking``, doing what the generator asks for by ``in_caller``."""
    with closing(loop.iterate_blocking(_with_errands(events))) as items:
        for item in items:
            if isinstance(item, _Errand):
                item.do_blocking()
            else:
                yield item


class _Errand:
    """One function on its way to the caller's thread, and what comes of it on its way back."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        # The error travels as a value: a future cannot carry each of them, StopIteration for one.
        self._outcome: Future[tuple[Any, Exception | None]] = Future()

    async def outcome(self) -> Any:
        """Wait for it on the farm's loop; what is to be awaited there is given back as it is."""
        value, error = await asyncio.wrap_future(self._outcome)
        if error is not None:
            raise error
        return value

    def do_blocking(self) -> None:
        """Call it from a plain thread."""
        if self._outcome.set_running_or_notify_cancel():
            try:
                value = self._function()
            except Exception as error:  # noqa: BLE001 - it is the function's, and raised where it was asked for
                self._outcome.set_result((None, error))
            else:
                self._outcome.set_result((value, None))

    async def do(self) -> None:
        """Call it from a coroutine, and await it here where it is to be awaited."""
        if self._outcome.set_running_or_notify_cancel():
            try:
                with _interruptible():
                    value = self._function()
                if inspect.isawaitable(value):
                    value = await _awake(value)
            except Exception as error:  # noqa: BLE001 - as above
                self._outcome.set_result((None, error))
            else:
                self._outcome.set_result((value, None))


_items: ContextVar[asyncio.Queue[Any] | None] = ContextVar("farm_caller", default=None)


async def _with_errands(events: AsyncGenerator[T, None]) -> AsyncGenerator[T | _Errand, None]:
    """On the farm's loop: what a generator yields, and between that what it wants its caller to do."""
    items: asyncio.Queue[Any] = asyncio.Queue()

    async def move() -> None:
        _items.set(items)  # seen by this task, and by what it starts
        async with aclosing(events):
            async for event in events:
                items.put_nowait(event)

    moving = asyncio.create_task(move())
    moving.add_done_callback(lambda _: items.put_nowait(_END))
    try:
        while (item := await items.get()) is not _END:
            yield item
        moving.result()
    finally:
        await call_off(moving)


async def _once(work: Coroutine[Any, Any, T]) -> AsyncGenerator[T, None]:
    """A coroutine as a generator of its outcome."""
    yield await work


async def _awake(work: Awaitable[T]) -> T:
    """Await the user's coroutine on a loop that looks up now and then, as ``loop`` does, for interrupts."""

    async def look_up() -> None:
        while True:  # noqa: ASYNC110 - it waits for nothing; that the loop wakes is all
            await asyncio.sleep(loop.POLL_S)

    looking = asyncio.ensure_future(look_up())
    try:
        return await work
    finally:
        looking.cancel()


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let an interrupt end plain code inside a coroutine.

    While a kernel awaits a cell, and while ``asyncio.run`` runs, an interrupt only cancels the task: it would
    not be noticed until the code has ended by itself.
    """
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT) if is_main else None
    if not callable(before) or before is signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
