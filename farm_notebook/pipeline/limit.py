"""Holds requests back so that no provider is asked more than it may be, by all who share a ledger.

A request claims its place among those of the minute, the tokens that it may take and one of the answers
under way, all together or none. Where it cannot have them it waits its turn. What it really took is put right
in the end, however that comes.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from farm_notebook.config import LimitConfig, LimitsConfig
from farm_notebook.errors import LimitReachedError, ProviderError
from farm_notebook.pipeline import Handler, Middleware, compose
from farm_notebook.pipeline.estimate import Tally, answer_tokens, prompt_tokens
from farm_notebook.pipeline.turns import Place, turns_at
from farm_notebook.stores.ledger import Claim, ClaimKind, Ledger, Refusal, Reservation
from farm_notebook.types import ChatRequest, Event, ModelRef, Queued

__all__ = ["Rule", "Rules", "limit", "limit_claims", "limits_used", "rules_of"]

_KINDS: dict[str, ClaimKind] = {
    "requests_per_minute": "window",
    "tokens_per_minute": "window",
    "concurrency": "slot",
}


def limit(config: LimitsConfig, ledger: Ledger) -> Middleware:
    """Let requests pass as ``config`` allows; one that waits tells so with a ``Queued`` event, once.

    Args:
        config: The limits; without any, handlers are left as they are.
        ledger: Where it is counted what was asked.

    Raises:
        LimitReachedError: The request would wait longer than it may, or its prompt is larger than a limit.
    """
    if (rules := rules_of(config)) is None:
        return compose()
    turns = turns_at(ledger)

    def wrap(handler: Handler) -> Handler:
        def limited(request: ChatRequest) -> AsyncGenerator[Event, None]:
            its_rules = rules(request.ref)
            return held(request, its_rules) if its_rules else handler(request)

        async def held(request: ChatRequest, rules: tuple[Rule, ...]) -> AsyncGenerator[Event, None]:
            prompt = prompt_tokens(request)
            place = turns.join(ledger, limit_claims(request, prompt, rules))
            try:
                granted = await place.claim()
                if isinstance(granted, Refusal):
                    wait = _Wait(request.ref, place, rules, config.longest_wait_s)
                    yield wait.told(granted)
                    granted = await wait.until_granted(granted)
            finally:
                place.leave()
            tally = Tally(prompt)
            try:
                async with aclosing(handler(request)) as events:
                    async for event in events:
                        tally.see(event)
                        yield event
            except ProviderError as error:
                tally.fail(error)
                raise
            finally:
                ledger.settle(granted, limits_used(rules, tally))
                turns.stir()

        return limited

    return wrap


@dataclass(frozen=True, slots=True)
class Rule:
    """One limit that a model is subject to.

    Args:
        scope: What is counted.
        kind: How.
        value: How much is allowed.
        setting: Its name for the user.
    """

    scope: str
    kind: ClaimKind
    value: int
    setting: str

    @property
    def is_of_tokens(self) -> bool:
        """Whether it counts tokens, not requests."""
        return self.scope.endswith("/tokens_per_minute")


Rules: TypeAlias = Callable[[ModelRef], tuple[Rule, ...]]


class _Wait:
    """What becomes of a request that has to wait: it tells so once, and gives up in time."""

    def __init__(self, ref: ModelRef, place: Place, rules: tuple[Rule, ...], longest_wait_s: float) -> None:
        self._ref = ref
        self._place = place
        self._rules = {rule.scope: rule for rule in rules}
        self._longest_wait_s = longest_wait_s
        self._now = asyncio.get_running_loop().time
        self._since = self._now()

    def told(self, refusal: Refusal) -> Queued:
        """The event that says so.

        Raises:
            LimitReachedError: It would take too long.
        """
        self._left_s(refusal)
        return Queued(self._ref, self._rules[refusal.scope].setting, self._known_s(refusal) or 0.0)

    async def until_granted(self, refusal: Refusal) -> Reservation:
        """Try again whenever that makes sense.

        Raises:
            LimitReachedError: It would take too long.
        """
        outcome: Reservation | Refusal = refusal
        while isinstance(outcome, Refusal):
            await self._place.news(within_s=self._left_s(outcome))
            outcome = await self._place.claim()
        return outcome

    def _known_s(self, refusal: Refusal) -> float | None:
        """When there will be room, in seconds; nobody knows when an answer under way ends."""
        is_known = self._rules[refusal.scope].kind == "window" and refusal.wait_s < math.inf
        return refusal.wait_s if is_known else None

    def _left_s(self, refusal: Refusal) -> float:
        """For how many seconds it may still wait."""
        left_s = self._since + self._longest_wait_s - self._now()
        known_s = self._known_s(refusal)
        if left_s > 0 and (known_s is None or known_s <= left_s):
            return left_s
        rule = self._rules[refusal.scope]
        when = "when an answer under way ends" if known_s is None else f"in {math.ceil(known_s)} s"
        raise LimitReachedError(
            f"{self._ref} has to wait for {rule.setting} = {rule.value}, and limits.longest_wait_s = "
            f"{self._longest_wait_s:g} is too short for that: it may pass {when}. Ask again then, or raise "
            "one of the two.",
            provider=self._ref.provider,
            retry_after_s=known_s,
        )


def rules_of(config: LimitsConfig) -> Rules | None:
    """What tells the limits that a model is subject to; ``None`` where none are set for any."""
    if not any(_values(each) for each in (config, *config.per.values())):
        return None
    return lru_cache(maxsize=1000)(lambda ref: _rules(config, ref))


def _values(config: LimitConfig) -> dict[str, int]:
    """The limits that are set, by name."""
    values = ((name, getattr(config, name)) for name in _KINDS)
    return {name: value for name, value in values if value is not None}


def _rules(config: LimitsConfig, ref: ModelRef) -> tuple[Rule, ...]:
    """What holds for a model: its provider's limits, or the general ones, and its own."""
    provider, model = ref.provider, str(ref)
    own = config.per.get(provider)
    sections: list[tuple[str, LimitConfig, str]] = [
        (provider, config, f"limits.{{}} of {provider}")
        if own is None
        else (provider, own, f"limits.per.{provider}.{{}}")
    ]
    if model in config.per:
        sections.append((model, config.per[model], f'limits.per."{model}".{{}}'))
    return tuple(
        Rule(f"limits/{subject}/{name}", _KINDS[name], value, setting.format(name))
        for subject, section, setting in sections
        for name, value in _values(section).items()
    )


def limit_claims(request: ChatRequest, prompt: int, rules: tuple[Rule, ...]) -> list[Claim]:
    """What a request claims of each limit.

    Raises:
        LimitReachedError: Its prompt alone is more than fits into a minute.
    """
    claims = []
    for rule in rules:
        amount = 1
        if rule.is_of_tokens:
            if prompt > rule.value:
                raise LimitReachedError(
                    f"The prompt for {request.ref} has about {prompt:,} tokens, and {rule.setting} = "
                    f"{rule.value} lets so many never pass. Shorten the prompt, or raise the limit.",
                    provider=request.ref.provider,
                )
            amount = min(prompt + answer_tokens(request), rule.value)
        claims.append(Claim(rule.scope, amount, rule.value, rule.kind))
    return claims


def limits_used(rules: tuple[Rule, ...], tally: Tally) -> dict[str, float]:
    """What a request used in the end; one that was never sent used nothing."""
    if not tally.is_sent:
        return {rule.scope: 0.0 for rule in rules}
    return {rule.scope: tally.tokens for rule in rules if rule.is_of_tokens}
