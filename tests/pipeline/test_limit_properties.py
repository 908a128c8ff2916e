"""Under whatever comes, and in whatever order, the limits hold and everyone gets a turn."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal

import virtual_time
from hypothesis import given, settings
from hypothesis import strategies as st

from farm_notebook.config import LimitConfig, LimitsConfig
from farm_notebook.errors import ProviderError
from farm_notebook.pipeline.limit import limit
from farm_notebook.stores.ledger import NOTHING, Claim, Refusal, Reservation
from farm_notebook.stores.ledger_memory import MemoryLedger
from farm_notebook.types import ChatMessage, ChatRequest, Event, Finished, ModelRef, Started, TextDelta, Usage

MINUTE_S = 60.0
MODELS = ("openai:big", "openai:small", "ollama:big")


@dataclass(frozen=True)
class Call:
    """One request, and what becomes of it.

    Args:
        at_s: When it is made.
        model: Which model is asked.
        prompt: Its length in characters.
        max_tokens: Bounds the answer.
        answer_s: How long that takes.
        tokens: What it really takes, as a share of what it may.
        end: How it ends.
        patience_s: When its caller leaves, where it does.
    """

    at_s: float
    model: str
    prompt: int
    max_tokens: int
    answer_s: float
    tokens: float
    end: Literal["finish", "untold", "fail", "refuse"]
    patience_s: float | None

    @property
    def request(self) -> ChatRequest:
        provider, model = self.model.split(":")
        message = ChatMessage("user", "x" * self.prompt)
        return ChatRequest(ModelRef(provider, model), (message,), max_tokens=self.max_tokens)


calls = st.builds(
    Call,
    at_s=st.floats(0, 200).map(lambda at_s: round(at_s, 1)),
    model=st.sampled_from(MODELS),
    prompt=st.integers(0, 100),
    max_tokens=st.integers(1, 60),
    answer_s=st.sampled_from([0.0, 0.5, 7.0, 90.0]),
    tokens=st.floats(0, 1),
    end=st.sampled_from(["finish", "finish", "untold", "fail", "refuse"]),
    patience_s=st.none() | st.none() | st.floats(0, 100),
)
limits = st.builds(
    LimitConfig,
    requests_per_minute=st.none() | st.integers(1, 8),
    tokens_per_minute=st.none() | st.integers(30, 200),
    concurrency=st.none() | st.integers(1, 4),
)


def now() -> float:
    return asyncio.get_running_loop().time()


class LateLedger(MemoryLedger):
    """One that takes its time, as one that is asked over a network; it checks all that it grants by a log."""

    def __init__(self, seed: int) -> None:
        super().__init__(clock=now)
        self._chance = random.Random(seed)
        self._log: dict[str, list[tuple[float, int]]] = defaultdict(list)  # when, and which reservation
        self._amounts: dict[tuple[str, int], float] = {}
        self._holders: dict[str, set[int]] = defaultdict(set)

    async def reserve(self, claims: Sequence[Claim]) -> Reservation | Refusal:
        if self._chance.random() < 0.3:
            await asyncio.sleep(self._chance.choice([0, 0.01, 0.2]))
        outcome = self.reserve_now(claims)
        if isinstance(outcome, Reservation):
            for claim in claims:
                self._check(claim, outcome.id)
        return outcome

    def settle(self, reservation: Reservation, used: Mapping[str, float] = NOTHING) -> None:
        super().settle(reservation, used)
        for claim in reservation.claims:
            self._holders[claim.scope].discard(reservation.id)
            self._amounts[claim.scope, reservation.id] = used.get(claim.scope, claim.amount)

    def _check(self, claim: Claim, number: int) -> None:
        if claim.kind == "slot":
            self._holders[claim.scope].add(number)
            assert len(self._holders[claim.scope]) <= claim.limit
            return
        self._log[claim.scope].append((now(), number))
        self._amounts[claim.scope, number] = claim.amount
        recent = (each for at, each in self._log[claim.scope] if at > now() - MINUTE_S)
        assert sum(self._amounts[claim.scope, each] for each in recent) <= claim.limit

    @property
    def held(self) -> int:
        return sum(len(holders) for holders in self._holders.values())


class Provider:
    """Plays what becomes of calls; it knows what it was asked, when, and what it was asked for at once."""

    def __init__(self, by_request: Mapping[int, Call]) -> None:
        self._by_request = by_request
        self.asked: list[tuple[float, Call]] = []
        self.under_way: dict[str, int] = defaultdict(int)
        self.most_under_way: dict[str, int] = defaultdict(int)

    async def __call__(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        call = self._by_request[id(request)]
        self.asked.append((now(), call))
        names = (request.ref.provider, str(request.ref))
        for name in names:
            self.under_way[name] += 1
            self.most_under_way[name] = max(self.under_way[name], self.most_under_way[name])
        try:
            yield Started(request.ref)
            await asyncio.sleep(call.answer_s)
            if call.end == "refuse":
                raise ProviderError("refused")
            yield TextDelta("x")
            if call.end == "fail":
                raise ProviderError("failed")
            told = Usage(1, int(call.tokens * call.max_tokens))
            yield Finished("stop", told if call.end == "finish" else Usage())
        finally:
            for name in names:
                self.under_way[name] -= 1


async def played(
    config: LimitsConfig, made: Sequence[Call], seed: int
) -> tuple[Provider, LateLedger, set[int]]:
    """Make all calls; the provider, the ledger, and those whose callers left."""
    requests = [call.request for call in made]
    by_request = {id(request): call for request, call in zip(requests, made, strict=True)}
    provider, ledger, left = Provider(by_request), LateLedger(seed), set[int]()
    handler = limit(config, ledger)(provider)

    async def make(call: Call, request: ChatRequest) -> None:
        await asyncio.sleep(call.at_s)
        try:
            async with asyncio.timeout(call.patience_s), aclosing(handler(request)) as events:
                async for _ in events:
                    pass
        except ProviderError as error:
            if str(error) not in ("refused", "failed"):
                raise
        except TimeoutError:
            left.add(id(call))

    await asyncio.gather(*(make(call, request) for call, request in zip(made, requests, strict=True)))
    return provider, ledger, left


@settings(max_examples=300, deadline=None)
@given(
    general=limits,
    openai=st.none() | limits,
    big=st.none() | limits,
    made=st.lists(calls, max_size=25),
    seed=st.integers(0, 1000),
)
def test_limits_hold_nobody_is_forgotten_and_nothing_is_held_in_the_end(
    general: LimitConfig, openai: LimitConfig | None, big: LimitConfig | None, made: list[Call], seed: int
) -> None:
    entries = {"openai": openai, "openai:big": big}
    per = {name: entry for name, entry in entries.items() if entry is not None}
    config = LimitsConfig(**general.model_dump(), per=per, longest_wait_s=1e9)
    made = [call for call in made if _fits(call, config)]
    provider, ledger, left = virtual_time.run(played(config, made, seed))

    assert {id(call) for call in made} == {id(call) for _, call in provider.asked} | left
    assert ledger.held == 0
    for name, entry in (
        ("openai", openai or general),
        ("ollama", general),
        ("openai:big", big or LimitConfig()),
    ):
        if entry.concurrency is not None:
            assert provider.most_under_way[name] <= entry.concurrency
        if entry.requests_per_minute is not None:
            moments = [at for at, call in provider.asked if call.model.startswith(name)]
            for number, at in enumerate(moments[entry.requests_per_minute :]):
                assert at - moments[number] >= MINUTE_S - 1e-6
    for model in MODELS:
        numbers = [made.index(call) for _, call in provider.asked if call.model == model]
        moments = [made[number].at_s for number in numbers]
        assert moments == sorted(moments), "first come, first served"


def _fits(call: Call, config: LimitsConfig) -> bool:
    """Whether its prompt is not too large for ever."""
    entries = [config.per.get("openai") or config, config.per.get("openai:big") or config]
    tokens = [entry.tokens_per_minute for entry in entries if entry.tokens_per_minute is not None]
    return call.prompt // 4 + 5 <= min([*tokens, config.tokens_per_minute or 1000])


@settings(max_examples=15, deadline=None)
@given(count=st.integers(10, 40), answer_s=st.sampled_from([0.0, 1000.0]), seed=st.integers(0, 1000))
def test_a_limit_is_used_to_the_full(count: int, answer_s: float, seed: int) -> None:
    """So that it is no proof of the above to let hardly anything pass."""
    config = LimitsConfig(requests_per_minute=2, longest_wait_s=1e9)
    patient = [Call(0.0, "ollama:big", 1, 1, answer_s, 0.0, "finish", None) for _ in range(count)]
    provider, _, _ = virtual_time.run(played(config, patient, seed))
    start, end = provider.asked[0][0], provider.asked[-1][0]
    assert end - start <= MINUTE_S * ((len(patient) - 1) // 2) + len(patient) * 0.5
