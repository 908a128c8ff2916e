"""Asks again where that may help, and only as long as nothing of an answer was said.

This is the one place that retries: the clients of the providers do not. What helps is a matter of the error:
a provider that was too busy, broken or out of reach may answer the next time; a wrong key, an empty account,
a prompt too long or a bad option will not.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from farm_notebook.config import RetryConfig
from farm_notebook.errors import (
    BackendCrashedError,
    IncompleteStreamError,
    LimitReachedError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
    RateLimitedError,
)
from farm_notebook.pipeline import SAID, Handler, Middleware
from farm_notebook.types import (
    ChatRequest,
    Event,
    Retrying,
    Started,
)

__all__ = ["is_worth_retrying", "retry"]

_PASSING = {408, 409, 425, 429}  # statuses below 500 that another try may not meet again


def is_worth_retrying(error: ProviderError) -> bool:
    """Whether the same request may succeed a moment later."""
    if isinstance(error, ProviderTimeoutError):
        return error.timer == "connect"  # the others have waited long enough
    if isinstance(error, BackendCrashedError):
        return False  # what took a local model down may do so again; and it may be the user who unloads it
    if isinstance(error, LimitReachedError):
        return False  # it would have to wait longer than the user allows
    if isinstance(error, RateLimitedError | ProviderConnectionError | IncompleteStreamError):
        return True
    return type(error) is ProviderError and (
        error.status is not None and (error.status >= 500 or error.status in _PASSING)
    )


def retry(
    config: RetryConfig,
    *,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    chance: Callable[[], float] = random.random,
) -> Middleware:
    """Make up to ``config.attempts`` attempts at a request, with a ``Retrying`` event before each new one.

    What the provider asked to wait is waited; where that is more than ``config.longest_wait_s``, its error is
    raised at once. Else the wait is exponential with full jitter.
    Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/

    Args:
        config: How often, and how long to wait.
        sleep: Waits some seconds.
        chance: A number from 0 to 1, 1 excluded.
    """

    def wrap(handler: Handler) -> Handler:
        async def persistent(request: ChatRequest) -> AsyncGenerator[Event, None]:
            has_started = False
            for attempt in range(1, config.attempts + 1):
                is_said = False
                try:
                    async with aclosing(handler(request)) as events:
                        async for event in events:
                            if isinstance(event, Started):
                                if has_started:
                                    continue
                                has_started = True
                            elif not is_said:
                                is_said = isinstance(event, SAID)
                            yield event
                    return
                except ProviderError as error:
                    if is_said or attempt == config.attempts or not is_worth_retrying(error):
                        raise
                    wait_s = _wait_s(error, attempt, config, chance())
                    if wait_s > config.longest_wait_s:
                        error.args = (_too_long(error, wait_s, config),)
                        raise
                    problem = error
                yield Retrying(request.ref, f"{problem}", wait_s)
                await sleep(wait_s)

        return persistent

    return wrap


def _too_long(error: ProviderError, wait_s: float, config: RetryConfig) -> str:
    """The error's words, and why it is not waited for."""
    problem = str(error)
    stop = "" if problem.endswith((".", "!", "?")) else "."
    return (
        f"{problem}{stop} It may be asked again in {wait_s:,.0f} s, and retry.longest_wait_s = "
        f"{config.longest_wait_s:g} is too short for that."
    )


def _wait_s(error: ProviderError, attempt: int, config: RetryConfig, chance: float) -> float:
    if error.retry_after_s is not None:
        return error.retry_after_s
    return chance * min(config.longest_backoff_s, math.ldexp(config.first_backoff_s, attempt - 1))
