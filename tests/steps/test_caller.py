"""What work on the farm's loop wants done is done where its caller waits, and an interrupt ends it."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

import pytest

from farm_notebook import loop
from farm_notebook.farm import caller

pytestmark = pytest.mark.usefixtures("no_leaks")

Bridge = Callable[[Coroutine[Any, Any, Any]], Any]
BRIDGES: list[Bridge] = [caller.run_blocking, lambda work: asyncio.run(caller.run(work))]
bridges = pytest.mark.parametrize("bridge", BRIDGES, ids=["blocking", "awaited"])

mark = contextvars.ContextVar("mark", default="unset")


def here() -> str:
    return threading.current_thread().name


async def here_async() -> str:
    await asyncio.sleep(0)
    return here()


@bridges
def test_a_function_is_called_in_the_thread_that_waits(bridge: Bridge) -> None:
    assert bridge(caller.in_caller(here)) == here()


def test_a_coroutine_function_runs_on_the_callers_loop() -> None:
    assert asyncio.run(caller.run(caller.in_caller(here_async))) == here()


def test_where_the_caller_has_no_loop_a_coroutine_function_runs_on_the_farms() -> None:
    assert caller.run_blocking(caller.in_caller(here_async)) == "farm-loop"


def test_work_that_nobody_serves_has_a_thread_of_its_own_for_it() -> None:
    assert loop.run_blocking(caller.in_caller(here)) not in (here(), "farm-loop")


@bridges
def test_a_function_sees_the_context_of_the_caller(bridge: Bridge) -> None:
    token = mark.set("the cell's")
    try:
        assert bridge(caller.in_caller(mark.get)) == "the cell's"
    finally:
        mark.reset(token)


@bridges
@pytest.mark.parametrize("error", [KeyError("gone"), StopIteration()])
def test_what_it_raises_is_raised_where_it_was_asked_for(bridge: Bridge, error: Exception) -> None:
    def fail() -> None:
        raise error

    async def work() -> str:
        try:
            await caller.in_caller(fail)
        except KeyError as raised:
            return str(raised)
        except RuntimeError as raised:  # as Python has it for a StopIteration in a coroutine
            return str(raised.__cause__)
        return "nothing"

    assert bridge(work()) == str(error)


@bridges
def test_the_error_of_the_work_is_the_callers(bridge: Bridge) -> None:
    async def work() -> None:
        await caller.in_caller(here)
        raise LookupError("broken")

    with pytest.raises(LookupError, match="broken"):
        bridge(work())


@bridges
def test_an_interrupt_ends_the_function_at_once_and_the_work_with_it(bridge: Bridge) -> None:
    ended = threading.Event()

    def busy() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(600):
            time.sleep(0.1)

    async def work() -> None:
        try:
            await caller.in_caller(busy)
        finally:
            ended.set()

    handler = signal.getsignal(signal.SIGINT)
    begun_at = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        bridge(work())
    assert time.monotonic() - begun_at < 30
    assert ended.is_set()
    assert signal.getsignal(signal.SIGINT) is handler


@bridges
def test_a_function_may_wait_for_such_work_itself(bridge: Bridge) -> None:
    assert bridge(caller.in_caller(lambda: caller.run_blocking(caller.in_caller(here)))) == here()


async def numbers() -> AsyncGenerator[int | str, None]:
    yield 1
    yield await caller.in_caller(here)
    yield 3


def test_what_a_generator_yields_comes_in_order_with_what_it_has_done_in_between() -> None:
    assert list(caller.iterate_blocking(numbers())) == [1, here(), 3]


async def test_a_generator_is_served_on_the_loop_of_whoever_iterates() -> None:
    assert [item async for item in caller.iterate(numbers())] == [1, here(), 3]


async def test_a_caller_that_leaves_early_closes_the_generator() -> None:
    closed = threading.Event()

    async def endless() -> AsyncGenerator[int, None]:
        try:
            while True:
                yield 1
                await asyncio.sleep(0)
        finally:
            closed.set()

    events = caller.iterate(endless())
    assert await anext(events) == 1
    await events.aclose()
    assert closed.is_set()


async def test_a_cancelled_caller_cancels_the_coroutine_function_it_runs() -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def forever() -> None:
        begun.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    waiting = asyncio.ensure_future(caller.run(caller.in_caller(forever)))
    await begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert cancelled.is_set()
