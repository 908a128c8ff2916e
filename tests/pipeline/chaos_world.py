"""Three unreliable providers, the policies before them, and the requests that they are to get.

What is to stand among the policies goes into ``policies``, outermost first.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from farm_notebook.config import (
    BreakerConfig,
    BudgetConfig,
    LimitConfig,
    LimitsConfig,
    RetryConfig,
    TimeoutConfig,
)
from farm_notebook.errors import (
    AuthenticationError,
    BackendCrashedError,
    ContentRefusedError,
    ContextLengthError,
    IncompleteStreamError,
    InvalidRequestError,
    ProviderConnectionError,
    ProviderError,
    QuotaExceededError,
    RateLimitedError,
    UnsupportedParameterError,
)
from farm_notebook.pipeline import Handler, Middleware, compose
from farm_notebook.pipeline.breaker import Breakers, breaker
from farm_notebook.pipeline.budget import budget
from farm_notebook.pipeline.cache import cache, is_repeatable
from farm_notebook.pipeline.fallback import fallback
from farm_notebook.pipeline.limit import limit
from farm_notebook.pipeline.meter import meter
from farm_notebook.pipeline.retry import retry
from farm_notebook.pipeline.single_flight import SingleFlight
from farm_notebook.pipeline.timers import timers
from farm_notebook.stores.ledger_sqlite import SQLiteLedger
from farm_notebook.stores.sqlite import SQLiteStore
from farm_notebook.types import (
    CacheUse,
    ChatMessage,
    ChatRequest,
    Event,
    Finished,
    LoadProgress,
    ModelRef,
    Route,
    Started,
    TextDelta,
    Usage,
)

REQUESTS = 10_000
AT_ONCE = 64
QUESTIONS = 600
OUTAGE = 300  # requests during which one provider is down, and then the next, and then none
REFS = tuple(ModelRef(name, "model") for name in ("alpha", "beta", "gamma"))
TIMEOUTS = TimeoutConfig(first_event_s=0.5, idle_s=0.5)
RETRY = RetryConfig(attempts=2, first_backoff_s=0.002, longest_backoff_s=0.004)
BREAKER = BreakerConfig(failures=5, open_s=0.05, longest_open_s=0.2)

RATED, A_MINUTE = "gamma", 600  # the provider that may only be asked so often
AT_ONCE_EACH = 12
NOTEBOOK_TOKENS = 400
LIMITS = LimitsConfig(
    concurrency=AT_ONCE_EACH,
    per={RATED: LimitConfig(requests_per_minute=A_MINUTE, concurrency=AT_ONCE_EACH)},
    longest_wait_s=0.3,
)
BUDGET = BudgetConfig(tokens_per_notebook=NOTEBOOK_TOKENS)
NOTEBOOK = ContextVar("notebook", default="")

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
        budget(BUDGET, world.ledger, lambda ref, usage: None, notebook=NOTEBOOK.get),
        limit(LIMITS, world.ledger),
        timers(TIMEOUTS),
    ]


@dataclass(frozen=True)
class Plan:
    """One request, and whether its caller stays to the end."""

    request: ChatRequest
    notebook: str
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
        self.ledger = SQLiteLedger(path.with_name("ledger.sqlite"))
        self.breakers = Breakers(BREAKER)
        self.is_calm = False
        self.restarts = 0
        self.calls: Counter[str] = Counter()
        self.began: list[float] = []  # when requests to RATED did
        self.spent: Counter[str] = Counter()  # tokens, by notebook
        self.under_way: Counter[str] = Counter()
        self.most_at_once: Counter[str] = Counter()
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
        provider = request.ref.provider
        self.calls[provider] += 1
        self.under_way[provider] += 1
        self.most_at_once |= self.under_way
        try:
            for step in self._script(request):
                if isinstance(step, BaseException):
                    raise step
                if isinstance(step, float):
                    await asyncio.sleep(step)
                else:
                    if isinstance(step, Started) and provider == RATED:
                        self.began.append(time.time())
                    yield step
        finally:
            self.under_way[provider] -= 1

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
        self.spent[NOTEBOOK.get()] += 1 + len(words)
        yield Finished("stop", Usage(1, len(words)))

    async def restart_store(self) -> None:
        """Again and again, while it is used."""
        while True:
            await asyncio.sleep(self.chance.choice([0.0, 0.01, 0.05]))
            await self.store.aclose()
            self.restarts += 1


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
                max_tokens=10,
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
        notebook = f"{int(chance.triangular(0, 100, 0))}"  # the first ones ask most
        yield Plan(request, notebook, chance.random() < 0.5, leaving, after)
