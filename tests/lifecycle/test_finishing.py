"""Work that is brought to its end, whatever happens to who waits for it, or because nobody does."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest
from toy_loop import virtual_time

from farm_notebook.lifecycle.finishing import call_off, finish, tried


class Kept:
    """Something that a frame holds."""


@virtual_time
async def test_what_work_returns_is_returned() -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return 3

    assert await finish(work()) == 3


@virtual_time
async def test_what_work_raises_is_raised() -> None:
    async def work() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await finish(work())


@pytest.mark.parametrize("cancels", [1, 3])
@virtual_time
async def test_a_cancel_is_raised_when_the_work_is_done(cancels: int) -> None:
    go, done = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await go.wait()
        done.set()

    task = asyncio.create_task(finish(work()))
    for _ in range(cancels):
        await asyncio.sleep(0)
        task.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done.is_set()


@virtual_time
async def test_a_cancel_counts_more_than_what_the_work_raises() -> None:
    go = asyncio.Event()

    async def work() -> None:
        await go.wait()
        raise KeyError("x")

    task = asyncio.create_task(finish(work()))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task


@virtual_time
async def test_a_timeout_around_it_ends_when_the_work_is_done() -> None:
    done = asyncio.Event()

    async def work() -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        done.set()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await finish(work())
    assert done.is_set()


@virtual_time
async def test_a_cancel_keeps_nothing_of_its_callers() -> None:
    go = asyncio.Event()
    kept: list[weakref.ref[Kept]] = []

    async def caller() -> None:
        mine = Kept()
        kept.append(weakref.ref(mine))
        await finish(wait())

    async def wait() -> None:
        await go.wait()

    gc.collect()
    gc.disable()
    try:
        task = asyncio.create_task(caller())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        go.set()
        await asyncio.wait([task])
        del task
        await asyncio.sleep(0)
        assert kept[0]() is None
    finally:
        gc.enable()


@virtual_time
async def test_what_was_tried_tells_its_error() -> None:
    async def work(error: BaseException | None) -> None:
        if error is not None:
            raise error

    error = KeyError("x")
    assert await tried(work(None)) == []
    assert await tried(work(error)) == [error]
    with pytest.raises(asyncio.CancelledError):
        await tried(work(asyncio.CancelledError()))


@virtual_time
async def test_what_is_called_off_has_let_go() -> None:
    has_let_go = False

    async def work() -> None:
        nonlocal has_let_go
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(1)
            has_let_go = True

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    await call_off(task)
    assert has_let_go
    assert task.cancelled()


@pytest.mark.parametrize("has_ended", [True, False])
@virtual_time
async def test_the_error_of_what_is_called_off_is_not_logged_as_forgotten(
    has_ended: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        try:
            await asyncio.sleep(1)
        finally:
            raise KeyError("x")

    task = asyncio.create_task(work())
    await asyncio.sleep(2 if has_ended else 0)
    await call_off(task)
    del task
    gc.collect()
    assert not caplog.records
