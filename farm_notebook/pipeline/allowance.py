"""What limits and budgets allow, asked of their ledger in one question where nobody has to wait.

A ledger is a file or a server, and asking it is most of what these two policies take. Where both refuse
nothing, one question is as good as two; where either does, they are asked in turn, as if for the first time.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import date

from farm_notebook.config import BudgetConfig, LimitsConfig
from farm_notebook.errors import LimitReachedError, ProviderError
from farm_notebook.pipeline import Handler, Middleware, compose
from farm_notebook.pipeline.budget import Budgets, Price, budget
from farm_notebook.pipeline.estimate import Tally, prompt_tokens
from farm_notebook.pipeline.limit import Rule, limit, limit_claims, limits_used, rules_of
from farm_notebook.pipeline.turns import Turns, turns_at
from farm_notebook.stores.ledger import Claim, Ledger, Refusal, Reservation
from farm_notebook.types import ChatRequest, Event

__all__ = ["allowance"]


def allowance(
    budgets: BudgetConfig,
    limits: LimitsConfig,
    ledger: Ledger,
    price: Price,
    *,
    notebook: Callable[[], str] = str,
    today: Callable[[], date] = date.today,
) -> Middleware:
    """``budget`` and behind it ``limit``, which claim together what both allow at once.

    Args:
        budgets: As of ``budget``, and so are the others.
        limits: As of ``limit``.
        ledger: See there.
        price: See there.
        notebook: See there.
        today: See there.

    Raises:
        BudgetExceededError: As ``budget`` does.
        LimitReachedError: As ``limit`` does.
    """
    in_turn = compose(budget(budgets, ledger, price, notebook=notebook, today=today), limit(limits, ledger))
    purse, rules = Budgets(budgets, price, notebook=notebook, today=today), rules_of(limits)
    if not purse.are_set or rules is None:
        return in_turn
    turns = turns_at(ledger)

    def wrap(handler: Handler) -> Handler:
        one_by_one = in_turn(handler)

        def allowed(request: ChatRequest) -> AsyncGenerator[Event, None]:
            its_rules = rules(request.ref)
            return at_once(request, its_rules) if its_rules else one_by_one(request)

        async def at_once(request: ChatRequest, rules: tuple[Rule, ...]) -> AsyncGenerator[Event, None]:
            tally = Tally(prompt_tokens(request))
            claims = purse.claims(request, tally.prompt_tokens)
            granted = await _granted(turns, ledger, request, tuple(claims.values()), rules, tally)
            if granted is None:
                async with aclosing(one_by_one(request)) as events:
                    async for event in events:
                        yield event
                return
            try:
                async with aclosing(handler(request)) as events:
                    async for event in events:
                        tally.see(event)
                        yield event
            except ProviderError as error:
                tally.fail(error)
                raise
            finally:
                used = limits_used(rules, tally) | purse.used(claims, request.ref, tally.usage)
                ledger.settle(granted, used)
                turns.stir()

        return allowed

    return wrap


async def _granted(
    turns: Turns,
    ledger: Ledger,
    request: ChatRequest,
    of_budgets: tuple[Claim, ...],
    rules: tuple[Rule, ...],
    tally: Tally,
) -> Reservation | None:
    """All that is claimed, or ``None`` where any of it is refused."""
    try:
        of_limits = limit_claims(request, tally.prompt_tokens, rules)
    except LimitReachedError:  # which is told where no budget is exceeded
        return None
    place = turns.join(ledger, of_limits)
    try:
        granted = await place.claim(*of_budgets)
    finally:
        place.leave()
    return None if isinstance(granted, Refusal) else granted
