"""Each timer ends a stream that went silent, and names itself; what the caller cancels stays cancelled."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from farm_notebook.config import TimeoutConfig
from farm_notebook.errors import ProviderTimeoutError, TimerName
from farm_notebook.pipeline import Handler
from farm_notebook.pipeline.timers import timers
from farm_notebook.types import (
    ChatMessage,
    ChatRequest,
    Event,
    Finished,
    LoadProgress,
    ModelRef,
    PromptProgress,
    Started,
    TextDelta,
)

REF = ModelRef("scripted", "echo")
REQUEST = ChatRequest(REF, (ChatMessage("user", "hello"),))
SHORT_S = 0.05
LONG_S = 60.0
FOR_EVER = math.inf


class Script:
    """Waits (numbers, in seconds) and says events in turn, and remembers that it was closed."""

    def __init__(self, *steps: float | Event) -> None:
        self.steps = steps
        self.closed = False

    async def __call__(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        try:
            for step in self.steps:
                if isinstance(step, int | float):
                    await asyncio.sleep(step)
                else:
                    yield step
        finally:
            self.closed = True


def limits(
    *, first_event_s: float | None = LONG_S, idle_s: float | None = LONG_S, total_s: float | None = LONG_S
) -> TimeoutConfig:
    return TimeoutConfig(first_event_s=first_event_s, idle_s=idle_s, total_s=total_s)


async def collect(handler: Handler) -> list[Event]:
    return [event async for event in handler(REQUEST)]


async def timeout_of(script: Script, timeouts: TimeoutConfig) -> ProviderTimeoutError:
    with pytest.raises(ProviderTimeoutError) as caught:
        await asyncio.wait_for(collect(timers(timeouts)(script)), LONG_S / 2)
    return caught.value


@pytest.mark.parametrize(
    ("script", "timeouts", "timer", "variable"),
    [
        (
            Script(Started(REF), FOR_EVER),
            limits(first_event_s=SHORT_S),
            "first event",
            "FARM_TIMEOUTS__FIRST_EVENT_S",
        ),
        (
            Script(Started(REF), TextDelta("a"), FOR_EVER),
            limits(idle_s=SHORT_S),
            "idle",
            "FARM_TIMEOUTS__IDLE_S",
        ),
        (
            Script(Started(REF), PromptProgress(1, 2), FOR_EVER),
            limits(idle_s=SHORT_S),
            "idle",
            "FARM_TIMEOUTS__IDLE_S",
        ),
        (
            Script(Started(REF), *(TextDelta("a"), 0.01) * 2_000),
            limits(total_s=SHORT_S),
            "total",
            "FARM_TIMEOUTS__TOTAL_S",
        ),
        (
            Script(Started(REF), FOR_EVER),
            limits(first_event_s=None, total_s=SHORT_S),
            "total",
            "FARM_TIMEOUTS__TOTAL_S",
        ),
        (
            Script(Started(REF), FOR_EVER),
            limits(first_event_s=LONG_S, total_s=SHORT_S),
            "total",
            "FARM_TIMEOUTS__TOTAL_S",
        ),
        (
            Script(Started(REF), TextDelta("a"), FOR_EVER),
            limits(first_event_s=SHORT_S, idle_s=2 * SHORT_S),
            "idle",
            "FARM_TIMEOUTS__IDLE_S",
        ),
    ],
    ids=[
        "first event",
        "idle after text",
        "idle after reading the prompt",
        "total while events come",
        "total without a first event timer",
        "total before the first event timer",
        "idle once the first event came",
    ],
)
async def test_the_timer_that_ran_out_is_named(
    script: Script, timeouts: TimeoutConfig, timer: TimerName, variable: str
) -> None:
    error = await timeout_of(script, timeouts)
    assert error.timer == timer
    assert error.provider == "scripted"
    assert "scripted:echo" in str(error)
    assert f"the {timer} timer ran out" in str(error)
    assert variable in str(error)
    assert script.closed


async def test_the_message_says_how_long_was_waited() -> None:
    error = await timeout_of(Script(Started(REF), FOR_EVER), limits(first_event_s=0.05))
    assert "after 0.05 s" in str(error)


async def test_it_is_a_timeout_error_too() -> None:
    assert isinstance(await timeout_of(Script(Started(REF), FOR_EVER), limits(total_s=SHORT_S)), TimeoutError)


async def test_what_came_before_the_silence_is_passed_on() -> None:
    seen = []
    script = Script(Started(REF), TextDelta("a"), TextDelta("b"), FOR_EVER)

    async def read() -> None:
        async for event in timers(limits(idle_s=SHORT_S))(script)(REQUEST):
            seen.append(event)

    with pytest.raises(ProviderTimeoutError):
        await read()
    assert seen == [Started(REF), TextDelta("a"), TextDelta("b")]


async def test_loading_is_exempt_from_every_timer() -> None:
    slow = 3 * SHORT_S
    steps = (slow, LoadProgress("fetch", 0, 9), slow, LoadProgress("load", 9, 9), slow, Started(REF))
    timeouts = limits(first_event_s=SHORT_S, idle_s=SHORT_S, total_s=SHORT_S)
    events = await collect(timers(timeouts)(Script(*steps, TextDelta("a"), Finished("stop"))))
    assert events[-2:] == [TextDelta("a"), Finished("stop")]


async def test_the_idle_timer_starts_anew_with_every_event() -> None:
    pauses = (0.1, TextDelta("a")) * 12
    events = await collect(timers(limits(idle_s=1.0))(Script(Started(REF), *pauses, Finished("stop"))))
    assert len(events) == 14


async def test_after_its_finish_mark_a_stream_may_take_its_time_to_close() -> None:
    script = Script(Started(REF), TextDelta("a"), Finished("stop"), 5 * SHORT_S)
    timeouts = limits(first_event_s=SHORT_S, idle_s=SHORT_S, total_s=2 * SHORT_S)
    assert (await collect(timers(timeouts)(script)))[-1] == Finished("stop")


async def test_without_timers_a_stream_may_take_its_time() -> None:
    timeouts = limits(first_event_s=None, idle_s=None, total_s=None)
    script = Script(Started(REF), 0.1, TextDelta("a"), 0.1, Finished("stop"))
    assert len(await collect(timers(timeouts)(script))) == 3


async def test_the_time_a_reader_takes_does_not_count_as_silence() -> None:
    handler = timers(limits(first_event_s=SHORT_S, idle_s=SHORT_S))
    script = Script(Started(REF), TextDelta("a"), TextDelta("b"), Finished("stop"))
    seen = []
    async for event in handler(script)(REQUEST):
        seen.append(event)
        await asyncio.sleep(2 * SHORT_S)
    assert len(seen) == 4


async def test_a_timeout_error_of_the_provider_is_not_taken_for_a_timer() -> None:
    async def broken(request: ChatRequest) -> AsyncGenerator[Event, None]:
        yield Started(REF)
        raise TimeoutError("the provider's own")

    with pytest.raises(TimeoutError, match="the provider's own") as caught:
        await collect(timers(limits())(broken))
    assert not isinstance(caught.value, ProviderTimeoutError)


async def test_a_cancelled_caller_stays_cancelled() -> None:
    script = Script(Started(REF), FOR_EVER)
    task = asyncio.create_task(collect(timers(limits())(script)))
    await asyncio.sleep(SHORT_S)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert script.closed


async def test_the_callers_own_timeout_is_the_callers() -> None:
    script = Script(Started(REF), FOR_EVER)

    async def read() -> None:
        async with asyncio.timeout(SHORT_S):
            await collect(timers(limits())(script))

    with pytest.raises(TimeoutError) as caught:
        await read()
    assert not isinstance(caught.value, ProviderTimeoutError)
    assert script.closed


async def test_a_caller_that_leaves_early_closes_the_stream() -> None:
    script = Script(Started(REF), TextDelta("a"), FOR_EVER)
    async with aclosing(timers(limits())(script)(REQUEST)) as events:
        assert await anext(events) == Started(REF)
    assert script.closed


async def test_requests_are_timed_apart() -> None:
    handler = timers(limits(total_s=0.5))(Script(Started(REF), 0.3, Finished("stop")))
    for _ in range(2):
        assert len(await collect(handler)) == 2
