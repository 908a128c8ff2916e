"""Limits and budgets are asked at once where neither refuses, and come to what they come to in turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from datetime import date
from typing import Any

import pytest
import virtual_time

from farm_notebook.config import BudgetConfig, LimitsConfig
from farm_notebook.errors import BudgetExceededError, FarmError, LimitReachedError, RateLimitedError
from farm_notebook.pipeline import Handler, compose
from farm_notebook.pipeline.allowance import allowance
from farm_notebook.pipeline.budget import budget
from farm_notebook.pipeline.estimate import prompt_tokens
from farm_notebook.pipeline.limit import limit
from farm_notebook.stores.ledger import NOTHING, Claim, Refusal, Reservation
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

REF, FREE = ModelRef("openai", "gpt-4o"), ModelRef("openai", "unheard-of")
DAY = date(2026, 11, 28)
SPENT, MINUTE, ASKED, SLOTS = (
    "budget/tokens/2026-11-28",
    "limits/openai/tokens_per_minute",
    "limits/openai/requests_per_minute",
    "limits/openai/concurrency",
)
SCOPES = (SPENT, MINUTE, ASKED, SLOTS)


class Counted(MemoryLedger):
    """A ledger that counts how often it was asked."""

    def __init__(self) -> None:
        super().__init__(clock=lambda: asyncio.get_running_loop().time())
        self.questions = self.settlements = 0

    async def reserve(self, claims: Sequence[Claim]) -> Reservation | Refusal:
        self.questions += 1
        return await super().reserve(claims)

    def settle(self, reservation: Reservation, used: Mapping[str, float] = NOTHING) -> None:
        self.settlements += 1
        super().settle(reservation, used)

    async def used(self) -> list[float]:
        return [await self.usage(scope) for scope in SCOPES]


class Provider:
    """A handler that answers, or fails, after some time."""

    def __init__(self, *steps: Event | BaseException, answer_s: float = 0.0) -> None:
        self.steps = steps or (Started(REF), TextDelta("yes"), Finished("stop", Usage(6, 4)))
        self.answer_s = answer_s
        self.asked = 0

    async def __call__(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        self.asked += 1
        await asyncio.sleep(self.answer_s)
        for step in self.steps:
            if isinstance(step, BaseException):
                raise step
            yield step


def asking(ref: ModelRef = REF, *, prompt: str = "hello") -> ChatRequest:
    return ChatRequest(ref, (ChatMessage("user", prompt),), max_tokens=14)


def price(ref: ModelRef, usage: Usage) -> float | None:
    return None if ref == FREE else 0.01


def handlers(
    provider: Handler, budgets: Mapping[str, Any], limits: Mapping[str, Any]
) -> list[tuple[Counted, Handler]]:
    """The two at once, and one after the other; each with a ledger of its own."""
    ours, theirs = Counted(), Counted()
    budgeted, limited = BudgetConfig(**budgets), LimitsConfig(**limits)
    in_turn = compose(budget(budgeted, theirs, price, today=lambda: DAY), limit(limited, theirs))
    at_once = allowance(budgeted, limited, ours, price, today=lambda: DAY)
    return [(ours, at_once(provider)), (theirs, in_turn(provider))]


async def played(handler: Handler, request: ChatRequest | None = None) -> list[Event]:
    async with aclosing(handler(request or asking())) as events:
        return [event async for event in events]


async def failing(handler: Handler, request: ChatRequest | None = None) -> FarmError:
    with pytest.raises(FarmError) as caught:
        await played(handler, request)
    return caught.value


LIMITS = {"requests_per_minute": 2, "tokens_per_minute": 100, "concurrency": 1}


async def test_a_ledger_is_asked_once_and_told_once_of_an_answer() -> None:
    ledger, handler = handlers(Provider(), {"tokens_per_day": 1000}, LIMITS)[0]
    assert await played(handler) == [Started(REF), TextDelta("yes"), Finished("stop", Usage(6, 4))]
    assert (ledger.questions, ledger.settlements) == (1, 1)
    assert await ledger.used() == [10, 10, 1, 0]


@pytest.mark.parametrize(
    "steps",
    [
        (Started(REF), TextDelta("yes"), Finished("stop", Usage(6, 4))),
        (Started(REF), TextDelta("some words"), RateLimitedError("cut off")),
        (Started(REF), RateLimitedError("too busy")),
        (RateLimitedError("never sent"),),
        (Started(REF), TextDelta("yes"), Finished("stop", Usage())),
    ],
)
async def test_what_is_counted_in_the_end_is_what_the_two_count(
    steps: tuple[Event | BaseException, ...],
) -> None:
    used = []
    for ledger, handler in handlers(Provider(*steps), {"tokens_per_day": 1000, "cost_per_day": 1}, LIMITS):
        with suppress(RateLimitedError):
            await played(handler)
        used.append(await ledger.used())
    assert used[0] == used[1]


async def test_a_budget_refuses_first_and_nothing_is_held_or_sent() -> None:
    provider = Provider()
    both = handlers(provider, {"tokens_per_day": 15}, {**LIMITS, "tokens_per_minute": 5})
    long = "word " * 40
    assert prompt_tokens(asking(prompt=long)) > 15
    errors = [await failing(handler, asking(prompt=long)) for _, handler in both]
    assert [type(error) for error in errors] == [BudgetExceededError] * 2
    assert str(errors[0]) == str(errors[1])
    assert [await ledger.used() for ledger, _ in both] == [[0, 0, 0, 0]] * 2
    assert provider.asked == 0


async def test_a_prompt_that_fits_no_minute_is_refused_and_costs_no_budget() -> None:
    both = handlers(Provider(), {"tokens_per_day": 1000}, {"tokens_per_minute": 5})
    errors = [await failing(handler) for _, handler in both]
    assert [type(error) for error in errors] == [LimitReachedError] * 2
    assert str(errors[0]) == str(errors[1])
    assert [await ledger.used() for ledger, _ in both] == [[0, 0, 0, 0]] * 2


async def test_a_model_of_unknown_price_is_refused() -> None:
    both = handlers(Provider(), {"cost_per_day": 1, "unknown_price": "refuse"}, LIMITS)
    errors = [await failing(handler, asking(FREE)) for _, handler in both]
    assert [type(error) for error in errors] == [BudgetExceededError] * 2
    assert str(errors[0]) == str(errors[1])


def test_who_waits_for_a_limit_says_so_once_and_holds_its_budget_meanwhile() -> None:
    async def main() -> None:
        ledger, handler = handlers(Provider(answer_s=5.0), {"tokens_per_day": 45}, {"concurrency": 1})[0]
        first = asyncio.create_task(played(handler))
        await asyncio.sleep(1.0)
        second = asyncio.create_task(played(handler))
        await asyncio.sleep(1.0)
        assert await ledger.usage(SPENT) == 40  # the second holds what it may take, though it waits
        assert isinstance(await failing(handler), BudgetExceededError)
        assert not any(isinstance(event, Queued) for event in await first)
        assert [type(event) for event in await second].count(Queued) == 1
        assert await ledger.used() == [20, 0, 0, 0]

    virtual_time.run(main())


def test_who_comes_later_does_not_pass_by_one_who_waits() -> None:
    async def main() -> None:
        order: list[str] = []

        async def provider(request: ChatRequest) -> AsyncGenerator[Event, None]:
            order.append(request.messages[0].content)
            await asyncio.sleep(1.0)
            yield Started(REF)
            yield Finished("stop", Usage(6, 4))

        _, handler = handlers(provider, {"tokens_per_day": 1000}, {"concurrency": 1})[0]
        names = ["first", "second", "third", "fourth"]
        async with asyncio.TaskGroup() as tasks:
            for name in names:
                tasks.create_task(played(handler, asking(prompt=name)))
                await asyncio.sleep(0.3)
        assert order == names

    virtual_time.run(main())


async def test_a_caller_who_leaves_frees_what_was_held() -> None:
    ledger, handler = handlers(Provider(), {"tokens_per_day": 1000}, LIMITS)[0]
    async with aclosing(handler(asking())) as events:
        assert await anext(events) == Started(REF)
        assert await ledger.usage(SLOTS) == 1
    assert await ledger.usage(SLOTS) == 0
    assert ledger.settlements == 1


async def test_either_alone_is_enough() -> None:
    for budgets, limits in (({"tokens_per_day": 1000}, {}), ({}, LIMITS), ({}, {})):
        ledger, handler = handlers(Provider(), budgets, limits)[0]
        await played(handler)
        assert ledger.questions == bool(budgets) + bool(limits)
