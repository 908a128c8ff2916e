"""A provider that failed again and again is left alone; one request in a while finds out if it is back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from farm_notebook import errors
from farm_notebook.config import BreakerConfig
from farm_notebook.errors import (
    AuthenticationError,
    BackendCrashedError,
    BreakerOpenError,
    ContextLengthError,
    FarmError,
    IncompleteStreamError,
    InvalidRequestError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
    RateLimitedError,
)
from farm_notebook.pipeline import Handler
from farm_notebook.pipeline.breaker import Breakers, breaker, is_failure
from farm_notebook.types import (
    ChatMessage,
    ChatRequest,
    Event,
    Finished,
    LoadProgress,
    ModelRef,
    PromptProgress,
    ReasoningDelta,
    Retrying,
    Started,
    TextDelta,
    ToolCall,
)

T = TypeVar("T")

REF = ModelRef("toy", "a")
DOWN = ProviderConnectionError("Nothing answers at http://toy.\nStart it.")
ANSWER = (Started(REF), TextDelta("yes"), Finished("stop"))
CONFIG = BreakerConfig(failures=2, open_s=10, longest_open_s=35)


class Clock:
    """Seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Provider:
    """A handler that plays what ``steps`` says now, and counts who came."""

    def __init__(self) -> None:
        self.steps: tuple[Event | BaseException, ...] = ANSWER
        self.asked = 0

    async def __call__(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        self.asked += 1
        for step in self.steps:
            if isinstance(step, BaseException):
                raise step
            yield step


class Bench:
    """A breaker before a provider, with a clock of its own."""

    def __init__(self, config: BreakerConfig = CONFIG) -> None:
        self.clock = Clock()
        self.provider = Provider()
        self.breakers = Breakers(config, clock=self.clock)
        self.handler = breaker(self.breakers)(self.provider)

    @property
    def state(self) -> str:
        return self.breakers.state("toy")

    async def ask(self, *steps: Event | BaseException) -> BaseException | None:
        """One request, of which the provider makes this; the error that ended it."""
        self.provider.steps = steps or ANSWER
        return await ended(self.handler)

    async def fail(self, times: int = 1) -> None:
        for _ in range(times):
            assert await self.ask(DOWN) is DOWN


def request_to(provider: str = "toy") -> ChatRequest:
    return ChatRequest(ModelRef(provider, "a"), (ChatMessage("user", "hello"),))


async def ended(handler: Handler, provider: str = "toy") -> BaseException | None:
    try:
        async with aclosing(handler(request_to(provider))) as events:
            async for _ in events:
                pass
    except Exception as error:  # noqa: BLE001 - it is looked at
        return error
    return None


# The way of a circuit


async def test_it_opens_after_some_failures_in_a_row_and_then_nothing_is_sent() -> None:
    bench = Bench()
    await bench.fail(2)
    assert bench.state == "open"
    assert isinstance(await bench.ask(), BreakerOpenError)
    assert bench.provider.asked == 2


async def test_an_answer_between_two_failures_starts_the_count_anew() -> None:
    bench = Bench()
    for _ in range(3):
        await bench.fail()
        assert await bench.ask() is None
    assert bench.state == "closed"


async def test_after_a_while_one_answer_closes_it() -> None:
    bench = Bench()
    await bench.fail(2)
    bench.clock.now += 10
    assert bench.state == "half_open"
    assert await bench.ask() is None
    assert bench.state == "closed"
    await bench.fail()
    assert bench.state == "closed", "the count began anew"


async def test_each_time_that_it_fails_again_it_is_left_alone_for_twice_as_long_up_to_a_bound() -> None:
    bench = Bench()
    await bench.fail(2)
    for left_s in (10, 20, 35, 35):
        bench.clock.now += left_s - 0.5
        assert bench.state == "open"
        bench.clock.now += 0.5
        assert bench.state == "half_open"
        await bench.fail()
    bench.clock.now += 35
    assert await bench.ask() is None
    await bench.fail(2)
    bench.clock.now += 10
    assert bench.state == "half_open", "after an answer it begins with the shortest time again"


async def test_the_first_time_is_no_longer_than_the_longest() -> None:
    bench = Bench(BreakerConfig(failures=1, open_s=10, longest_open_s=3))
    await bench.fail()
    bench.clock.now += 3
    assert bench.state == "half_open"


async def test_providers_have_circuits_of_their_own() -> None:
    bench = Bench()
    await bench.fail(2)
    bench.provider.steps = ANSWER
    assert await ended(bench.handler, "other") is None
    assert (bench.breakers.state("other"), bench.state) == ("closed", "open")


async def test_handlers_with_the_same_breakers_share_their_state() -> None:
    bench = Bench()
    await bench.fail(2)
    other = breaker(bench.breakers)(bench.provider)
    assert isinstance(await ended(other), BreakerOpenError)


def test_switched_off_it_is_not_there() -> None:
    provider = Provider()
    assert breaker(Breakers(BreakerConfig(enabled=False)))(provider) is provider


async def test_events_pass_as_they_are() -> None:
    bench = Bench()
    async with aclosing(bench.handler(request_to())) as events:
        assert [event async for event in events] == [*ANSWER]


# What is told


async def test_the_refusal_says_what_failed_last_and_when_it_is_tried_again() -> None:
    bench = Bench()
    await bench.fail(2)
    bench.clock.now += 4
    refusal = await bench.ask()
    assert isinstance(refusal, BreakerOpenError)
    assert str(refusal) == (
        "toy failed 2 times in a row, and is not asked for 6.0 s. "
        "The last failure: Nothing answers at http://toy. Start it."
    )
    assert (refusal.retry_after_s, refusal.provider) == (6.0, "toy")
    assert bench.breakers.ailment("toy") == str(refusal)


async def test_nothing_ails_a_provider_that_may_be_asked() -> None:
    bench = Bench()
    assert (bench.breakers.ailment("toy"), bench.breakers.refusal("toy")) == (None, None)
    await bench.fail(2)
    bench.clock.now += 10
    assert bench.breakers.ailment("toy") is None, "the next request is the probe"


async def test_a_long_failure_is_quoted_in_part() -> None:
    bench = Bench(BreakerConfig(failures=1))
    await bench.ask(ProviderError("bad " * 1000))
    refusal = await bench.ask()
    assert str(refusal).startswith("toy failed once, and is not asked for 10.0 s. The last failure: bad bad")
    assert len(str(refusal)) < 400


# The probe


class Held:
    """A request that waits in the provider until it is told how it ends."""

    def __init__(self, bench: Bench) -> None:
        self._outcome = asyncio.Event()
        self._has_come = asyncio.Event()
        self._error: BaseException | None = None
        self._handler = breaker(bench.breakers)(self._provider)
        self.task = asyncio.create_task(ended(self._handler))

    async def _provider(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        yield Started(REF)
        self._has_come.set()
        await self._outcome.wait()
        if self._error is not None:
            raise self._error
        yield Finished("stop")

    async def come(self) -> Held:
        await self._has_come.wait()
        return self

    async def end(self, error: BaseException | None = None) -> None:
        self._error = error
        self._outcome.set()
        assert await self.task is error


async def half_open() -> Bench:
    bench = Bench()
    await bench.fail(2)
    bench.clock.now += 10
    return bench


async def test_while_a_probe_is_under_way_all_others_are_refused() -> None:
    bench = await half_open()
    probe = await Held(bench).come()
    refusals = [await bench.ask() for _ in range(3)]
    assert all(isinstance(refusal, BreakerOpenError) for refusal in refusals)
    assert str(refusals[0]).startswith(
        "toy failed 2 times in a row, and one request is trying it now. The last"
    )
    assert (bench.state, bench.provider.asked) == ("half_open", 2)
    await probe.end()
    assert bench.state == "closed"
    assert await bench.ask() is None


async def test_a_probe_that_is_cancelled_is_given_to_the_next() -> None:
    bench = await half_open()
    probe = await Held(bench).come()
    probe.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe.task
    assert bench.state == "half_open"
    assert await bench.ask() is None
    assert bench.state == "closed"


async def test_a_probe_that_is_left_is_given_to_the_next() -> None:
    bench = await half_open()
    bench.provider.steps = ANSWER
    async with aclosing(bench.handler(request_to())) as events:
        await anext(events)
        assert bench.breakers.refusal("toy") is not None
    assert bench.breakers.refusal("toy") is None


@pytest.mark.parametrize(
    "error", [RateLimitedError("x"), AuthenticationError("x"), ValueError("x")], ids=repr
)
async def test_a_probe_that_shows_nothing_is_given_to_the_next(error: Exception) -> None:
    bench = await half_open()
    assert await bench.ask(error) is error
    assert bench.state == "half_open"
    await bench.fail()
    assert bench.state == "open"


async def test_what_began_before_the_circuit_changed_counts_for_nothing() -> None:
    bench = Bench()
    early = [await Held(bench).come() for _ in range(3)]
    await bench.fail(2)
    await early[0].end(DOWN)
    await early[1].end()
    assert bench.state == "open"
    bench.clock.now += 10
    probe = await Held(bench).come()
    await early[2].end(DOWN)
    assert bench.state == "half_open"
    await probe.end()
    assert bench.state == "closed"


# What counts


@pytest.mark.parametrize("said", [TextDelta(""), ReasoningDelta("a"), ToolCall("1", "f", "{}")], ids=repr)
async def test_the_first_word_is_the_answer_that_counts(said: Event) -> None:
    bench = await half_open()
    assert await bench.ask(Started(REF), said, DOWN) is DOWN
    assert bench.state == "closed"


@pytest.mark.parametrize(
    "progress",
    [Started(REF), LoadProgress("load", 1, 2), Retrying(REF, "x", 1), PromptProgress(1, 2)],
    ids=repr,
)
async def test_progress_is_no_answer(progress: Event) -> None:
    bench = await half_open()
    assert await bench.ask(progress, DOWN) is DOWN
    assert bench.state == "open"


FAILURES = [
    ProviderConnectionError("x"),
    IncompleteStreamError("x"),
    ProviderTimeoutError("x", timer="connect"),
    ProviderTimeoutError("x", timer="first event"),
    ProviderError("x", status=500),
    ProviderError("x", status=529),
    ProviderError("x"),
]


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: f"{type(error).__name__} {error.status}")
async def test_what_says_that_the_provider_is_down_is_a_failure(error: ProviderError) -> None:
    bench = Bench(BreakerConfig(failures=1))
    assert await bench.ask(error) is error
    assert bench.state == "open"


def test_no_other_error_is_a_failure() -> None:
    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ProviderError)
    ]
    others = {*kinds} - {type(error) for error in FAILURES} - {errors.NoTargetAnsweredError}
    assert len(others) > 5
    assert not [kind for kind in others if is_failure(kind("x", status=500))]
    assert not is_failure(errors.NoTargetAnsweredError("x", [DOWN]))
    assert not is_failure(ProviderError("x", status=409))


@pytest.mark.parametrize(
    "error",
    [
        BackendCrashedError("x"),
        RateLimitedError("x"),
        AuthenticationError("x"),
        InvalidRequestError("x"),
        KeyError("x"),
    ],
    ids=repr,
)
async def test_what_shows_nothing_neither_counts_nor_starts_the_count_anew(error: Exception) -> None:
    bench = Bench()
    await bench.fail()
    for _ in range(3):
        assert await bench.ask(error) is error
    assert bench.state == "closed"
    await bench.fail()
    assert bench.state == "open"


async def test_a_stream_that_just_ends_shows_nothing() -> None:
    bench = await half_open()
    assert await bench.ask(Started(REF)) is None
    assert bench.state == "half_open"


# Against a model of it


@dataclass(eq=False)
class Asked:
    """A request under way, and what it told the model of the breaker when it began."""

    provider: str
    stream: AsyncGenerator[Event, None]
    steps: list[Event | BaseException]
    era: int
    has_outcome: bool = False


@dataclass
class Simple:
    """What a circuit should do, as simply as it can be said.

    An era ends when the circuit opens or closes, or a probe begins; only requests of the present era count.
    """

    failures: int = 0
    is_open: bool = False
    until: float = 0.0
    left_alone_s: float = 0.0
    probe: Asked | None = None
    era: int = 0

    def state(self, now: float) -> str:
        if not self.is_open:
            return "closed"
        return "half_open" if self.probe or now >= self.until else "open"


def run(step: Coroutine[Any, Any, T]) -> T:
    """A coroutine that waits for nothing, without an event loop."""
    try:
        step.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    raise AssertionError("it waits")


PROVIDERS = ("here", "there")


class BreakerMachine(RuleBasedStateMachine):
    """Requests to two providers begin, speak, fail and are left in any order, while time passes."""

    @initialize(failures=st.integers(1, 3), longest=st.sampled_from([5.0, 15.0, 100.0]))
    def begin(self, failures: int, longest: float) -> None:
        self.config = BreakerConfig(failures=failures, open_s=10, longest_open_s=longest)
        self.clock = Clock()
        self.breakers = Breakers(self.config, clock=self.clock)
        self.handler = breaker(self.breakers)(self._provider)
        self.simple = {name: Simple() for name in PROVIDERS}
        self.steps: list[Event | BaseException] = []
        self.asked: list[Asked] = []

    async def _provider(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        steps = self.steps
        while True:
            step = steps.pop(0)
            if isinstance(step, BaseException):
                raise step
            yield step

    def _one(self, number: int) -> Asked:
        return self.asked[number % len(self.asked)]

    def _ends(self, one: Asked, error: BaseException) -> None:
        one.steps.append(error)
        with pytest.raises(type(error)) as raised:
            run(one.stream.__anext__())
        assert raised.value is error
        self._gone(one)

    def _gone(self, one: Asked) -> None:
        self.asked.remove(one)
        if self.simple[one.provider].probe is one:
            self.simple[one.provider].probe = None

    def _may_count(self, one: Asked) -> bool:
        counts = not one.has_outcome and one.era == self.simple[one.provider].era
        one.has_outcome = True
        return counts

    @rule(name=st.sampled_from(PROVIDERS))
    def ask(self, name: str) -> None:
        simple, state = self.simple[name], self.simple[name].state(self.clock.now)
        self.steps = [Started(REF)]
        stream = self.handler(request_to(name))
        if state == "open" or simple.probe:
            with pytest.raises(BreakerOpenError) as refused:
                run(stream.__anext__())
            left_s = 0.0 if state == "half_open" else simple.until - self.clock.now
            assert refused.value.retry_after_s == pytest.approx(left_s)
            return
        assert run(stream.__anext__()) == Started(REF)
        simple.era += state == "half_open"
        self.asked.append(Asked(name, stream, self.steps, simple.era))
        if state == "half_open":
            simple.probe = self.asked[-1]

    @precondition(lambda self: self.asked)
    @rule(number=st.integers(0, 100), event=st.sampled_from([TextDelta("a"), Finished("stop")]))
    def speak(self, number: int, event: Event) -> None:
        one = self._one(number)
        one.steps.append(event)
        assert run(one.stream.__anext__()) == event
        if self._may_count(one):
            simple = self.simple[one.provider]
            if simple.is_open:
                self.simple[one.provider] = Simple(era=simple.era + 1)
            simple.failures = 0

    @precondition(lambda self: self.asked)
    @rule(number=st.integers(0, 100))
    def progress(self, number: int) -> None:
        one = self._one(number)
        one.steps.append(PromptProgress(1, 2))
        run(one.stream.__anext__())

    @precondition(lambda self: self.asked)
    @rule(number=st.integers(0, 100), error=st.sampled_from(FAILURES))
    def fail(self, number: int, error: ProviderError) -> None:
        one = self._one(number)
        simple, counts = self.simple[one.provider], self._may_count(one)
        self._ends(one, error)
        if not counts:
            return
        simple.failures += 1
        if simple.is_open or simple.failures >= self.config.failures:
            doubled_s = 2 * simple.left_alone_s if simple.is_open else self.config.open_s
            simple.left_alone_s = min(doubled_s, self.config.longest_open_s)
            simple.until = self.clock.now + simple.left_alone_s
            simple.is_open = True
            simple.era += 1

    @precondition(lambda self: self.asked)
    @rule(
        number=st.integers(0, 100),
        error=st.sampled_from(
            [
                RateLimitedError("x"),
                ContextLengthError("x"),
                FarmError("x"),
                KeyError(),
                asyncio.CancelledError(),
            ]
        ),
    )
    def end_otherwise(self, number: int, error: BaseException) -> None:
        self._ends(self._one(number), error)

    @precondition(lambda self: self.asked)
    @rule(number=st.integers(0, 100))
    def leave(self, number: int) -> None:
        one = self._one(number)
        run(one.stream.aclose())
        self._gone(one)

    @rule(seconds=st.sampled_from([0.5, 4.5, 5.0, 10.0, 40.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def it_stands_as_it_should(self) -> None:
        for name in PROVIDERS if hasattr(self, "clock") else ():
            simple = self.simple[name]
            state = simple.state(self.clock.now)
            assert self.breakers.state(name) == state
            is_refused = state == "open" or simple.probe is not None
            assert (self.breakers.refusal(name) is not None) == is_refused

    def teardown(self) -> None:
        for one in getattr(self, "asked", ()):
            run(one.stream.aclose())


TestBreakerMachine = BreakerMachine.TestCase
