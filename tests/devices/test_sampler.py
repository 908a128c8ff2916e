"""Readings are shared by those who watch, and there are none while nobody does."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing

import pytest

from farm_notebook.devices import Sample, Sampler
from farm_notebook.types import DeviceStats


class Bench:
    """A clock that stands until it is moved, and readings that are counted."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.readings = 0
        self.sleeping: list[tuple[float, asyncio.Event]] = []
        self.threads: set[int] = set()

    def read(self) -> tuple[DeviceStats, ...]:
        self.threads.add(threading.get_ident())
        self.readings += 1
        return (DeviceStats("cpu", "cpu", f"reading {self.readings}", 1, 0, 1),)

    async def sleep(self, wait_s: float) -> None:
        woken = asyncio.Event()
        self.sleeping.append((self.now_s + wait_s, woken))
        await woken.wait()

    def pass_time(self, by_s: float) -> None:
        self.now_s += by_s
        for until_s, woken in self.sleeping:
            if until_s <= self.now_s:
                woken.set()

    def sampler(self, interval_s: float = 1.0, keep: int = 300) -> Sampler:
        return Sampler(interval_s, keep=keep, read=self.read, clock=lambda: self.now_s, sleep=self.sleep)


async def settle(times: int = 5) -> None:
    """Let all that can run on the loop run."""
    for _ in range(times):
        await asyncio.sleep(0)


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_the_first_sample_comes_at_once_and_the_next_after_the_interval(bench: Bench) -> None:
    async with aclosing(bench.sampler(2.0).watch()) as watching:
        assert (await anext(watching))[0].name == "reading 1"
        following = asyncio.ensure_future(anext(watching))
        await settle()
        bench.pass_time(1.9)
        await settle()
        assert not following.done()
        bench.pass_time(0.1)
        assert (await following)[0].name == "reading 2"
    assert threading.get_ident() not in bench.threads


async def test_all_who_watch_share_one_reading(bench: Bench) -> None:
    sampler = bench.sampler()
    watchers = [sampler.watch() for _ in range(5)]
    first = await asyncio.gather(*(anext(each) for each in watchers))
    following = asyncio.gather(*(anext(each) for each in watchers))
    await settle()
    bench.pass_time(1.0)
    second = await following
    assert bench.readings == 2
    assert all(each is first[0] for each in first)
    assert all(each is second[0] for each in second)
    for each in watchers:
        await each.aclose()


async def test_who_comes_later_gets_the_fresh_sample_without_a_reading(bench: Bench) -> None:
    sampler = bench.sampler()
    async with aclosing(sampler.watch()) as first, aclosing(sampler.watch()) as later:
        assert await anext(first) is await anext(later)
    assert bench.readings == 1


async def test_nothing_is_read_while_nobody_watches(bench: Bench) -> None:
    sampler = bench.sampler()
    async with aclosing(sampler.watch()) as watching:
        await anext(watching)
        waiting = asyncio.ensure_future(anext(watching))
        await settle()
        waiting.cancel()
        await asyncio.wait([waiting])
    await settle()
    assert asyncio.all_tasks() == {asyncio.current_task()}, "nor does anything wait"
    bench.pass_time(100)
    assert bench.readings == 1
    async with aclosing(sampler.watch()) as watching:
        assert (await anext(watching))[0].name == "reading 2", "the old one is stale"


async def test_one_who_leaves_takes_nothing_from_the_others(bench: Bench) -> None:
    sampler = bench.sampler()
    async with aclosing(sampler.watch()) as stays:
        await anext(stays)
        leaves = sampler.watch()
        await anext(leaves)
        waiting = asyncio.ensure_future(anext(stays))
        going = asyncio.ensure_future(anext(leaves))
        await settle()
        going.cancel()
        await asyncio.wait([going])
        await leaves.aclose()
        bench.pass_time(1)
        assert (await waiting)[0].name == "reading 2"


async def test_one_who_is_slow_misses_samples_and_gets_the_latest(bench: Bench) -> None:
    sampler = bench.sampler()
    async with aclosing(sampler.watch()) as quick, aclosing(sampler.watch()) as slow:
        await anext(quick)
        await anext(slow)
        for _ in range(3):
            following = asyncio.ensure_future(anext(quick))
            await settle()
            bench.pass_time(1)
            await following
        assert (await anext(slow))[0].name == "reading 4"
    assert bench.readings == 4


async def test_the_history_keeps_the_latest_with_their_times(bench: Bench) -> None:
    sampler = bench.sampler(keep=2)
    assert not sampler.history
    async with aclosing(sampler.watch()) as watching:
        await anext(watching)
        for _ in range(3):
            following = asyncio.ensure_future(anext(watching))
            await settle()
            bench.pass_time(1)
            await following
    assert [(each.at_s, each.devices[0].name) for each in sampler.history] == [
        (2, "reading 3"),
        (3, "reading 4"),
    ]
    assert isinstance(sampler.history[0], Sample)


async def test_a_reading_that_hangs_is_waited_for_by_those_who_come_later_too(bench: Bench) -> None:
    going, count = threading.Event(), 0

    def hang() -> tuple[DeviceStats, ...]:
        nonlocal count
        count += 1
        going.wait(30)
        return ()

    sampler = Sampler(read=hang, clock=lambda: bench.now_s, sleep=bench.sleep)
    for _ in range(3):
        watching = sampler.watch()
        waiting = asyncio.ensure_future(anext(watching))
        await settle()
        waiting.cancel()
        await asyncio.wait([waiting])
        await watching.aclose()
    async with aclosing(sampler.watch()) as watching:
        last = asyncio.ensure_future(anext(watching))
        await settle()
        going.set()
        assert await last == ()
    assert count == 1


async def test_what_a_reading_raises_every_watcher_gets(bench: Bench) -> None:
    def fail() -> tuple[DeviceStats, ...]:
        raise ZeroDivisionError

    sampler = Sampler(read=fail, clock=lambda: bench.now_s, sleep=bench.sleep)
    watchers = [sampler.watch(), sampler.watch()]
    ended = await asyncio.gather(*(anext(each) for each in watchers), return_exceptions=True)
    assert [type(each) for each in ended] == [ZeroDivisionError] * 2
