"""What might cost too much is refused before it is sent; what was spent is counted, however it ended."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farm_notebook.config import BudgetConfig
from farm_notebook.errors import BudgetExceededError, ProviderError, ProviderTimeoutError, RateLimitedError
from farm_notebook.pipeline import Handler
from farm_notebook.pipeline.budget import budget
from farm_notebook.pipeline.estimate import ANSWER_TOKENS, prompt_tokens
from farm_notebook.stores.ledger import Ledger
from farm_notebook.stores.ledger_memory import MemoryLedger
from farm_notebook.types import (
    ChatMessage,
    ChatRequest,
    Event,
    Finished,
    ModelRef,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCall,
    Usage,
)

REF = ModelRef("openai", "gpt-4o")
LOCAL = ModelRef("llamacpp", "smollm2:135m")
UNPRICED = ModelRef("openai", "unheard-of")
DAY = date(2026, 11, 28)
COST, TOKENS = "budget/cost/2026-11-28", "budget/tokens/2026-11-28"


def price(ref: ModelRef, usage: Usage) -> float | None:
    """A cent a token; nothing for what runs here."""
    if ref == UNPRICED:
        return None
    return 0.0 if ref == LOCAL else ((usage.input_tokens or 0) + (usage.output_tokens or 0)) / 100


def asking(ref: ModelRef = REF, *, max_tokens: int | None = 14) -> ChatRequest:
    request = ChatRequest(ref, (ChatMessage("user", "hello"),), max_tokens=max_tokens)
    assert prompt_tokens(request) == 6
    return request


class Provider:
    """A handler that plays events and errors, and counts how often it was asked."""

    def __init__(self, *steps: Event | BaseException) -> None:
        self.steps = steps or (Started(REF), TextDelta("yes"), Finished("stop", Usage(6, 4)))
        self.asked = 0

    async def __call__(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        self.asked += 1
        for step in self.steps:
            if isinstance(step, BaseException):
                raise step
            yield step


def bounded(
    provider: Handler, ledger: Ledger, *, day: date = DAY, notebook: str = "", **config: Any
) -> Handler:
    return budget(BudgetConfig(**config), ledger, price, notebook=lambda: notebook, today=lambda: day)(
        provider
    )


async def played(handler: Handler, request: ChatRequest | None = None) -> list[Event]:
    async with aclosing(handler(request or asking())) as events:
        return [event async for event in events]


def test_without_budgets_the_handler_is_left_as_it_is() -> None:
    provider = Provider()
    assert bounded(provider, MemoryLedger(), unknown_price="refuse") is provider


async def test_what_is_within_the_budget_passes_as_it_is_and_is_counted() -> None:
    provider, ledger = Provider(), MemoryLedger()
    handler = bounded(provider, ledger, cost_per_day=10, tokens_per_day=1000)
    assert await played(handler) == list(provider.steps)
    assert await ledger.usage(COST) == pytest.approx(0.1)
    assert await ledger.usage(TOKENS) == 10


async def test_what_might_cost_too_much_is_refused_and_not_sent() -> None:
    provider, ledger = Provider(), MemoryLedger()
    handler = bounded(provider, ledger, cost_per_day=0.25)
    await played(handler)
    with pytest.raises(BudgetExceededError) as raised:
        await played(handler)
    assert provider.asked == 1
    assert raised.value.budget == "budget.cost_per_day"
    told = str(raised.value)
    for part in (
        "openai:gpt-4o",
        "$0.2",
        "only $0.15 are left",
        "cost_per_day = 0.25",
        "FARM_BUDGET__COST_PER_DAY",
    ):
        assert part in told
    assert pickle.loads(pickle.dumps(raised.value)).budget == "budget.cost_per_day"
    await played(handler, asking(max_tokens=9))
    assert provider.asked == 2


async def test_an_answer_without_a_bound_is_expected_to_be_long() -> None:
    provider, ledger = Provider(), MemoryLedger()
    handler = bounded(provider, ledger, tokens_per_day=6 + ANSWER_TOKENS - 1)
    with pytest.raises(BudgetExceededError, match=r"may take 2,054 tokens, and only 2,053 tokens are left"):
        await played(handler, asking(max_tokens=None))
    await played(handler, asking(max_tokens=2000))


async def test_requests_under_way_do_not_exceed_a_budget_together() -> None:
    may_end = asyncio.Event()

    async def slow(request: ChatRequest) -> AsyncGenerator[Event, None]:
        yield Started(request.ref)
        await may_end.wait()
        yield Finished("stop", Usage(6, 14))

    ledger = MemoryLedger()
    handler = bounded(slow, ledger, cost_per_day=1)
    tasks = [asyncio.create_task(played(handler)) for _ in range(8)]
    await asyncio.sleep(0)
    may_end.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(outcome, BudgetExceededError) for outcome in outcomes] == [False] * 5 + [True] * 3
    assert await ledger.usage(COST) == pytest.approx(1)


# Which budget


async def test_each_day_has_its_own() -> None:
    provider, ledger = Provider(), MemoryLedger()
    await played(bounded(provider, ledger, tokens_per_day=25))
    with pytest.raises(BudgetExceededError):
        await played(bounded(provider, ledger, tokens_per_day=25))
    await played(bounded(provider, ledger, tokens_per_day=25, day=date(2026, 11, 29)))


@pytest.mark.parametrize("name", ["cost_per_notebook", "tokens_per_notebook"])
async def test_each_notebook_has_its_own(name: str) -> None:
    provider, ledger = Provider(), MemoryLedger()
    limit = 0.25 if name.startswith("cost") else 25
    set_to: dict[str, Any] = {name: limit}
    await played(bounded(provider, ledger, notebook="a.ipynb", **set_to))
    await played(bounded(provider, ledger, notebook="b.ipynb", **set_to))
    with pytest.raises(BudgetExceededError, match=rf"budget\.{name} = {limit}"):
        await played(bounded(provider, ledger, notebook="a.ipynb", **set_to))


async def test_the_day_that_is_charged_is_the_one_on_which_it_began() -> None:
    days = iter([DAY, date(2026, 11, 29)])
    ledger = MemoryLedger()
    handler = budget(BudgetConfig(tokens_per_day=100), ledger, price, today=lambda: next(days))(Provider())
    await played(handler)
    assert await ledger.usage(TOKENS) == 10


async def test_a_model_that_runs_here_costs_nothing() -> None:
    provider, ledger = Provider(), MemoryLedger()
    assert len(await played(bounded(provider, ledger, cost_per_day=0), asking(LOCAL))) == 3
    with pytest.raises(BudgetExceededError):
        await played(bounded(provider, ledger, cost_per_day=0))


async def test_a_model_of_unknown_price_is_refused_under_a_bound_on_cost() -> None:
    provider, ledger = Provider(), MemoryLedger()
    handler = bounded(provider, ledger, cost_per_notebook=5, tokens_per_day=100)
    with pytest.raises(
        BudgetExceededError, match=r'unheard-of costs.*cost_per_notebook = 5.*prices\."openai:'
    ) as raised:
        await played(handler, asking(UNPRICED))
    assert raised.value.budget == "budget.cost_per_notebook"
    assert provider.asked == 0
    assert await ledger.usage(TOKENS) == 0


async def test_or_it_passes_where_that_is_wanted_and_its_tokens_count() -> None:
    provider, ledger = Provider(), MemoryLedger()
    handler = bounded(provider, ledger, cost_per_day=5, tokens_per_day=100, unknown_price="allow")
    await played(handler, asking(UNPRICED))
    assert (await ledger.usage(COST), await ledger.usage(TOKENS)) == (0, 10)


async def test_no_price_is_asked_for_where_only_tokens_are_bounded() -> None:
    def no_price(ref: ModelRef, usage: Usage) -> float | None:
        raise AssertionError("nobody wants to know")

    handler = budget(BudgetConfig(tokens_per_day=100), MemoryLedger(), no_price)(Provider())
    assert len(await played(handler)) == 3


# However it ends


@pytest.mark.parametrize(
    ("steps", "tokens"),
    [
        ((Started(REF), TextDelta("x" * 40), Finished("stop", Usage(7, 3))), 10),
        ((Started(REF), TextDelta("x" * 40), Finished("stop", Usage(7, None))), 17),
        ((Started(REF), TextDelta("x" * 40), Finished("stop")), 16),
        ((Started(REF), Finished("stop", Usage(7, 300))), 307),
        ((Started(REF), TextDelta("x" * 20), ReasoningDelta("x" * 20), ProviderError("broken")), 16),
        ((Started(REF), ToolCall("1", "f" * 4, "{}" * 4), ProviderError("broken")), 9),
        ((Started(REF), RateLimitedError("busy")), 0),
        ((Started(REF), ProviderTimeoutError("silent", timer="first event")), 6),
        ((Started(REF), ProviderTimeoutError("away", timer="connect")), 0),
        ((RateLimitedError("a limit of ours"),), 0),
        ((Started(REF), asyncio.CancelledError()), 6),
        ((Started(REF), TextDelta("x" * 40), asyncio.CancelledError()), 16),
        ((asyncio.CancelledError(),), 0),
        ((Started(REF), ValueError("a defect")), 6),
    ],
)
async def test_what_was_spent_is_what_is_known_of_it(steps: Sequence[Any], tokens: int) -> None:
    ledger = MemoryLedger()
    handler = bounded(Provider(*steps), ledger, cost_per_day=100, tokens_per_day=1000)
    (outcome,) = await asyncio.gather(played(handler), return_exceptions=True)
    assert isinstance(outcome, list) == isinstance(steps[-1], Finished)
    assert await ledger.usage(TOKENS) == tokens
    assert await ledger.usage(COST) == pytest.approx(tokens / 100)


async def test_a_caller_that_leaves_half_way_is_charged_for_what_came() -> None:
    ledger = MemoryLedger()
    handler = bounded(Provider(), ledger, tokens_per_day=100)
    events = handler(asking())
    assert [await anext(events), await anext(events)] == [Started(REF), TextDelta("yes")]
    assert await ledger.usage(TOKENS) == 20, "as long as it is under way it may take all of this"
    await events.aclose()
    assert await ledger.usage(TOKENS) == 7


# Under whatever comes


@settings(deadline=None)
@given(
    amounts=st.lists(st.tuples(st.integers(1, 40), st.floats(0, 1)), max_size=30),
    limit=st.integers(0, 300),
    order=st.randoms(use_true_random=False),
)
def test_spent_is_the_sum_of_what_was_settled_and_never_more_than_the_budget(
    amounts: list[tuple[int, float]], limit: int, order: Any
) -> None:
    async def scene() -> None:
        ledger, settled = MemoryLedger(), 0

        async def answer(request: ChatRequest) -> AsyncGenerator[Event, None]:
            nonlocal settled
            for _ in range(order.randrange(4)):
                await asyncio.sleep(0)
            assert request.max_tokens is not None
            usage = Usage(6, int(shares[id(request)] * request.max_tokens))
            settled += 6 + (usage.output_tokens or 0)
            yield Finished("stop", usage)

        handler = bounded(answer, ledger, tokens_per_day=limit)
        requests = [asking(max_tokens=most) for most, _ in amounts]
        shares = {id(request): share for request, (_, share) in zip(requests, amounts, strict=True)}
        playing = (played(handler, request) for request in requests)
        outcomes = await asyncio.gather(*playing, return_exceptions=True)
        assert all(isinstance(outcome, list | BudgetExceededError) for outcome in outcomes)
        assert await ledger.usage(TOKENS) == settled <= limit

    asyncio.run(scene())
