"""The meter reads its clock as the events pass, changes only the finish mark, and tells how a call ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from farm_notebook.errors import ProviderConnectionError, RateLimitedError
from farm_notebook.pipeline import Handler
from farm_notebook.pipeline.meter import meter, meter_embeddings
from farm_notebook.stores.calls import CallRecord
from farm_notebook.stores.history import History
from farm_notebook.stores.redaction import Redaction
from farm_notebook.types import (
    ChatMessage,
    ChatRequest,
    Embeddings,
    Event,
    Finished,
    LoadProgress,
    ModelRef,
    PromptProgress,
    Queued,
    ReasoningDelta,
    Rerouted,
    Retrying,
    Route,
    Started,
    TextDelta,
    Timings,
    ToolCall,
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
    assert timings_of(events) == Timings(first_token_s=0.5, total_s=2.75, tokens_per_s=4.0)


async def test_what_passes_before_the_start_is_no_loading_where_nothing_is_loaded(clock: Clock) -> None:
    events = await measured(clock, 30.0, Started(REF), 0.5, TextDelta("a"), Finished("stop"))
    assert timings_of(events) == Timings(load_s=0.0, first_token_s=0.5, total_s=30.5)


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


# Waiting for a limit


async def test_waiting_for_a_limit_is_neither_loading_nor_waiting_for_the_first_token(clock: Clock) -> None:
    waiting = Queued(REF, "requests_per_minute", 4.0), 4.0, Queued(REF, "concurrency", 1.0), 1.0
    loading = LoadProgress("load", 0, 10), 2.0
    events = await measured(
        clock, 0.5, *waiting, *loading, Started(REF), 0.25, TextDelta("a"), Finished("stop")
    )
    assert timings_of(events) == Timings(queue_s=5.0, load_s=2.5, first_token_s=0.25, total_s=7.75)


async def test_a_wait_before_another_attempt_counts_as_waiting_too(clock: Clock) -> None:
    again = Retrying(REF, "busy", 1.0), 1.0, Queued(REF, "concurrency", 3.0), 3.0
    events = await measured(
        clock, Started(REF), 0.5, *again, Started(REF), 0.25, TextDelta("a"), Finished("stop")
    )
    assert timings_of(events) == Timings(queue_s=3.0, first_token_s=0.25, total_s=4.75)


# What it cost


class Tariff:
    """Prices that are known after a while: a dollar a token of the answer, and nothing else."""

    def __init__(self) -> None:
        self.prepared: list[ModelRef] = []
        self.waits = 0

    def prepare(self, ref: ModelRef) -> None:
        self.prepared.append(ref)

    async def ready(self, ref: ModelRef) -> None:
        self.waits += 1
        await asyncio.sleep(0)

    def cost(self, ref: ModelRef, usage: Usage) -> float | None:
        return None if usage.output_tokens is None else float(usage.output_tokens)


def cost_of(events: Sequence[Event]) -> float | None:
    finished = events[-1]
    assert isinstance(finished, Finished)
    return finished.cost


async def priced(clock: Clock, tariff: Tariff, *steps: float | Event) -> list[Event]:
    return [event async for event in meter(clock, prices=tariff)(script(clock, *steps))(REQUEST)]


async def test_the_finish_mark_says_what_the_answer_cost(clock: Clock) -> None:
    tariff = Tariff()
    events = await priced(clock, tariff, Started(REF), TextDelta("a"), Finished("stop", Usage(3, 9)))
    assert cost_of(events) == 9.0
    assert (tariff.prepared, tariff.waits) == ([REF], 1)


async def test_a_cost_that_is_not_known_is_none(clock: Clock) -> None:
    assert cost_of(await priced(clock, Tariff(), Started(REF), Finished("stop"))) is None
    assert cost_of(await measured(clock, Started(REF), Finished("stop", Usage(1, 2)))) is None


async def test_what_was_kept_costs_nothing_and_nobody_waits_for_prices(clock: Clock) -> None:
    tariff = Tariff()
    kept = Started(REF, cached=True), TextDelta("a"), Finished("stop", Usage(3, 9))
    assert cost_of(await priced(clock, tariff, *kept)) == 0.0
    assert tariff.waits == 0


async def test_the_price_is_that_of_the_model_that_answered(clock: Clock) -> None:
    other = ModelRef("other", "model")
    asked: list[ModelRef] = []

    class Recording(Tariff):
        def cost(self, ref: ModelRef, usage: Usage) -> float | None:
            asked.append(ref)
            return 1.0

    steps = Started(REF), Rerouted(REF, other, "down"), Started(other), Finished("stop", Usage(1, 1))
    await priced(clock, Recording(), *steps)
    assert asked == [other]


# What is told of a call


async def recorded(clock: Clock, handler: Handler, request: ChatRequest = REQUEST) -> CallRecord:
    """What is told of the one call."""
    told: list[CallRecord] = []
    policy = meter(
        clock,
        prices=Tariff(),
        record=told.append,
        notebook=lambda: "study.ipynb",
        environment="staging",
        now=lambda: 1_700_000_000.0,
    )
    try:
        async for _ in policy(handler)(request):
            pass
    except ProviderConnectionError:
        pass
    (call,) = told
    return call


async def test_a_finished_call_is_told_of_whole(clock: Clock) -> None:
    request = replace(REQUEST, route=Route("fast"), seed=7)
    other, tool_call = ModelRef("other", "model"), ToolCall("1", "weather", "{}")
    call = await recorded(
        clock,
        script(
            clock,
            Rerouted(REF, other, "it was down"),
            Started(other),
            1.0,
            ReasoningDelta("h"),
            ReasoningDelta("m"),
            TextDelta("a"),
            TextDelta("b"),
            tool_call,
            Finished("tool_calls", Usage(3, 9)),
        ),
        request,
    )
    assert call == CallRecord(
        at=1_700_000_000.0,
        kind="chat",
        request=request,
        ref=other,
        texts=("a", "b"),
        reasoning=("h", "m"),
        tool_calls=(tool_call,),
        usage=Usage(3, 9),
        cost=9.0,
        timings=Timings(first_token_s=1.0, total_s=1.0),
        finish_reason="tool_calls",
        is_taken=True,
        rerouted="it was down",
        notebook="study.ipynb",
        environment="staging",
    )
    assert call.fingerprint == request.fingerprint()


async def test_a_kept_answer_is_told_of_as_kept(clock: Clock) -> None:
    call = await recorded(clock, script(clock, Started(REF, cached=True), Finished("stop", Usage(3, 9))))
    assert (call.is_cached, call.cost) == (True, 0.0)


async def test_a_failed_call_is_told_of_with_what_had_arrived(clock: Clock) -> None:
    async def failing(request: ChatRequest) -> AsyncGenerator[Event, None]:
        yield Started(REF)
        yield TextDelta("half")
        clock.now += 2.0
        raise ProviderConnectionError("the line\nbroke", provider="scripted")

    call = await recorded(clock, failing)
    assert (call.error, call.problem) == ("ProviderConnectionError", "the line broke")
    assert (call.texts, call.finish_reason, call.is_taken) == (("half",), None, True)
    assert (call.usage, call.cost, call.timings.total_s) == (Usage(), None, 2.0)


async def test_a_call_that_no_model_took_is_told_of_as_such(clock: Clock) -> None:
    async def refused(request: ChatRequest) -> AsyncGenerator[Event, None]:
        raise ProviderConnectionError("nobody there", provider="scripted")
        yield Started(REF)  # type: ignore[unreachable]  # what makes this a generator

    assert not (await recorded(clock, refused)).is_taken


async def test_a_call_that_failed_while_it_waited_is_told_of_with_its_wait(clock: Clock) -> None:
    async def impatient(request: ChatRequest) -> AsyncGenerator[Event, None]:
        yield Queued(REF, "concurrency", 5.0)
        clock.now += 4.0
        raise ProviderConnectionError("gone", provider="scripted")

    call = await recorded(clock, impatient)
    assert (call.timings, call.is_taken) == (Timings(queue_s=4.0, total_s=4.0), False)


async def test_a_stream_without_a_finish_mark_is_told_of_as_incomplete(clock: Clock) -> None:
    call = await recorded(clock, script(clock, Started(REF), TextDelta("a")))
    assert call.error == "IncompleteStreamError"


async def test_a_caller_who_leaves_is_told_of_once(clock: Clock) -> None:
    told: list[CallRecord] = []
    handler = meter(clock, record=told.append)(script(clock, Started(REF), TextDelta("a"), TextDelta("b")))
    async with aclosing(handler(REQUEST)) as events:
        await anext(events)
        await anext(events)
    (call,) = told
    assert (call.error, call.problem, call.texts) == ("cancelled", None, ("a",))


async def test_a_cancelled_task_is_told_of_and_stays_cancelled(clock: Clock) -> None:
    told: list[CallRecord] = []
    waiting = asyncio.Event()

    async def stuck(request: ChatRequest) -> AsyncGenerator[Event, None]:
        yield Started(REF)
        waiting.set()
        await asyncio.Event().wait()

    async def ask() -> None:
        async for _ in meter(clock, record=told.append)(stuck)(REQUEST):
            pass

    task = asyncio.create_task(ask())
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [call.error for call in told] == ["cancelled"]


async def test_leaving_after_the_finish_mark_is_no_cancel(clock: Clock) -> None:
    told: list[CallRecord] = []
    handler = meter(clock, record=told.append)(script(clock, Started(REF), Finished("stop", Usage(1, 1))))
    async with aclosing(handler(REQUEST)) as events:
        while not isinstance(await anext(events), Finished):
            pass
    assert [(call.error, call.finish_reason) for call in told] == [(None, "stop")]


async def test_of_many_calls_at_once_each_is_told_of_once_however_it_ends() -> None:
    told: list[CallRecord] = []
    release = asyncio.Event()

    async def mixed(request: ChatRequest) -> AsyncGenerator[Event, None]:
        number = request.seed or 0
        yield Started(REF)
        await release.wait()
        if number % 3 == 1:
            raise ProviderConnectionError("down", provider="scripted")
        if number % 3 == 2:
            await asyncio.Event().wait()
        yield TextDelta(f"{number}")
        yield Finished("stop", Usage(1, 1))

    handler = meter(prices=Tariff(), record=told.append)(mixed)

    async def ask(number: int) -> None:
        async for _ in handler(replace(REQUEST, seed=number)):
            pass

    tasks = [asyncio.create_task(ask(number)) for number in range(300)]
    await asyncio.sleep(0)
    release.set()
    await asyncio.wait([task for number, task in enumerate(tasks) if number % 3 != 2])
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert sorted(call.request.seed or 0 for call in told) == [*range(300)]
    ends = [None, "ProviderConnectionError", "cancelled"]
    assert all(call.error == ends[(call.request.seed or 0) % 3] for call in told)
    assert {call.texts for call in told if call.error is None} == {
        (f"{number}",) for number in range(0, 300, 3)
    }


async def test_what_is_told_goes_into_a_history_without_keys(clock: Clock, tmp_path: Path) -> None:
    key = "sk-PLANTED-0123456789"
    history = History(
        tmp_path / "history.sqlite", keep_days=100_000, max_bytes=50_000_000, redact=Redaction(lambda: [key])
    )
    request = replace(REQUEST, messages=(ChatMessage("user", f"Is {key} a key?"),))

    async def failing(request: ChatRequest) -> AsyncGenerator[Event, None]:
        yield Started(REF)
        yield TextDelta("sk-PLANTED-")
        yield TextDelta("0123456789 is")
        raise ProviderConnectionError(f"{key} is refused", provider="scripted")

    with pytest.raises(ProviderConnectionError):
        async for _ in meter(clock, record=history.record)(failing)(request):
            pass
    (call,) = await history.calls()
    assert (call.question, call.text, call.problem) == ("Is *** a key?", "*** is", "*** is refused")
    await history.aclose()
    assert b"PLANTED" not in content(tmp_path)


def content(folder: Path) -> bytes:
    """Every byte that is in the files of a folder."""
    return b"".join(file.read_bytes() for file in folder.iterdir())


# Embeddings


async def embed(texts: Sequence[str], ref: ModelRef) -> Embeddings:
    if ref.model == "busy":
        raise RateLimitedError("too many", provider=ref.provider)
    tokens = 0 if ref.model == "kept" else 2 * len(texts)
    return Embeddings(tuple((1.0,) for _ in texts), ref, Usage(tokens))


@pytest.mark.parametrize(("model", "is_cached"), [("embedder", False), ("kept", True)])
async def test_embeddings_are_told_of_with_their_texts(model: str, is_cached: bool) -> None:
    told: list[CallRecord] = []
    ref = ModelRef("scripted", model)
    embeddings = await meter_embeddings(embed, prices=Tariff(), record=told.append)(("a", "b"), ref)
    assert embeddings == await embed(("a", "b"), ref)
    (call,) = told
    assert (call.kind, call.ref, call.usage.output_tokens, call.cost) == ("embedding", ref, None, 0.0)
    assert [message.content for message in call.request.messages] == ["a", "b"]
    assert (call.is_cached, call.is_taken, call.error) == (is_cached, True, None)
    assert call.fingerprint is None


async def test_embeddings_that_fail_are_told_of_and_raise(clock: Clock) -> None:
    told: list[CallRecord] = []
    with pytest.raises(RateLimitedError):
        await meter_embeddings(embed, record=told.append)(("a",), ModelRef("scripted", "busy"))
    assert [(call.kind, call.error, call.is_taken) for call in told] == [
        ("embedding", "RateLimitedError", False)
    ]


def test_without_a_history_embeddings_are_left_as_they_are() -> None:
    assert meter_embeddings(embed) is embed
