"""No provider is asked more than it may be; whoever has to wait gets its turn, and nothing stays held."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing

import pytest
import virtual_time

from farm_notebook.config import LimitConfig, LimitsConfig
from farm_notebook.errors import LimitReachedError, ProviderError, RateLimitedError
from farm_notebook.pipeline import Handler
from farm_notebook.pipeline.estimate import prompt_tokens
from farm_notebook.pipeline.limit import limit
from farm_notebook.stores.ledger import Claim, Refusal, Reservation
from farm_notebook.stores.ledger_memory import MemoryLedger
from farm_notebook.types import (
    ChatMessage,
    ChatRequest,
    Event,
    Finished,
    ModelRef,
    Queued,
    Started,
    TextDelta,
    Usage,
)

REF = ModelRef("openai", "gpt-4o")
MINUTE_S = 60.0


def asking(ref: ModelRef = REF, *, prompt: str = "hello", max_tokens: int | None = 10) -> ChatRequest:
    return ChatRequest(ref, (ChatMessage("user", prompt),), max_tokens=max_tokens)


def now() -> float:
    return asyncio.get_running_loop().time()


def virtual_ledger() -> MemoryLedger:
    return MemoryLedger(clock=now)


class Provider:
    """A handler that answers after some time, and notes when it was asked, and for how many at once."""

    def __init__(self, *, answer_s: float = 0.0, usage: Usage | None = None) -> None:
        self.answer_s = answer_s
        self.usage = usage if usage is not None else Usage(5, 5)
        self.asked: list[float] = []
        self.under_way = self.most_under_way = 0

    async def __call__(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        self.asked.append(now())
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            yield Started(request.ref)
            await asyncio.sleep(self.answer_s)
            yield TextDelta("yes")
            yield Finished("stop", self.usage)
        finally:
            self.under_way -= 1


async def played(handler: Handler, request: ChatRequest | None = None) -> list[Event]:
    async with aclosing(handler(request or asking())) as events:
        return [event async for event in events]


async def all_played(handler: Handler, requests: Sequence[ChatRequest]) -> list[list[Event]]:
    return await asyncio.gather(*(played(handler, request) for request in requests))


# What passes


def test_without_limits_the_handler_is_left_as_it_is() -> None:
    provider = Provider()
    assert limit(LimitsConfig(), MemoryLedger())(provider) is provider


async def test_a_model_without_limits_is_not_counted() -> None:
    ledger = MemoryLedger()
    config = LimitsConfig(per={"openai": LimitConfig(concurrency=1)})
    handler = limit(config, ledger)(Provider())
    await played(handler, asking(ModelRef("ollama", "llama3")))
    assert not ledger._slots


async def test_what_fits_passes_at_once_as_it_is() -> None:
    provider = Provider()
    handler = limit(LimitsConfig(requests_per_minute=1, concurrency=1), MemoryLedger())(provider)
    assert await played(handler) == await played(provider)


def test_requests_a_minute_are_kept() -> None:
    async def scene() -> list[float]:
        provider = Provider(answer_s=100)
        handler = limit(LimitsConfig(requests_per_minute=3), virtual_ledger())(provider)
        start = now()
        await all_played(handler, [asking()] * 7)
        return [asked - start for asked in provider.asked]

    assert virtual_time.run(scene()) == pytest.approx([0, 0, 0, 60, 60, 60, 120], abs=0.01)


def test_answers_under_way_are_kept() -> None:
    async def scene() -> Provider:
        provider = Provider(answer_s=5)
        handler = limit(LimitsConfig(concurrency=2), virtual_ledger())(provider)
        await all_played(handler, [asking()] * 6)
        return provider

    provider = virtual_time.run(scene())
    assert provider.most_under_way == 2
    assert [asked - provider.asked[0] for asked in provider.asked] == pytest.approx([0, 0, 5, 5, 10, 10])


def test_tokens_that_were_not_used_are_given_back() -> None:
    async def scene() -> tuple[float, float]:
        provider, ledger = Provider(usage=Usage(6, 4)), virtual_ledger()
        handler = limit(LimitsConfig(tokens_per_minute=100), ledger)(provider)
        for _ in range(9):
            await played(handler, asking(max_tokens=14))
        return now() - provider.asked[0], await ledger.usage("limits/openai/tokens_per_minute")

    assert virtual_time.run(scene()) == (0, 90), "nine at 10 each, though each claimed 20"


def test_a_request_that_may_take_more_than_the_limit_claims_all_of_it() -> None:
    async def scene() -> list[float]:
        provider = Provider(usage=Usage())
        handler = limit(LimitsConfig(tokens_per_minute=100), virtual_ledger())(provider)
        start = now()
        await all_played(handler, [asking(max_tokens=5000)] * 2)
        return [asked - start for asked in provider.asked]

    assert virtual_time.run(scene()) == [0, pytest.approx(60, abs=0.01)]


# Whose limits hold


def per(provider: LimitConfig | None = None, model: LimitConfig | None = None) -> Mapping[str, LimitConfig]:
    entries = {"openai": provider, "openai:gpt-4o": model}
    return {name: entry for name, entry in entries.items() if entry is not None}


@pytest.mark.parametrize(
    ("config", "asked"),
    [
        (LimitsConfig(requests_per_minute=2), {"openai": 2, "ollama": 2}),
        (
            LimitsConfig(requests_per_minute=2, per=per(LimitConfig(requests_per_minute=3))),
            {"openai": 3, "ollama": 2},
        ),
        (LimitsConfig(requests_per_minute=2, per=per(LimitConfig())), {"openai": 4, "ollama": 2}),
        (
            LimitsConfig(requests_per_minute=3, per=per(model=LimitConfig(requests_per_minute=1))),
            {"openai": 3, "ollama": 3},
        ),
    ],
    ids=[
        "general ones hold for each",
        "its own take their place",
        "even where it has none",
        "a model's beside",
    ],
)
def test_the_limits_of_a_provider(config: LimitsConfig, asked: Mapping[str, int]) -> None:
    async def scene() -> dict[str, int]:
        providers = {name: Provider() for name in asked}
        ledger = virtual_ledger()
        requests = [
            asking(ModelRef(name, model)) for name in asked for model in ("gpt-4o", "mini", "mini", "mini")
        ]
        played_all = [
            asyncio.create_task(played(limit(config, ledger)(providers[request.ref.provider]), request))
            for request in requests
        ]
        await asyncio.sleep(1)
        for task in played_all:
            task.cancel()
        await asyncio.wait(played_all)
        return {name: len(provider.asked) for name, provider in providers.items()}

    assert virtual_time.run(scene()) == asked


def test_a_model_at_its_own_limit_holds_up_no_other_model() -> None:
    async def scene() -> list[float]:
        provider = Provider()
        config = LimitsConfig(requests_per_minute=100, per=per(model=LimitConfig(requests_per_minute=1)))
        handler = limit(config, virtual_ledger())(provider)
        start = now()
        small = asking(ModelRef("openai", "mini"))
        await all_played(handler, [asking(), asking(), small, small])
        return [asked - start for asked in provider.asked]

    assert virtual_time.run(scene()) == pytest.approx([0, 0, 0, 60], abs=0.01)


def test_who_was_behind_one_that_has_to_wait_for_something_else_passes_at_once() -> None:
    class SlowLedger(MemoryLedger):
        async def reserve(self, claims: Sequence[Claim]) -> Reservation | Refusal:
            await asyncio.sleep(1)
            return self.reserve_now(claims)

    async def scene() -> list[float]:
        provider, ledger = Provider(answer_s=1000), SlowLedger(clock=now)
        config = LimitsConfig(
            requests_per_minute=100, per=per(model=LimitConfig(concurrency=1)), longest_wait_s=10_000
        )
        handler = limit(config, ledger)(provider)
        start = now()
        await all_played(handler, [asking(), asking(), asking(ModelRef("openai", "mini"))])
        return [asked - start for asked in provider.asked]

    assert virtual_time.run(scene()) == pytest.approx([1, 3, 1002], abs=0.01)


@pytest.mark.parametrize("other", ["gpt-4o", "mini"])
def test_small_requests_do_not_overtake_a_large_one_for_ever(other: str) -> None:
    async def scene() -> list[str]:
        order: list[str] = []

        async def one(name: str, model: str, max_tokens: int, at_s: float) -> None:
            await asyncio.sleep(at_s)
            await played(handler, asking(ModelRef("openai", model), max_tokens=max_tokens))
            order.append(name)

        config = LimitsConfig(tokens_per_minute=100, longest_wait_s=10_000)
        handler = limit(config, virtual_ledger())(Provider(usage=Usage(10, 30)))
        stream = [one("small", other, 30, at_s=float(number)) for number in range(20)]
        await asyncio.gather(one("large", "gpt-4o", 90, at_s=2.5), *stream)
        return order

    assert virtual_time.run(scene()).index("large") <= 4


def test_all_who_share_a_ledger_wait_in_the_same_lines() -> None:
    async def scene() -> list[str]:
        order: list[str] = []

        async def one(name: str, handler: Handler) -> None:
            await played(handler)
            order.append(name)

        ledger, config, provider = virtual_ledger(), LimitsConfig(concurrency=1), Provider(answer_s=1)
        handlers = {name: limit(config, ledger)(provider) for name in "ab"}
        async with asyncio.TaskGroup() as group:
            for name in "abba":
                group.create_task(one(name, handlers[name]))
        return order

    assert virtual_time.run(scene()) == ["a", "b", "b", "a"]


# Waiting is told, and bounded


def test_who_waits_tells_so_once() -> None:
    async def scene() -> list[list[Event]]:
        handler = limit(LimitsConfig(requests_per_minute=1), virtual_ledger())(Provider())
        return await all_played(handler, [asking()] * 3)

    first, second, third = virtual_time.run(scene())
    assert not [event for event in first if isinstance(event, Queued)]
    assert second[0] == Queued(REF, "limits.requests_per_minute of openai", 60)
    assert third[0] == Queued(REF, "limits.requests_per_minute of openai", 120)
    assert [type(event) for event in second[1:]] == [Started, TextDelta, Finished]


@pytest.mark.parametrize(
    ("entry", "setting"),
    [
        ("openai", "limits.per.openai.concurrency"),
        ("openai:gpt-4o", 'limits.per."openai:gpt-4o".concurrency'),
    ],
)
def test_the_setting_that_makes_one_wait_is_named(entry: str, setting: str) -> None:
    async def scene() -> list[list[Event]]:
        config = LimitsConfig(per={entry: LimitConfig(concurrency=1)})
        return await all_played(limit(config, virtual_ledger())(Provider(answer_s=1)), [asking()] * 2)

    assert virtual_time.run(scene())[1][0] == Queued(REF, setting, 0.0)


def test_a_wait_that_would_be_too_long_is_an_error_at_once() -> None:
    async def scene() -> tuple[LimitReachedError, float]:
        config = LimitsConfig(requests_per_minute=1, longest_wait_s=30)
        handler = limit(config, virtual_ledger())(Provider())
        await played(handler)
        start = now()
        with pytest.raises(LimitReachedError) as raised:
            await played(handler)
        return raised.value, now() - start

    error, waited_s = virtual_time.run(scene())
    assert waited_s == 0
    assert error.retry_after_s == pytest.approx(60)
    for part in ("limits.requests_per_minute of openai = 1", "limits.longest_wait_s = 30", "in 60 s"):
        assert part in str(error)
    assert error.provider == "openai"


def test_so_is_a_line_that_would_take_too_long() -> None:
    async def scene() -> list[list[Event] | BaseException]:
        handler = limit(LimitsConfig(requests_per_minute=2, longest_wait_s=70), virtual_ledger())(Provider())
        return await asyncio.gather(*(played(handler) for _ in range(6)), return_exceptions=True)

    outcomes = virtual_time.run(scene())
    assert [isinstance(outcome, LimitReachedError) for outcome in outcomes] == [False] * 4 + [True] * 2


def test_who_waits_for_an_answer_to_end_gives_up_in_time() -> None:
    async def scene() -> tuple[float, LimitReachedError]:
        config = LimitsConfig(concurrency=1, longest_wait_s=30)
        provider = Provider(answer_s=1000)
        handler = limit(config, virtual_ledger())(provider)
        holder = asyncio.create_task(played(handler))
        await asyncio.sleep(1)
        start = now()
        with pytest.raises(
            LimitReachedError, match=r"limits\.concurrency of openai = 1.*answer under way ends"
        ) as raised:
            await played(handler)
        waited_s = now() - start
        await holder
        return waited_s, raised.value

    waited_s, error = virtual_time.run(scene())
    assert waited_s == pytest.approx(30, abs=0.01)
    assert error.retry_after_s is None


async def test_a_prompt_that_never_fits_is_an_error_and_claims_nothing() -> None:
    provider, ledger = Provider(), MemoryLedger()
    handler = limit(LimitsConfig(requests_per_minute=5, tokens_per_minute=100), ledger)(provider)
    with pytest.raises(
        LimitReachedError, match=r"about 1,\d+ tokens.*limits\.tokens_per_minute of openai = 100"
    ):
        await played(handler, asking(prompt="word " * 1000))
    assert not provider.asked
    assert await ledger.usage("limits/openai/requests_per_minute") == 0


# However it ends


class Failing(Provider):
    """One that fails after what it says."""

    def __init__(self, *steps: Event | Exception) -> None:
        super().__init__()
        self.steps = steps

    async def __call__(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        for step in self.steps:
            if isinstance(step, Exception):
                raise step
            yield step


@pytest.mark.parametrize(
    ("steps", "requests", "tokens"),
    [
        ((Started(REF), TextDelta("x" * 400), Finished("stop", Usage(7, 3))), 1, 10),
        ((Started(REF), TextDelta("x" * 400), Finished("stop", Usage(7, None))), 1, 107),
        ((Started(REF), TextDelta("x" * 400), Finished("stop")), 1, 106),
        ((Started(REF), TextDelta("x" * 400), ProviderError("broken")), 1, 106),
        ((Started(REF), RateLimitedError("busy")), 1, 0),
        ((ProviderError("it was never sent"),), 0, 0),
        ((Started(REF), ValueError("a defect")), 1, 6),
    ],
)
async def test_what_was_used_is_put_right(
    steps: tuple[Event | Exception, ...], requests: int, tokens: int
) -> None:
    ledger = MemoryLedger()
    config = LimitsConfig(requests_per_minute=5, tokens_per_minute=1000, concurrency=1)
    handler = limit(config, ledger)(Failing(*steps))
    assert prompt_tokens(asking()) == 6
    (outcome,) = await asyncio.gather(played(handler), return_exceptions=True)
    assert (outcome is steps[-1]) or isinstance(steps[-1], Finished)
    scopes = [f"limits/openai/{name}" for name in ("requests_per_minute", "tokens_per_minute", "concurrency")]
    assert [await ledger.usage(scope) for scope in scopes] == [requests, tokens, 0]


async def test_a_caller_that_leaves_frees_its_slot_for_the_next() -> None:
    ledger = MemoryLedger()
    provider = Provider()
    handler = limit(LimitsConfig(concurrency=1, tokens_per_minute=1000), ledger)(provider)
    events = handler(asking())
    assert isinstance(await anext(events), Started)
    waiting = asyncio.create_task(played(handler))
    await asyncio.sleep(0)
    assert await ledger.usage("limits/openai/concurrency") == 1
    await events.aclose()
    assert len(await waiting) == 4
    assert await ledger.usage("limits/openai/concurrency") == 0
    assert await ledger.usage("limits/openai/tokens_per_minute") == 6 + 10


def test_one_that_is_cancelled_while_it_waits_lets_the_next_pass() -> None:
    async def scene() -> tuple[int, float]:
        provider, ledger = Provider(answer_s=10), virtual_ledger()
        handler = limit(LimitsConfig(concurrency=1), ledger)(provider)
        tasks = [asyncio.create_task(played(handler)) for _ in range(4)]
        await asyncio.sleep(1)
        tasks[1].cancel()
        tasks[2].cancel()
        await asyncio.wait(tasks)
        assert [task.cancelled() for task in tasks] == [False, True, True, False]
        return len(provider.asked), await ledger.usage("limits/openai/concurrency")

    assert virtual_time.run(scene()) == (2, 0)


async def test_waiting_takes_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = MemoryLedger()
    tries = 0
    reserve = ledger.reserve

    async def counted(claims: Sequence[Claim]) -> Reservation | Refusal:
        nonlocal tries
        tries += 1
        return await reserve(claims)

    monkeypatch.setattr(ledger, "reserve", counted)
    handler = limit(LimitsConfig(requests_per_minute=1), ledger)(Provider())
    await played(handler)
    waiting = [asyncio.create_task(played(handler)) for _ in range(10)]
    await asyncio.sleep(0.2)
    assert tries == 2
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
