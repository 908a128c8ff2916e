"""Work that tells how far it is, for as many as want to know."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from toy_loop import virtual_time

from farm_notebook.lifecycle.job import Job, JobStoppedError, Tell
from farm_notebook.types import LoadProgress


async def all_of(events: AsyncIterator[LoadProgress]) -> list[LoadProgress]:
    return [event async for event in events]


@virtual_time
async def test_who_follows_is_told_where_each_stage_begins_and_ends() -> None:
    begun = LoadProgress("load", 0, 5, "cuda:0", 99)

    async def work(tell: Tell) -> str:
        tell(LoadProgress("fetch", 1, 2))
        tell(LoadProgress("fetch", 2, 2))
        tell(begun)
        tell(LoadProgress("load", 3, 5))
        tell(LoadProgress("load", 5, 5))
        return "made"

    job = Job(work)
    assert await all_of(job.follow()) == [
        LoadProgress("fetch", 1, 2),
        LoadProgress("fetch", 2, 2),
        begun,
        LoadProgress("load", 5, 5),
    ]
    assert job.task.result() == "made"


@virtual_time
async def test_the_end_is_told_to_who_was_slow_to_look() -> None:
    go = asyncio.Event()

    async def work(tell: Tell) -> None:
        tell(LoadProgress("load", 1, 3))
        await go.wait()
        tell(LoadProgress("load", 3, 3))

    job = Job(work)
    seen = []
    async with aclosing(job.follow()) as following:
        async for progress in following:
            seen.append(progress.completed_bytes)
            go.set()
            await asyncio.wait([job.task])
    assert seen == [1, 3]


@virtual_time
async def test_progress_never_goes_back_and_comes_from_any_thread() -> None:
    async def work(tell: Tell) -> None:
        def told() -> None:
            for done in (2, 1, 4, 3):
                tell(LoadProgress("load", done, 4))

        thread = threading.Thread(target=told)
        thread.start()
        thread.join()

    assert [event.completed_bytes for event in await all_of(Job(work).follow())] == [2, 4]


@virtual_time
async def test_progress_is_told_while_the_work_goes_on() -> None:
    async def work(tell: Tell) -> None:
        for done in range(1, 4):
            tell(LoadProgress("load", done, 3))
            await asyncio.sleep(1)

    assert [event.completed_bytes for event in await all_of(Job(work).follow())] == [1, 2, 3]


@virtual_time
async def test_what_the_work_raises_is_raised_to_all_who_follow() -> None:
    async def work(tell: Tell) -> None:
        await asyncio.sleep(0)
        raise KeyError("x")

    job = Job(work)
    outcomes = await asyncio.gather(*(all_of(job.follow()) for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [KeyError] * 3
    with pytest.raises(KeyError):
        await all_of(job.follow())


@virtual_time
async def test_the_work_goes_on_while_anybody_follows() -> None:
    async def work(tell: Tell) -> str:
        await asyncio.sleep(1)
        return "made"

    job = Job(work)
    leaving, staying = (asyncio.create_task(all_of(job.follow())) for _ in range(2))
    await asyncio.sleep(0.5)
    leaving.cancel()
    await staying
    assert leaving.cancelled()
    assert job.task.result() == "made"


@virtual_time
async def test_the_last_to_leave_has_left_when_the_work_has_let_go() -> None:
    has_let_go = asyncio.Event()

    async def work(tell: Tell) -> None:
        tell(LoadProgress("load", 0, 1))
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(1)
            has_let_go.set()

    job = Job(work)
    async with aclosing(job.follow()) as following:
        await anext(following)
    assert has_let_go.is_set()
    assert job.task.cancelled()


@virtual_time
async def test_who_is_cancelled_twice_still_waits_until_the_work_has_let_go() -> None:
    has_let_go = asyncio.Event()

    async def work(tell: Tell) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(1)
            has_let_go.set()

    following = asyncio.create_task(all_of(Job(work).follow()))
    for _ in range(2):
        await asyncio.sleep(0.1)
        following.cancel()
    await asyncio.wait([following])
    assert following.cancelled()
    assert has_let_go.is_set()


@virtual_time
async def test_who_comes_to_work_that_was_stopped_is_told_so() -> None:
    async def work(tell: Tell) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(1)

    job = Job(work)
    first = asyncio.create_task(all_of(job.follow()))
    await asyncio.sleep(0.1)
    first.cancel()
    await asyncio.sleep(0.1)
    with pytest.raises(JobStoppedError):
        await all_of(job.follow())


@virtual_time
async def test_nothing_is_logged_where_nobody_looked(caplog: pytest.LogCaptureFixture) -> None:
    async def work(tell: Tell) -> None:
        raise KeyError("x")

    job = Job(work)
    await asyncio.wait([job.task])
    del job
    await asyncio.sleep(0)
    assert caplog.text == ""
