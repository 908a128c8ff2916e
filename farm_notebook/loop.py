"""The one event loop all I/O lives on, and the bridges to it from threads and from other loops.

The loop runs on a daemon thread that starts at first use. A caller may be a plain thread, which
waits in short steps so that Ctrl-C is seen at once, or a coroutine on another loop, which awaits.
Either way an interrupted caller cancels the work here and waits for it to let go. The work runs in
a copy of the caller's context, so that what it displays lands in the caller's cell.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import contextvars
import os
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

__all__ = ["at_shutdown", "get_loop", "iterate", "iterate_blocking", "not_at_shutdown", "run", "run_blocking"]

T = TypeVar("T")

# Waits are cut short for the sake of Ctrl-C: not every platform lets a signal end a lock wait, and in a
# notebook kernel (ipykernel 7.4) a signal that finds the event loop asleep is noticed when it next wakes.
POLL_S = 0.05
LET_GO_S = 5.0  # how long cancelled work may take to close its connections
SHUTDOWN_S = 3.0

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_thread: threading.Thread | None = None
_closers: list[Callable[[], Coroutine[Any, Any, None]]] = []
_open_tasks: set[asyncio.Task[Any]] = set()  # of callers outside; touched on the loop only


def get_loop() -> asyncio.AbstractEventLoop:
    """The running loop; started at the first call, and anew in a forked child."""
    global _loop, _thread
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            _thread = threading.Thread(target=_serve, args=(_loop,), name="farm-loop", daemon=True)
            _thread.start()
        return _loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    """Run the loop until it is stopped; a task's ``SystemExit`` is its caller's and must not end it."""
    while True:
        try:
            loop.run_forever()
        except (SystemExit, KeyboardInterrupt):
            continue
        return


def at_shutdown(closer: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run ``closer`` on the loop when the interpreter exits."""
    _closers.append(closer)


def not_at_shutdown(closer: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Take back what ``at_shutdown`` was told; what closes it is gone."""
    with contextlib.suppress(ValueError):
        _closers.remove(closer)


async def run(work: Coroutine[Any, Any, T]) -> T:
    """Await ``work`` on the farm's loop from whatever loop the caller is on."""
    if asyncio.get_running_loop() is get_loop():
        return await work
    job = _Job(work)
    waiter = asyncio.wrap_future(job.outcome)
    try:
        job.start()
        while not waiter.done():
            await asyncio.wait([waiter], timeout=POLL_S)
        return waiter.result()
    finally:
        await _release(job, waiter)


def run_blocking(work: Coroutine[Any, Any, T]) -> T:
    """Wait for ``work`` from a plain thread; Ctrl-C cancels it and is raised here once it let go."""
    job = _Job(work)
    try:
        job.start()
        while True:
            done, _ = concurrent.futures.wait([job.outcome], POLL_S)
            if done:
                return job.outcome.result()
    except BaseException:
        job.cancel_and_wait()
        raise


async def iterate(events: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """Pass on the items of a generator that runs on the farm's loop to a caller on any loop."""
    if asyncio.get_running_loop() is get_loop():
        try:
            async for item in events:
                yield item
        finally:
            await events.aclose()
        return
    caller = asyncio.get_running_loop()
    arrived = asyncio.Event()

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the caller's loop is closed, and nobody reads any more
            caller.call_soon_threadsafe(arrived.set)

    buffer: _Buffer[T] = _Buffer(wake)
    job = _Job(buffer.drain(events))
    job.outcome.add_done_callback(lambda _: wake())
    try:
        job.start()
        while not job.outcome.done() or buffer.items:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await arrived.wait()
            arrived.clear()
            while buffer.items:
                yield buffer.items.popleft()
        job.outcome.result()
    finally:
        if not job.outcome.done():
            await _release(job, asyncio.wrap_future(job.outcome))


def iterate_blocking(events: AsyncGenerator[T, None]) -> Generator[T, None, None]:
    """Pass on the items of a generator that runs on the farm's loop to a plain thread."""
    arrived = threading.Event()
    buffer: _Buffer[T] = _Buffer(arrived.set)
    job = _Job(buffer.drain(events))
    job.outcome.add_done_callback(lambda _: arrived.set())
    try:
        job.start()
        while not job.outcome.done() or buffer.items:
            arrived.wait(POLL_S)
            arrived.clear()
            while buffer.items:
                yield buffer.items.popleft()
        job.outcome.result()
    finally:
        job.cancel_and_wait()


class _Job(Generic[T]):
    """One coroutine on the farm's loop, seen from outside.

    ``outcome`` is settled only when the coroutine has really ended: unlike the future of
    ``asyncio.run_coroutine_threadsafe`` it can still be waited for after a cancel. It begins with ``start``,
    called in the ``try`` whose end cancels it: Ctrl-C may come in the very moment in which it has begun.
    """

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self.outcome: concurrent.futures.Future[T] = concurrent.futures.Future()
        self.outcome.set_running_or_notify_cancel()
        self._loop = get_loop()
        if threading.current_thread() is _thread:
            work.close()
            raise RuntimeError(
                "A blocking call on the farm's own event loop would wait for itself. Use AsyncFarm here."
            )
        self._work = work
        self._task: asyncio.Task[T] | None = None

    def start(self) -> _Job[T]:
        """Have the coroutine run."""
        self._loop.call_soon_threadsafe(self._start, contextvars.copy_context())
        return self

    def cancel(self) -> None:
        """Ask the coroutine to stop; ``outcome`` tells when it did."""
        self._loop.call_soon_threadsafe(self._cancel)

    def cancel_and_wait(self) -> None:
        """Stop the coroutine if it still runs, and wait until its connections are closed."""
        if not self.outcome.done() and self._loop is _loop:  # in a forked child it is the parent's work
            self.cancel()
            if threading.current_thread() is not _thread:  # where the garbage collector may drop a stream
                concurrent.futures.wait([self.outcome], LET_GO_S)

    def _start(self, context: contextvars.Context) -> None:
        self._task = self._loop.create_task(self._work, context=context)
        _open_tasks.add(self._task)
        self._task.add_done_callback(self._settle)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
        elif not self.outcome.done():  # it was not started, and will not be
            self._work.close()
            self.outcome.set_exception(asyncio.CancelledError())

    def _settle(self, task: asyncio.Task[T]) -> None:
        _open_tasks.discard(task)
        if task.cancelled():
            self.outcome.set_exception(asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            self.outcome.set_exception(error)
        else:
            self.outcome.set_result(task.result())


class _Buffer(Generic[T]):
    """Items on their way from the farm's loop to a reader that is woken once for many of them."""

    def __init__(self, wake: Callable[[], object]) -> None:
        self.items: deque[T] = deque()
        self._wake = wake
        self._is_waking = False

    async def drain(self, events: AsyncGenerator[T, None]) -> None:
        """Move every item into the buffer; close the generator whatever happens."""
        loop = asyncio.get_running_loop()
        try:
            async for item in events:
                self.items.append(item)
                if not self._is_waking:  # once for all items that arrive in this turn of the loop
                    self._is_waking = True
                    loop.call_soon(self._wake_reader)
        finally:
            await events.aclose()

    def _wake_reader(self) -> None:
        self._is_waking = False
        self._wake()


async def _release(job: _Job[Any], waiter: asyncio.Future[Any]) -> None:
    """Cancel work whose caller has left, wait until it let go, and drop its outcome."""
    if not waiter.done():
        job.cancel()
        await asyncio.wait([waiter], timeout=LET_GO_S)
    if waiter.done() and not waiter.cancelled():
        waiter.exception()


def _shut_down() -> None:
    if _loop is None or _loop.is_closed():
        return
    for closer in (*_closers, _leave_open_tasks)[::-1]:
        concurrent.futures.wait([_Job(closer()).start().outcome], SHUTDOWN_S)
    _loop.call_soon_threadsafe(_loop.stop)


async def _leave_open_tasks() -> None:
    """Cancel what callers left unfinished, so that its connections close before the closers run."""
    left = _open_tasks - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=SHUTDOWN_S)


def _forget_after_fork() -> None:
    """A forked child has the parent's loop object but not the thread that runs it."""
    global _loop, _thread, _lock
    _loop, _thread, _lock = None, None, threading.Lock()
    _closers.clear()
    _open_tasks.clear()


atexit.register(_shut_down)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
