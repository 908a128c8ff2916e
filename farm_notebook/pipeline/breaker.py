"""Leaves a provider alone that failed again and again, until one request in a while shows that it is back.

Each provider has a circuit of its own. Closed, it lets requests pass, and opens after some failures in a row.
Open, it refuses them at once. After a while it is half-open: exactly one request is let through as a probe,
which either closes the circuit or opens it again, for twice as long.

One request has one outcome, which is known at its first word. Only what says that the provider itself is down
is a failure; a wrong key, a bad request or too many of them show neither that it works nor that it does not.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Literal, TypeAlias

from farm_notebook.config import BreakerConfig
from farm_notebook.errors import (
    BackendCrashedError,
    BreakerOpenError,
    IncompleteStreamError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
)
from farm_notebook.pipeline import SAID, Handler, Middleware
from farm_notebook.types import ChatRequest, Event

__all__ = ["BreakerState", "Breakers", "breaker", "is_failure"]

LONGEST_QUOTE = 300  # characters of the last failure's message

BreakerState: TypeAlias = Literal["closed", "open", "half_open"]


def is_failure(error: ProviderError) -> bool:
    """Whether an error says that the provider itself is down or broken.

    A crash of a local backend is none: the next request starts it again, and it may be the user who ended it.
    """
    if isinstance(error, BackendCrashedError):
        return False
    if isinstance(error, ProviderConnectionError | ProviderTimeoutError | IncompleteStreamError):
        return True
    return type(error) is ProviderError and (error.status is None or error.status >= 500)


class Breakers:
    """The circuits of all providers; whoever is to share them uses the same object, on one event loop.

    Args:
        config: How many failures it takes, and how long a provider is left alone.
        clock: Seconds from any fixed moment.
    """

    def __init__(self, config: BreakerConfig, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.config = config
        self._clock = clock
        self._circuits: dict[str, _Circuit] = {}

    def state(self, provider: str) -> BreakerState:
        """How a provider's circuit stands now."""
        return self._circuit(provider).state

    def refusal(self, provider: str) -> BreakerOpenError | None:
        """The error that a request would meet now; ``None`` where it would pass."""
        return self._circuit(provider).refusal()

    def ailment(self, provider: str) -> str | None:
        """Why a request would be refused now, in a line; ``None`` where it would pass."""
        refusal = self.refusal(provider)
        return None if refusal is None else str(refusal)

    def _circuit(self, provider: str) -> _Circuit:
        found = self._circuits.get(provider)
        if found is None:
            found = self._circuits[provider] = _Circuit(provider, self.config, self._clock)
        return found


def breaker(breakers: Breakers) -> Middleware:
    """Refuse requests to a provider whose circuit is open.

    Args:
        breakers: The circuits, which this and all other handlers that share them keep.

    Raises:
        BreakerOpenError: At once, and nothing is sent.
    """

    def wrap(handler: Handler) -> Handler:
        async def guarded(request: ChatRequest) -> AsyncGenerator[Event, None]:
            circuit = breakers._circuit(request.ref.provider)
            ticket = circuit.enter()
            is_said = False
            try:
                async with aclosing(handler(request)) as events:
                    async for event in events:
                        if not is_said and isinstance(event, SAID):
                            is_said = True
                            circuit.succeed(ticket)
                        yield event
            except ProviderError as error:
                if not is_said and is_failure(error):
                    circuit.fail(ticket, error)
                raise
            finally:
                circuit.leave(ticket)

        return guarded if breakers.config.enabled else handler

    return wrap


class _Circuit:
    """The circuit of one provider.

    Who enters gets a ticket. It is good until the circuit opens, so that the outcome of a request which began
    before that counts for nothing.
    """

    def __init__(self, provider: str, config: BreakerConfig, clock: Callable[[], float]) -> None:
        self._provider = provider
        self._config = config
        self._clock = clock
        self._ticket = 0
        self._failures = 0
        self._last_failure = ""
        self._open_s = 0.0
        self._open_until: float | None = None
        self._is_probed = False

    @property
    def state(self) -> BreakerState:
        if self._open_until is None:
            return "closed"
        return "half_open" if self._is_probed or self._clock() >= self._open_until else "open"

    def refusal(self) -> BreakerOpenError | None:
        """The error for who may not enter now."""
        if self._open_until is None:
            return None
        left_s = max(0.0, self._open_until - self._clock())
        if self._is_probed:
            then = "one request is trying it now"
        elif left_s > 0:
            then = f"is not asked for {left_s:.1f} s"
        else:
            return None
        times = "once" if self._failures == 1 else f"{self._failures} times in a row"
        return BreakerOpenError(
            f"{self._provider} failed {times}, and {then}. The last failure: {self._last_failure}",
            provider=self._provider,
            retry_after_s=left_s,
        )

    def enter(self) -> int:
        """A ticket.

        Raises:
            BreakerOpenError: See ``refusal``.
        """
        if (refusal := self.refusal()) is not None:
            raise refusal
        self._is_probed = self._open_until is not None
        return self._ticket

    def succeed(self, ticket: int) -> None:
        """The provider answers."""
        if ticket == self._ticket:
            self._failures, self._open_until = 0, None

    def fail(self, ticket: int, error: ProviderError) -> None:
        """The provider is down."""
        if ticket != self._ticket:
            return
        self._failures += 1
        self._last_failure = _quoted(error)
        if self._open_until is None and self._failures < self._config.failures:
            return
        open_s = self._config.open_s if self._open_until is None else 2 * self._open_s
        self._open_s = min(open_s, self._config.longest_open_s)
        self._open_until, self._is_probed = self._clock() + self._open_s, False
        self._ticket += 1

    def leave(self, ticket: int) -> None:
        """The request is over; a probe that showed nothing is given back to the next one."""
        if ticket == self._ticket:
            self._is_probed = False


def _quoted(error: ProviderError) -> str:
    line = " ".join(str(error).split()) or type(error).__name__
    return line if len(line) <= LONGEST_QUOTE else f"{line[: LONGEST_QUOTE - 1].rstrip()}…"
