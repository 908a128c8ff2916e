"""Asks another model where the one that was meant fails before it said anything.

Whom to ask stands in the request: its own model, then ``route.alternates``. Once something was said an error
is raised as it is, so that no answer is ever made of what two models said. After which errors another model
is asked stands in one table here.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TypeAlias

from farm_notebook.errors import (
    AuthenticationError,
    BackendCrashedError,
    BreakerOpenError,
    BudgetExceededError,
    CassetteError,
    ConfigError,
    ContentRefusedError,
    ContextLengthError,
    FarmError,
    FetchError,
    IncompleteStreamError,
    InterruptedReply,
    InvalidAnswerError,
    InvalidRequestError,
    LimitReachedError,
    LoadError,
    MissingExtraError,
    ModelNotFoundError,
    ModelUnloadedError,
    NoTargetAnsweredError,
    NotRecordedError,
    OutOfMemoryError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
    QuotaExceededError,
    RateLimitedError,
    RequestBlockedError,
    UnknownProviderError,
    UnsupportedParameterError,
)
from farm_notebook.pipeline import SAID, Handler, Middleware
from farm_notebook.types import (
    ChatRequest,
    Event,
    ModelRef,
    Rerouted,
)

__all__ = ["MAY_ANOTHER_ANSWER", "Ailment", "ContextTokens", "fallback", "may_another_answer"]

WINDOW_WAIT_S = 2.0  # for how large a context window is; one that is not told by then is unknown
LONGEST_PROBLEM = 160  # characters

Ailment: TypeAlias = Callable[[ModelRef], str | None]
"""What is known to be wrong with a model, in a line, without asking anyone; ``None`` where nothing is."""

ContextTokens: TypeAlias = Callable[[ModelRef], Awaitable[int | None]]
"""The size of a model's context window in tokens, where it can be told."""

MAY_ANOTHER_ANSWER: Mapping[type[FarmError], bool] = {
    # The provider is out of reach, busy or broken, which others need not be.
    ProviderError: True,
    ProviderConnectionError: True,
    BackendCrashedError: True,
    ProviderTimeoutError: True,
    IncompleteStreamError: True,
    BreakerOpenError: True,
    # The account, the key or a limit is that provider's or model's; a model of this machine costs nothing.
    AuthenticationError: True,
    RateLimitedError: True,
    QuotaExceededError: True,
    LimitReachedError: True,
    BudgetExceededError: True,
    # The model is not there, or not on this machine.
    UnknownProviderError: True,
    ModelNotFoundError: True,
    MissingExtraError: True,
    FetchError: True,
    LoadError: True,
    OutOfMemoryError: True,
    # The request is too much for this model, and not for every one.
    ContextLengthError: True,
    UnsupportedParameterError: True,
    # Those who failed were others.
    NoTargetAnsweredError: True,
    # The request is wrong for all, and the user is to hear of it.
    InvalidRequestError: False,
    # A setting is wrong: what the user asked for would never happen, and nobody would notice.
    ConfigError: False,
    # It was an answer. Asking around until someone says what others refuse is not ours to do.
    ContentRefusedError: False,
    # The user has taken the model away.
    ModelUnloadedError: False,
    # It was an answer, and its model was asked to correct it.
    InvalidAnswerError: False,
    # What was recorded is not there, or cannot be read: no model is asked in its place.
    CassetteError: False,
    NotRecordedError: False,
    # Nobody is to be asked, whichever model it is.
    RequestBlockedError: False,
    # Nobody waits for an answer any more.
    InterruptedReply: False,
    # A package's own error, of which nothing is known.
    FarmError: False,
}
"""Whether another model may answer where one fails so; what is not named here is as what it inherits from."""


def may_another_answer(error: FarmError) -> bool:
    """Whether the request has a chance with another model."""
    return next(MAY_ANOTHER_ANSWER[kind] for kind in type(error).__mro__ if kind in MAY_ANOTHER_ANSWER)


def fallback(
    *, context_tokens: ContextTokens, ailment: Ailment = lambda ref: None, enabled: bool = True
) -> Middleware:
    """Ask the alternates of a request in turn, with a ``Rerouted`` event before each.

    A model that is known to be unwell is asked after those that are not. After a ``ContextLengthError`` the
    models with a window that is large enough come first, and those whose window is no larger are left out.

    Args:
        context_tokens: Asked only after a ``ContextLengthError``; what it raises counts as unknown.
        ailment: Asked before each choice, so it must be quick.
        enabled: Whether any alternate is asked.

    Raises:
        NoTargetAnsweredError: None of several models answered. A single one's error is raised as it is.
    """

    def wrap(handler: Handler) -> Handler:
        def with_alternates(request: ChatRequest) -> AsyncGenerator[Event, None]:
            if not request.route.alternates:
                return handler(request)
            targets = tuple(dict.fromkeys((request.ref, *request.route.alternates)))
            return in_turn(request, targets) if len(targets) > 1 else handler(request)

        async def in_turn(request: ChatRequest, targets: Sequence[ModelRef]) -> AsyncGenerator[Event, None]:
            choice = _Choice(targets, ailment)
            while (target := choice.next()) is not None:
                if (rerouted := choice.rerouted(target)) is not None:
                    yield rerouted
                asked = request if target == request.ref else replace(request, ref=target)
                is_said = False
                try:
                    async with aclosing(handler(asked)) as events:
                        async for event in events:
                            if not is_said:
                                is_said = isinstance(event, SAID)
                            yield event
                    return
                except FarmError as error:
                    if is_said or not may_another_answer(error):
                        raise
                    cause = error
                # Outside of the clause, so that no later error has this one as its context.
                choice.note(target, cause)
                if isinstance(cause, ContextLengthError):
                    await choice.look_at_windows(target, cause, context_tokens)
            raise choice.error()

        return with_alternates if enabled else handler

    return wrap


class _Choice:
    """Whom one request may go to, and what became of those who were asked.

    Args:
        targets: In the user's order; more than one.
        ailment: What is known to be wrong with one.
    """

    def __init__(self, targets: Sequence[ModelRef], ailment: Ailment) -> None:
        self._source, self._problem = targets[0], ""
        self._waiting = list(targets)
        self._ailment = ailment
        self._causes: dict[ModelRef, FarmError] = {}
        self._held_back: dict[ModelRef, str] = {}
        self._left_out: dict[ModelRef, str] = {}
        self._large: set[ModelRef] = set()

    def next(self) -> ModelRef | None:
        """Whom to ask now; ``None`` where nobody is left."""
        if not self._waiting:
            return None
        if not self._large and self._ailment(self._waiting[0]) is None:  # as nearly always
            return self._waiting.pop(0)
        ailments = {ref: self._ailment(ref) for ref in self._waiting}
        target = min(self._waiting, key=lambda ref: (ailments[ref] is not None, ref not in self._large))
        for ref in self._waiting[: self._waiting.index(target)]:
            if (ailment := ailments[ref]) is not None:
                self._held_back[ref] = ailment
        self._waiting.remove(target)
        return target

    def rerouted(self, target: ModelRef) -> Rerouted | None:
        """What the user is told before a target is asked; nothing where it is the one that was meant."""
        if self._causes:
            return Rerouted(self._source, target, self._problem)
        if target == self._source:
            return None
        return Rerouted(self._source, target, _first_sentence(self._held_back[self._source]))

    def note(self, target: ModelRef, cause: FarmError) -> None:
        """A target failed."""
        self._causes[target] = cause
        self._source, self._problem = target, _first_sentence(_in_one_line(cause))

    async def look_at_windows(
        self, failed: ModelRef, error: ContextLengthError, context_tokens: ContextTokens
    ) -> None:
        """Those come first that the prompt fits into; those that hold no more than ``failed`` go out."""
        found = await asyncio.gather(*(_told(context_tokens, ref) for ref in (failed, *self._waiting)))
        limit = found[0] if error.limit is None else error.limit
        if limit is None and error.tokens is None:
            return
        for ref, tokens in zip(tuple(self._waiting), found[1:], strict=True):
            if tokens is None:
                continue
            if limit is not None and tokens <= limit:
                self._left_out[ref] = (
                    f"its context window of {tokens:,} tokens is not larger than the {limit:,} of {failed}"
                )
                self._waiting.remove(ref)
            elif tokens >= (error.tokens or 0):
                self._large.add(ref)

    def error(self) -> NoTargetAnsweredError:
        """All who were asked failed: each with its cause, in the order they were asked."""
        lines = []
        for ref, cause in self._causes.items():
            late = f" (asked late: {self._held_back[ref]})" if ref in self._held_back else ""
            lines.append(f"- {ref}{late}: {_in_one_line(cause)}")
        lines += [f"- {ref} was not asked: {why}." for ref, why in self._left_out.items()]
        message = "\n".join((f"None of the {len(lines)} models that may answer did.", *lines))
        causes = tuple(self._causes.values())
        return NoTargetAnsweredError(message, causes, provider=next(iter(self._causes)).provider)


async def _told(context_tokens: ContextTokens, ref: ModelRef) -> int | None:
    """The size of a window, or ``None`` where it cannot be told soon enough."""
    try:
        async with asyncio.timeout(WINDOW_WAIT_S):
            return await context_tokens(ref)
    except Exception:  # noqa: BLE001 - of a provider that anyone may have written; the request goes on
        return None


def _in_one_line(error: FarmError) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _first_sentence(line: str) -> str:
    """What went wrong, without what to do about it: short enough to stand beside an answer."""
    first = re.split(r"(?<!\.\w\.)(?<=[.!?])\s+(?=[A-Z])", line, maxsplit=1)[0].removesuffix(".")
    return first if len(first) <= LONGEST_PROBLEM else f"{first[: LONGEST_PROBLEM - 1].rstrip()}…"
