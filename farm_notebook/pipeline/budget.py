"""Refuses what might cost more than the user wants to spend, before anything is sent.

The most that a request is expected to take is set apart first, and what it did take is put in its place in
the end, however that comes. So requests under way at the same time do not exceed a budget together.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from datetime import date
from typing import Literal, NamedTuple, TypeAlias

from farm_notebook.config import BudgetConfig
from farm_notebook.errors import BudgetExceededError, ProviderError
from farm_notebook.pipeline import Handler, Middleware, compose
from farm_notebook.pipeline.estimate import Tally, answer_tokens, prompt_tokens
from farm_notebook.stores.ledger import Claim, Ledger, Refusal
from farm_notebook.types import ChatRequest, Event, ModelRef, Usage

__all__ = ["Budget", "Budgets", "Price", "budget"]

Price: TypeAlias = Callable[[ModelRef, Usage], float | None]
"""What tokens cost in US dollars: 0 for a model that runs here, ``None`` where nobody knows."""


class Budget(NamedTuple):
    """One of the budgets there are.

    Args:
        name: Its setting.
        of: What it bounds.
        is_of_notebook: Whether each notebook has one of its own.
    """

    name: str
    of: Literal["cost", "tokens"]
    is_of_notebook: bool

    @property
    def setting(self) -> str:
        """Its name for the user."""
        return f"budget.{self.name}"

    def scope(self, day: str, notebook: str) -> str:
        """What is counted in the ledger."""
        return f"budget/{self.of}/{day}" + (f"/{notebook}" if self.is_of_notebook else "")

    def amount(self, amount: float) -> str:
        """An amount of it in words."""
        return f"${amount:.6g}" if self.of == "cost" else f"{amount:,.0f} tokens"


_BUDGETS = (
    Budget("cost_per_day", "cost", is_of_notebook=False),
    Budget("tokens_per_day", "tokens", is_of_notebook=False),
    Budget("cost_per_notebook", "cost", is_of_notebook=True),
    Budget("tokens_per_notebook", "tokens", is_of_notebook=True),
)


def budget(
    config: BudgetConfig,
    ledger: Ledger,
    price: Price,
    *,
    notebook: Callable[[], str] = str,
    today: Callable[[], date] = date.today,
) -> Middleware:
    """Let requests pass as long as ``config`` allows what they may cost.

    Args:
        config: The budgets; without any, handlers are left as they are.
        ledger: Where it is counted what was spent.
        price: Of a model's tokens.
        notebook: What tells the notebook that asks from others; empty outside of one.
        today: The day that is charged, local time.

    Raises:
        BudgetExceededError: A request may cost more than is left, or nobody knows what it costs.
    """
    budgets = Budgets(config, price, notebook=notebook, today=today)
    if not budgets.are_set:
        return compose()

    def wrap(handler: Handler) -> Handler:
        async def bounded(request: ChatRequest) -> AsyncGenerator[Event, None]:
            tally = Tally(prompt_tokens(request))
            claims = budgets.claims(request, tally.prompt_tokens)
            granted = await ledger.reserve(tuple(claims.values()))
            if isinstance(granted, Refusal):
                raise _exceeded(request.ref, claims, granted)
            try:
                async with aclosing(handler(request)) as events:
                    async for event in events:
                        tally.see(event)
                        yield event
            except ProviderError as error:
                tally.fail(error)
                raise
            finally:
                ledger.settle(granted, budgets.used(claims, request.ref, tally.usage))

        return bounded

    return wrap


class Budgets:
    """The budgets that are set, and what requests take of them; the arguments are those of ``budget``."""

    def __init__(
        self,
        config: BudgetConfig,
        price: Price,
        *,
        notebook: Callable[[], str] = str,
        today: Callable[[], date] = date.today,
    ) -> None:
        self._limits = {each: limit for each in _BUDGETS if (limit := getattr(config, each.name)) is not None}
        self._lets_unknown_pass = config.unknown_price == "allow"
        self._price, self._notebook, self._today = price, notebook, today

    @property
    def are_set(self) -> bool:
        """Whether there is any."""
        return bool(self._limits)

    def claims(self, request: ChatRequest, prompt: int) -> dict[Budget, Claim]:
        """The most that a request may take of each budget.

        Args:
            request: What is asked.
            prompt: About how many tokens its prompt has.

        Raises:
            BudgetExceededError: Nobody knows what it costs, and that is not allowed.
        """
        most = Usage(prompt, answer_tokens(request))
        claims, day, name = {}, self._today().isoformat(), self._notebook()
        for each, limit in self._limits.items():
            if (may_take := self._amount(each, request.ref, most)) is not None:
                claims[each] = Claim(each.scope(day, name), may_take, limit, "total")
            elif not self._lets_unknown_pass:
                raise _unknown(request.ref, each, limit)
        return claims

    def used(self, claims: Mapping[Budget, Claim], ref: ModelRef, usage: Usage) -> dict[str, float]:
        """What an answer took of what was claimed for it, as ``Ledger.settle`` takes it."""
        used = {claim.scope: self._amount(each, ref, usage) for each, claim in claims.items()}
        return {scope: amount for scope, amount in used.items() if amount is not None}

    def _amount(self, each: Budget, ref: ModelRef, usage: Usage) -> float | None:
        if each.of == "cost":
            return self._price(ref, usage)
        return (usage.input_tokens or 0) + (usage.output_tokens or 0)


def _unknown(ref: ModelRef, budget: Budget, limit: float) -> BudgetExceededError:
    return BudgetExceededError(
        f"Nobody knows what {ref} costs, so that it was not asked under {budget.setting} = {limit:g}. Set "
        f'its price in prices."{ref}", or let it pass with budget.unknown_price = "allow".',
        budget=budget.setting,
    )


def _exceeded(ref: ModelRef, claims: Mapping[Budget, Claim], refusal: Refusal) -> BudgetExceededError:
    budget, claim = next((each, claim) for each, claim in claims.items() if claim.scope == refusal.scope)
    left = max(0.0, refusal.left)
    return BudgetExceededError(
        f"This request to {ref} may take {budget.amount(claim.amount)}, and only {budget.amount(left)} are "
        f"left today of {budget.setting} = {claim.limit:g}; nothing was sent. Raise the budget with "
        f"FARM_BUDGET__{budget.name.upper()}, or bound the answer with max_tokens.",
        budget=budget.setting,
    )
