"""Ten thousand requests through all policies to three unreliable providers, while the store restarts.

Every one ends in a right answer or in a typed error, and nothing hangs or is left behind. A failure names its
seed; ``FARM_CHAOS_SEED`` runs it with the same one again.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import re
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import psutil
import pytest

from farm_notebook.config import BreakerConfig, RetryConfig, TimeoutConfig
from farm_notebook.errors import (
    AuthenticationError,
    BackendCrashedError,
    BreakerOpenError,
    ContentRefusedError,
    ContextLengthError,
    FarmError,
    IncompleteStreamError,
    InvalidRequestError,
    NoTargetAnsweredError,
    ProviderConnectionError,
    ProviderError,
    QuotaExceededError,
    RateLimitedError,
    UnsupportedParameterError,
)
from farm_notebook.pipeline import Handler, Middleware, compose
from farm_notebook.pipeline.breaker import Breakers, breaker
from farm_notebook.pipeline.cache import cache, is_repeatable
from farm_notebook.pipeline.fallback import fallback
from farm_notebook.pipeline.meter import meter
from farm_notebook.pipeline.retry import retry
from farm_notebook.pipeline.single_flight import SingleFlight
from farm_notebook.pipeline.timers import timers
from farm_notebook.reply import ReplyBuilder
from farm_notebook.stores.sqlite import SQLiteStore
from farm_notebook.types import (
    CacheUse,
    ChatMessage,
    ChatRequest,
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
    Routed,
    Started,
    TextDelta,
    Usage,
)

REQUESTS = 10_000
AT_ONCE = 64
QUESTIONS = 600
OUTAGE = 300  # requests during which one provider is down, and then the next, and then none
HANG_S = 60.0  # far more than all waits of a request together
REFS = tuple(ModelRef(name, "model") for name in ("alpha", "beta", "gamma"))
TIMEOUTS = TimeoutConfig(first_event_s=0.5, idle_s=0.5)
RETRY = RetryConfig(attempts=2, first_backoff_s=0.002, longest_backoff_s=0.004)
BREAKER = BreakerConfig(failures=5, open_s=0.05, longest_open_s=0.2)

Leaving = Literal["cancel", "leave"] | None

FAULTS: dict[Callable[[], BaseException], int] = {
    lambda: ProviderConnectionError("The connection broke."): 6,
    lambda: ProviderError("Overloaded.", status=503): 6,
    lambda: RateLimitedError("Slow down.", status=429, retry_after_s=0.003): 6,
    lambda: BackendCrashedError("It died."): 2,
    lambda: AuthenticationError("The key was refused.", status=401): 2,
    lambda: QuotaExceededError("Nothing is left."): 2,
    lambda: ContextLengthError("Too long.", limit=2048): 2,
    lambda: UnsupportedParameterError("No seeds here."): 2,
    lambda: ContentRefusedError("It will not."): 1,
    lambda: InvalidRequestError("No model takes that."): 1,
}
LETTERS: dict[type[Event], str] = {
    Routed: "O",
    Queued: "Q",
    Rerouted: "R",
    LoadProgress: "L",
    Started: "S",
    Retrying: "Y",
    PromptProgress: "P",
    ReasoningDelta: "D",
    TextDelta: "D",
    Finished: "F",
}
LEGAL = re.compile("[OQRLY]*(S[QRLYPS]*(D*F?)?)?")


def policies(world: World, *, in_pieces: bool) -> list[Middleware]:
    """What a request passes, outermost first."""
    return [
        meter(),
        cache(world.store, world.digest, in_pieces=in_pieces, flights=world.flights),
        world.watch_flights,
        fallback(
            context_tokens=world.context_tokens, ailment=lambda ref: world.breakers.ailment(ref.provider)
        ),
        breaker(world.breakers),
        retry(RETRY, chance=world.chance.random),
        timers(TIMEOUTS),
    ]


@dataclass(frozen=True)
class Plan:
    """One request, and whether its caller stays to the end."""

    request: ChatRequest
    is_whole: bool
    leaving: Leaving
    after: float  # events or milliseconds


def said_by(ref: ModelRef, prompt: str) -> list[str]:
    """The right answer, word by word: it names the model and the prompt."""
    return [f"{ref.provider}/{prompt}/{number} " for number in range(2 + int(prompt) % 7)]


class Store(SQLiteStore):
    """Counts what was kept once and could not be had again, because the store was just restarted."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, ttl_s=3600, max_bytes=100_000_000)
        self.lost = self.hits = 0
        self._kept: set[str] = set()

    async def get(self, key: str) -> bytes | None:
        value = await super().get(key)
        self.hits += value is not None
        self.lost += value is None and key in self._kept
        return value

    def put(self, key: str, value: bytes) -> None:
        self._kept.add(key)
        super().put(key, value)


class Flights(SingleFlight[Event]):
    """Counts who asked for a stream that may be shared."""

    joins = 0

    def join(
        self, key: str, start: Callable[[], AsyncGenerator[Event, None]], *, anew: bool = False
    ) -> AsyncGenerator[Event, None]:
        self.joins += not anew
        return super().join(key, start, anew=anew)


class World:
    """Three unreliable providers, what stands before them, and what came of it all.

    Args:
        path: Of the store.
        chance: Decides everything that is left to it.
    """

    def __init__(self, path: Path, chance: random.Random) -> None:
        self.chance = chance
        self.store = Store(path)
        self.flights = Flights()
        self.breakers = Breakers(BREAKER)
        self.streams = 0
        self.is_calm = False
        self.restarts = 0
        self.calls: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.flown = self.repeated = 0
        self._flying: Counter[str] = Counter()
        self._answered: set[str] = set()
        self.handlers: dict[bool, Handler] = {
            is_whole: compose(*policies(self, in_pieces=not is_whole))(self._dispatch)
            for is_whole in (False, True)
        }

    async def digest(self, ref: ModelRef) -> str | None:
        return f"digest of {ref}"

    async def context_tokens(self, ref: ModelRef) -> int | None:
        await asyncio.sleep(0)
        return {"alpha": 2048, "beta": 8192}.get(ref.provider)

    def watch_flights(self, handler: Handler) -> Handler:
        """Stands below the cache: of equal requests that share an answer only one comes here at a time."""

        async def watched(request: ChatRequest) -> AsyncGenerator[Event, None]:
            if not is_repeatable(request) or request.cache != "use":
                async with aclosing(handler(request)) as events:
                    async for event in events:
                        yield event
                return
            question, ref = request.fingerprint(), request.ref
            self._flying[question] += 1
            self.flown += 1
            self.repeated += question in self._answered
            assert self._flying[question] == 1, "two flights for one question"
            try:
                async with aclosing(handler(request)) as events:
                    async for event in events:
                        if isinstance(event, Started):
                            ref = event.ref
                        yield event
            finally:
                self._flying[question] -= 1
            if ref == request.ref:
                self._answered.add(question)

        return watched

    async def _dispatch(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """As the farm does: the end of a stream alone is no success."""
        event: Event | None = None
        async with aclosing(self._provider(request)) as events:
            async for event in events:
                yield event
        if not isinstance(event, Finished):
            raise IncompleteStreamError("It ended without its finish mark.", provider=request.ref.provider)

    async def _provider(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        self.streams += 1
        self.calls[request.ref.provider] += 1
        try:
            for step in self._script(request):
                if isinstance(step, BaseException):
                    raise step
                if isinstance(step, float):
                    await asyncio.sleep(step)
                else:
                    yield step
        finally:
            self.streams -= 1

    def _script(self, request: ChatRequest) -> Iterator[Event | BaseException | float]:
        """What a provider does this time: events, pauses, and perhaps a failure."""
        ref, chance = request.ref, self.chance
        if self.is_calm:
            yield Started(ref)
            yield from map(TextDelta, said_by(ref, request.messages[0].content))
            yield Finished("stop")
            return
        if self.outcomes.total() // OUTAGE % (len(REFS) + 1) == REFS.index(ref):
            yield ProviderConnectionError(f"Nothing answers at {ref.provider}.", provider=ref.provider)
        if chance.random() < 0.1:
            yield LoadProgress("load", 1, 2)
        kind = chance.choices(
            ["right", "fault", "late fault", "stall", "late stall", "cut", "early cut"],
            [70, 15, 5, 1, 1, 2, 2],
        )[0]
        fault = chance.choices([*FAULTS], [*FAULTS.values()])[0]
        if kind == "fault" and chance.random() < 0.5:
            yield fault()
        yield Started(ref)
        yield chance.choice([0.0, 0.0, 0.001, 0.004])
        if kind == "fault":
            yield fault()
        if kind == "stall":
            yield 3600.0
        if kind == "early cut":
            return
        words = said_by(ref, request.messages[0].content)
        breaks_at = chance.randrange(1, len(words)) if kind in ("late fault", "late stall", "cut") else None
        for number, word in enumerate(words):
            if number == breaks_at:
                if kind == "late fault":
                    yield fault()
                if kind == "late stall":
                    yield 3600.0
                return
            yield TextDelta(word)
            yield chance.choice([0.0, 0.0, 0.0, 0.001])
        yield Finished("stop", Usage(5, len(words)))

    async def restart_store(self) -> None:
        """Again and again, while it is used."""
        while True:
            await asyncio.sleep(self.chance.choice([0.0, 0.01, 0.05]))
            await self.store.aclose()
            self.restarts += 1

    # One request

    async def ask(self, plan: Plan) -> None:
        """Make a request as planned, and see that what comes of it may come."""
        seen: list[Event] = []
        asking = asyncio.create_task(self._consume(plan, seen))
        if plan.leaving == "cancel":
            await asyncio.wait([asking], timeout=plan.after / 1000)
            asking.cancel()
        done, _ = await asyncio.wait([asking], timeout=HANG_S)
        assert done, f"it hangs: {plan}"
        error = asyncio.CancelledError() if asking.cancelled() else asking.exception()
        self._judge(plan, seen, error)

    async def _consume(self, plan: Plan, seen: list[Event]) -> None:
        builder = ReplyBuilder(plan.request)
        async with aclosing(self.handlers[plan.is_whole](plan.request)) as events:
            async for event in events:
                seen.append(event)
                builder.add(event)
                if plan.leaving == "leave" and len(seen) >= plan.after:
                    return
        reply = builder.build()
        assert reply.text == "".join(said_by(reply.ref, plan.request.messages[0].content))

    def _judge(self, plan: Plan, seen: Sequence[Event], error: BaseException | None) -> None:
        request = plan.request
        targets = (request.ref, *request.route.alternates)
        letters = "".join(LETTERS[type(event)] for event in seen)
        assert LEGAL.fullmatch(letters), letters
        started = [event for event in seen if isinstance(event, Started)]
        text = "".join(event.text for event in seen if isinstance(event, TextDelta))
        if started:
            assert started[-1].ref in targets
            assert seen[0] not in {Started(ref, cached=True) for ref in targets[1:]}, "another's kept answer"
            assert "".join(said_by(started[-1].ref, request.messages[0].content)).startswith(text)
        if isinstance(error, asyncio.CancelledError):
            assert plan.leaving == "cancel"
            outcome = "cancelled"
        elif isinstance(error, FarmError):
            assert not isinstance(seen[-1] if seen else None, Finished)
            if isinstance(error, NoTargetAnsweredError):
                assert not text
                assert len(targets) > 1
                assert len(str(error).splitlines()) == len(targets) + 1
            outcome = "broken" if text else type(error).__name__
        elif error is not None:
            raise error
        elif not isinstance(seen[-1], Finished):
            assert plan.leaving == "leave"
            outcome = "left"
        elif started[-1].cached:
            outcome = "shared"
        else:
            outcome = "right" if started[-1].ref == request.ref else "stood in"
        self.outcomes[outcome] += 1


def plans(chance: random.Random) -> Iterator[Plan]:
    """The requests: some of them equal, some for a chain of models, and some whose caller does not stay."""
    questions: list[ChatRequest] = []
    for number in range(QUESTIONS):
        first, *others = chance.sample(REFS, 3)
        cache_use: CacheUse = chance.choices(["use", "refresh", "off"], [8, 1, 1])[0]  # type: ignore[assignment]
        questions.append(
            ChatRequest(
                first,
                (ChatMessage("user", f"{number}"),),
                temperature=0.0 if chance.random() < 0.7 else None,
                cache=cache_use,
                route=Route(alternates=tuple(others[: chance.randrange(3)])),
            )
        )
    request = questions[0]
    for _ in range(REQUESTS):
        if chance.random() < 0.8:  # else the same again, most likely while it is under way
            request = chance.choice(questions)
            if chance.random() < 0.5:
                request = replace(request, seed=chance.getrandbits(60))
        leaving: Leaving = chance.choices([None, "cancel", "leave"], [8, 1, 1])[0]  # type: ignore[assignment]
        after = chance.uniform(0, 20) if leaving == "cancel" else chance.randrange(1, 5)
        yield Plan(request, chance.random() < 0.5, leaving, after)


async def run(world: World) -> None:
    """All requests, some at a time, while the store restarts; no task is left."""
    waiting = plans(world.chance)

    async def work() -> None:
        for plan in waiting:
            await world.ask(plan)

    restarting = asyncio.create_task(world.restart_store())
    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(work())
    restarting.cancel()
    await asyncio.wait([restarting])
    await calm(world)
    await world.store.aclose()
    assert world.streams == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def calm(world: World) -> None:
    """Once nothing fails any more, every provider soon answers again."""
    world.is_calm = True
    await asyncio.sleep(2 * BREAKER.longest_open_s)
    for ref in REFS:
        request = ChatRequest(ref, (ChatMessage("user", "7"),))
        async with aclosing(world.handlers[False](request)) as events:
            assert [type(event) for event in [event async for event in events]] == [
                Started,
                *[TextDelta] * len(said_by(ref, "7")),
                Finished,
            ]
        assert world.breakers.state(ref.provider) == "closed"


def held() -> tuple[set[threading.Thread], int]:
    """The threads and open files of this process."""
    gc.collect()
    return set(threading.enumerate()), psutil.Process().num_fds()


@pytest.mark.slow
def test_every_request_ends_in_a_right_answer_or_a_typed_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seed = int(os.environ.get("FARM_CHAOS_SEED", random.SystemRandom().randrange(10**9)))
    threads, files = held()
    world = World(tmp_path / "answers.sqlite", random.Random(seed))
    try:
        asyncio.run(run(world))
        judge_all(world)
        del world
        gc.collect()
        assert not caplog.records, "neither the store nor asyncio complains"
        give_up_at = time.monotonic() + 5
        while held()[1] > files or held()[0] - threads:
            assert time.monotonic() < give_up_at, f"left behind: {held()[0] - threads or 'open files'}"
            time.sleep(0.05)
    except BaseException as error:
        error.add_note(f"To run it again: FARM_CHAOS_SEED={seed}")
        raise


def judge_all(world: World) -> None:
    """What must hold of all requests together, and that all that was to be seen was seen."""
    outcomes = world.outcomes
    assert outcomes.total() == REQUESTS
    assert outcomes["right"] > REQUESTS / 10
    for outcome in ("stood in", "shared", "broken", "cancelled", "left"):
        assert outcomes[outcome] > REQUESTS / 200, outcomes
    for error in (NoTargetAnsweredError, BreakerOpenError, InvalidRequestError, ContentRefusedError):
        assert outcomes[error.__name__], outcomes
    assert world.restarts > 10
    assert world.store.hits > REQUESTS / 20
    assert world.repeated <= world.store.lost, "a question that was answered was asked again"
    assert world.flights.joins > world.flown + REQUESTS / 40, "some joined others under way"
