"""Equal requests share one stream; it outlives whoever leaves, and ends with the last of them."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm_notebook import errors
from farm_notebook.errors import (
    BudgetExceededError,
    FarmError,
    InvalidAnswerError,
    NoTargetAnsweredError,
    ProviderError,
    ProviderTimeoutError,
)
from farm_notebook.pipeline.single_flight import SingleFlight

Start = Callable[[], AsyncGenerator[int, None]]


class Source:
    """A stream that gives what it is fed, and counts how often it was started and closed."""

    def __init__(self) -> None:
        self.feed: asyncio.Queue[int | BaseException | None] = asyncio.Queue()
        self.started = self.closed = 0

    def __call__(self) -> AsyncGenerator[int, None]:
        return self._items()

    async def _items(self) -> AsyncGenerator[int, None]:
        self.started += 1
        try:
            while (item := await self.feed.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            await asyncio.sleep(0)  # as a connection takes a moment to close
            self.closed += 1

    def give(self, *items: int | BaseException | None) -> None:
        for item in items:
            self.feed.put_nowait(item)


class Caller:
    """One who joins, and what it got."""

    def __init__(self, flights: SingleFlight[int], start: Start, key: str = "key", *, anew: bool = False):
        self.got: list[int] = []
        self._news = asyncio.Event()
        self.task = asyncio.create_task(self._ride(flights, key, start, anew))

    async def _ride(self, flights: SingleFlight[int], key: str, start: Start, anew: bool) -> None:
        async with aclosing(flights.join(key, start, anew=anew)) as items:
            async for item in items:
                self.got.append(item)
                self._news.set()

    async def has(self, *items: int) -> None:
        """Wait until exactly these have arrived."""
        async with asyncio.timeout(5):
            while len(self.got) < len(items):
                self._news.clear()
                await self._news.wait()
        assert self.got == [*items]

    async def leave(self) -> None:
        self.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self.task


@pytest.fixture
def flights() -> SingleFlight[int]:
    return SingleFlight()


@pytest.fixture
def source() -> Source:
    return Source()


async def test_equal_keys_share_one_stream(flights: SingleFlight[int], source: Source) -> None:
    callers = [Caller(flights, source) for _ in range(20)]
    source.give(1, 2, None)
    await asyncio.gather(*(caller.task for caller in callers))
    assert [caller.got for caller in callers] == [[1, 2]] * 20
    assert (source.started, source.closed) == (1, 1)


async def test_other_keys_have_other_streams(flights: SingleFlight[int], source: Source) -> None:
    callers = [Caller(flights, source, key) for key in "ab"]
    source.give(None, None)
    await asyncio.gather(*(caller.task for caller in callers))
    assert source.started == 2


async def test_who_comes_late_gets_everything_and_then_what_comes(
    flights: SingleFlight[int], source: Source
) -> None:
    first = Caller(flights, source)
    source.give(1, 2)
    await first.has(1, 2)
    late = Caller(flights, source)
    await late.has(1, 2)
    source.give(3)
    await first.has(1, 2, 3)
    await late.has(1, 2, 3)
    source.give(None)
    await asyncio.gather(first.task, late.task)


async def test_who_comes_after_the_end_starts_anew(flights: SingleFlight[int], source: Source) -> None:
    for _ in range(2):
        caller = Caller(flights, source)
        source.give(1, None)
        await caller.task
        assert caller.got == [1]
    assert source.started == 2


async def test_the_stream_goes_on_when_the_first_caller_leaves(
    flights: SingleFlight[int], source: Source
) -> None:
    first = Caller(flights, source)
    source.give(1)
    await first.has(1)
    second = Caller(flights, source)
    await second.has(1)
    await first.leave()
    assert source.closed == 0
    source.give(2, None)
    await second.task
    assert second.got == [1, 2]


async def test_the_last_to_leave_closes_the_stream_before_it_is_gone(
    flights: SingleFlight[int], source: Source
) -> None:
    callers = [Caller(flights, source) for _ in range(3)]
    source.give(1)
    for caller in callers:
        await caller.has(1)
    for caller in callers[:2]:
        await caller.leave()
    assert source.closed == 0
    await callers[2].leave()
    assert source.closed == 1


async def test_a_reader_that_breaks_off_closes_the_stream(flights: SingleFlight[int], source: Source) -> None:
    source.give(1, 2)
    async with aclosing(flights.join("key", source)) as items:
        assert await anext(items) == 1
    assert source.closed == 1


async def test_nobody_joins_a_stream_that_is_being_closed(flights: SingleFlight[int], source: Source) -> None:
    first = Caller(flights, source)
    source.give(1)
    await first.has(1)
    first.task.cancel()
    await asyncio.sleep(0)  # it has left, and waits for the stream to close
    second = Caller(flights, source)
    source.give(7, None)
    await second.task
    assert second.got == [7]
    assert source.started == 2


async def test_what_is_never_read_is_never_started(flights: SingleFlight[int], source: Source) -> None:
    items = flights.join("key", source)
    await items.aclose()
    assert source.started == 0


async def test_a_stream_asked_for_anew_joins_none_and_is_joined(
    flights: SingleFlight[int], source: Source
) -> None:
    old, new = Caller(flights, source), Source()
    source.give(1)
    await old.has(1)
    fresh = Caller(flights, new, anew=True)
    new.give(8)
    await fresh.has(8)
    later = Caller(flights, new)
    await later.has(8)
    source.give(None)
    await old.task
    latest = Caller(flights, new)
    await latest.has(8)  # the end of the old one did not make the new one forgotten
    new.give(None)
    await asyncio.gather(fresh.task, later.task, latest.task)
    assert (source.started, new.started) == (1, 1)


async def test_a_failure_reaches_all_after_what_had_come(flights: SingleFlight[int], source: Source) -> None:
    callers = [Caller(flights, source) for _ in range(3)]
    source.give(1, ProviderError("broken", provider="toy", status=500))
    for caller in callers:
        with pytest.raises(ProviderError, match="broken") as caught:
            await caller.task
        assert (caught.value.provider, caught.value.status) == ("toy", 500)
        assert caller.got == [1]
    assert source.closed == 1


async def test_each_gets_an_error_of_its_own_that_does_not_grow(
    flights: SingleFlight[int], source: Source
) -> None:
    callers = [Caller(flights, source) for _ in range(5)]
    source.give(ProviderError("broken"))
    outcomes = await asyncio.gather(*(caller.task for caller in callers), return_exceptions=True)
    raised = [outcome for outcome in outcomes if isinstance(outcome, ProviderError)]
    assert len({id(error) for error in raised}) == 5
    raised[0].partial_text = "mine"
    assert [error.partial_text for error in raised[1:]] == [""] * 4
    depths = [len(traceback.extract_tb(error.__traceback__)) for error in raised]
    assert max(depths[1:]) <= depths[0]


MORE: dict[type[FarmError], dict[str, Any]] = {  # what a class cannot be made without
    BudgetExceededError: {"budget": "budget.cost_per_day"},
    InvalidAnswerError: {"text": "{}"},
    NoTargetAnsweredError: {"causes": [ProviderError("broken")]},
    ProviderTimeoutError: {"timer": "idle"},
}


def every_error() -> list[FarmError]:
    made: list[FarmError] = []
    for name in errors.__all__:
        kind = getattr(errors, name)
        if isinstance(kind, type) and issubclass(kind, FarmError):
            made.append(kind("what happened", **MORE.get(kind, {})))
    return made


@pytest.mark.parametrize("error", [*every_error(), OSError(2, "gone", "x.gguf"), KeyError("k")], ids=repr)
async def test_any_error_can_be_had_twice(
    error: Exception, flights: SingleFlight[int], source: Source
) -> None:
    callers = [Caller(flights, source) for _ in range(2)]
    source.give(error)
    outcomes = await asyncio.gather(*(caller.task for caller in callers), return_exceptions=True)
    first, second = outcomes
    assert first is error
    assert isinstance(second, Exception)
    assert second is not error
    assert (type(second), str(second), second.args) == (type(error), str(error), error.args)
    assert vars(second) == vars(error)


async def test_a_failed_stream_is_not_joined_any_more(flights: SingleFlight[int], source: Source) -> None:
    for _ in range(2):
        caller = Caller(flights, source)
        source.give(ProviderError("broken"))
        with pytest.raises(ProviderError):
            await caller.task
    assert source.started == 2


async def test_a_stream_that_is_cancelled_from_within_cancels_all(
    flights: SingleFlight[int], source: Source
) -> None:
    callers = [Caller(flights, source) for _ in range(2)]
    source.give(asyncio.CancelledError())
    for caller in callers:
        with pytest.raises(asyncio.CancelledError):
            await caller.task


@given(st.lists(st.sampled_from(["join", "leave", "item", "turn"]), max_size=40), st.booleans())
async def test_whatever_order_they_come_and_go_in_nobody_misses_or_repeats_anything(
    steps: list[str], fails: bool
) -> None:
    flights = SingleFlight[int]()
    sources: list[Source] = []
    given_to: dict[int, list[int]] = {}

    def start() -> AsyncGenerator[int, None]:
        sources.append(Source())
        given_to[id(sources[-1])] = []
        return sources[-1]()

    number = 0
    callers: list[Caller] = []
    for step in steps:
        if step == "join":
            callers.append(Caller(flights, start))
        elif step == "leave" and callers:
            await callers.pop(0).leave()
        elif step == "item" and sources and sources[-1].closed == 0:
            number += 1
            sources[-1].give(number)
            given_to[id(sources[-1])].append(number)
        else:
            await asyncio.sleep(0)
    await asyncio.sleep(0)  # whoever joined last has started
    for source in sources:
        source.give(ProviderError("broken") if fails else None)
    outcomes = await asyncio.gather(*(caller.task for caller in callers), return_exceptions=True)
    assert all(isinstance(outcome, ProviderError) == fails for outcome in outcomes)
    whole = [*given_to.values()]
    for caller in callers:
        assert caller.got in whole
    assert all(source.closed == source.started == 1 for source in sources)


async def test_a_stream_on_another_loop_is_not_joined(flights: SingleFlight[int], source: Source) -> None:
    first, elsewhere = Caller(flights, source), Source()
    source.give(1)
    await first.has(1)
    elsewhere.give(2, None)

    async def join() -> list[int]:
        return [item async for item in flights.join("key", elsewhere)]

    assert await asyncio.to_thread(lambda: asyncio.run(join())) == [2]
    source.give(None)
    await first.task
    assert (source.started, elsewhere.started) == (1, 1)


async def test_no_task_is_left(flights: SingleFlight[int], source: Source) -> None:
    before = asyncio.all_tasks()
    caller = Caller(flights, source)
    source.give(1)
    await caller.has(1)
    await caller.leave()
    assert asyncio.all_tasks() == before
