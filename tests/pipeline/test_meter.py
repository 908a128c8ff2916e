"""The meter reads its clock as the events pass, and changes nothing but the timings of the finish mark."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import pytest

from farm_notebook.pipeline import Handler
from farm_notebook.pipeline.meter import meter
from farm_notebook.types import (
    ChatMessage,
    ChatRequest,
    Event,
    Finished,
    LoadProgress,
    ModelRef,
    PromptProgress,
    ReasoningDelta,
    Started,
    TextDelta,
    Timings,
    Usage,
)

REF = ModelRef("scripted", "echo")
REQUEST = ChatRequest(REF, (ChatMessage("user", "hello"),))


class Clock:
    """A clock that is moved by hand, in seconds."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def script(clock: Clock, *steps: float | Event) -> Handler:
    """A handler for which time passes (numbers, in seconds) between its events."""

    async def handler(request: ChatRequest) -> AsyncGenerator[Event, None]:
        for step in steps:
            if isinstance(step, float):
                clock.now += step
            else:
                yield step

    return handler


async def measured(clock: Clock, *steps: float | Event) -> list[Event]:
    return [event async for event in meter(clock)(script(clock, *steps))(REQUEST)]


def timings_of(events: Sequence[Event]) -> Timings:
    finished = events[-1]
    assert isinstance(finished, Finished)
    return finished.timings


async def test_first_token_counts_from_the_start_and_speed_from_the_first_token(clock: Clock) -> None:
    events = await measured(
        clock,
        0.25,
        Started(REF),
        0.5,
        TextDelta("a"),
        1.0,
        TextDelta("b"),
        1.0,
        Finished("stop", Usage(3, 9)),
    )
    assert timings_of(events) == Timings(load_s=0.25, first_token_s=0.5, total_s=2.75, tokens_per_s=4.0)


async def test_loading_counts_as_loading_and_not_as_waiting_for_the_first_token(clock: Clock) -> None:
    loading = LoadProgress("load", 0, 10), 30.0, LoadProgress("load", 10, 10), 2.0
    events = await measured(clock, *loading, Started(REF), 0.5, TextDelta("a"), Finished("stop"))
    assert timings_of(events) == Timings(load_s=32.0, first_token_s=0.5, total_s=32.5)


async def test_reading_the_prompt_counts_as_waiting_for_the_first_token(clock: Clock) -> None:
    events = await measured(
        clock, Started(REF), 2.0, PromptProgress(5, 5), 1.0, TextDelta("a"), Finished("stop", Usage(5, 1))
    )
    assert timings_of(events).first_token_s == 3.0


async def test_reasoning_is_a_first_token_too(clock: Clock) -> None:
    events = await measured(
        clock, Started(REF), 1.0, ReasoningDelta("hm"), 4.0, TextDelta("a"), Finished("stop", Usage(1, 5))
    )
    assert timings_of(events) == Timings(first_token_s=1.0, total_s=5.0, tokens_per_s=1.0)


@pytest.mark.parametrize("tokens", [None, 0, 1])
async def test_speed_is_unknown_without_two_counted_tokens(clock: Clock, tokens: int | None) -> None:
    usage = Usage(output_tokens=tokens)
    events = await measured(clock, Started(REF), TextDelta("a"), 1.0, Finished("stop", usage))
    assert timings_of(events).tokens_per_s is None


async def test_speed_is_unknown_when_no_time_passed(clock: Clock) -> None:
    events = await measured(clock, Started(REF), TextDelta("ab"), Finished("stop", Usage(1, 2)))
    assert timings_of(events).tokens_per_s is None


async def test_an_answer_without_text_has_no_first_token(clock: Clock) -> None:
    events = await measured(clock, Started(REF), 1.5, Finished("stop", Usage(1, 0)))
    assert timings_of(events) == Timings(first_token_s=None, total_s=1.5, tokens_per_s=None)


async def test_every_other_event_passes_untouched_and_in_order(clock: Clock) -> None:
    steps = (
        LoadProgress("fetch", 1, 2),
        Started(REF, cached=True),
        PromptProgress(1, 2),
        ReasoningDelta("hm"),
        TextDelta("a"),
        Finished("length", Usage(1, 2, 3)),
    )
    events = await measured(clock, *steps)
    assert events[:-1] == list(steps[:-1])
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert (finished.reason, finished.usage) == ("length", Usage(1, 2, 3))


async def test_a_stream_without_a_finish_mark_gets_none(clock: Clock) -> None:
    assert await measured(clock, Started(REF), TextDelta("a")) == [Started(REF), TextDelta("a")]


async def test_requests_are_measured_apart(clock: Clock) -> None:
    handler = meter(clock)(script(clock, Started(REF), 1.0, TextDelta("a"), 1.0, Finished("stop")))
    first = [event async for event in handler(REQUEST)]
    second = [event async for event in handler(REQUEST)]
    assert timings_of(first) == timings_of(second) == Timings(first_token_s=1.0, total_s=2.0)


async def test_leaving_early_closes_what_is_measured(clock: Clock) -> None:
    closed = []

    async def endless(request: ChatRequest) -> AsyncGenerator[Event, None]:
        try:
            while True:
                yield TextDelta("word")
        finally:
            closed.append(True)

    async with aclosing(meter(clock)(endless)(REQUEST)) as events:
        await anext(events)
    assert closed == [True]


async def test_an_answer_that_was_kept_has_no_rate(clock: Clock) -> None:
    events = await measured(
        clock, Started(REF, cached=True), TextDelta("a"), 0.5, TextDelta("b"), Finished("stop", Usage(1, 9))
    )
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert finished.usage == Usage(1, 9)
    assert finished.timings == Timings(first_token_s=0.0, total_s=0.5, tokens_per_s=None)
