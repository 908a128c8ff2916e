"""A request is made again where that may help, before anything was said, and only so often."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm_notebook.config import RetryConfig
from farm_notebook.errors import (
    AuthenticationError,
    BackendCrashedError,
    ContentRefusedError,
    ContextLengthError,
    FarmError,
    IncompleteStreamError,
    InvalidRequestError,
    LimitReachedError,
    ModelNotFoundError,
    OutOfMemoryError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
    QuotaExceededError,
    RateLimitedError,
    UnsupportedParameterError,
)
from farm_notebook.pipeline.retry import is_worth_retrying, retry
from farm_notebook.types import (
    ChatMessage,
    ChatRequest,
    Event,
    Finished,
    LoadProgress,
    ModelRef,
    ReasoningDelta,
    Retrying,
    Started,
    TextDelta,
    ToolCall,
)

REF = ModelRef("scripted", "echo")
REQUEST = ChatRequest(REF, (ChatMessage("user", "hello"),))
BUSY = ProviderError("busy", status=503)
ANSWER = (Started(REF), TextDelta("yes"), Finished("stop"))


class Attempts:
    """A handler that plays one script after the other: events, and perhaps an error at the end."""

    def __init__(self, *scripts: tuple[Event | Exception, ...]) -> None:
        self.scripts = list(scripts)
        self.made = self.closed = 0

    async def __call__(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        script = self.scripts[min(self.made, len(self.scripts) - 1)]
        self.made += 1
        try:
            for step in script:
                if isinstance(step, Exception):
                    raise step
                yield step
        finally:
            self.closed += 1


class Clock:
    """Waits in no time, and remembers how long."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


async def played(
    attempts: Attempts, config: RetryConfig | None = None, *, clock: Clock | None = None, chance: float = 0.5
) -> tuple[list[Event], FarmError | None]:
    """The events that came, and the error that ended them."""
    seen: list[Event] = []
    handler = retry(config or RetryConfig(), sleep=(clock or Clock()).sleep, chance=lambda: chance)(attempts)
    try:
        async with aclosing(handler(REQUEST)) as events:
            async for event in events:
                seen.append(event)
    except FarmError as error:
        return seen, error
    return seen, None


async def test_an_answer_at_once_is_passed_on_as_it_is() -> None:
    attempts = Attempts(ANSWER)
    assert await played(attempts) == (list(ANSWER), None)
    assert attempts.made == attempts.closed == 1


async def test_the_second_attempt_answers_and_the_stream_starts_once() -> None:
    seen, error = await played(Attempts((Started(REF), BUSY), ANSWER))
    assert error is None
    assert seen == [Started(REF), Retrying(REF, "busy", 0.25), *ANSWER[1:]]


async def test_a_failure_before_the_start_is_retried_too() -> None:
    progress = LoadProgress("load", 1, 2)
    seen, error = await played(Attempts((progress, BUSY), ANSWER))
    assert error is None
    assert seen == [progress, Retrying(REF, "busy", 0.25), *ANSWER]


@pytest.mark.parametrize("said", [TextDelta("a"), ReasoningDelta("a"), ToolCall("1", "f", "{}")])
async def test_nothing_is_asked_again_once_something_was_said(said: Event) -> None:
    attempts = Attempts((Started(REF), said, BUSY), ANSWER)
    assert await played(attempts) == ([Started(REF), said], BUSY)
    assert attempts.made == 1


async def test_the_last_error_is_raised_when_all_attempts_failed() -> None:
    errors = [ProviderError(f"busy {number}", status=500) for number in range(3)]
    attempts = Attempts(*[(Started(REF), error) for error in errors])
    seen, error = await played(attempts)
    assert error is errors[-1]
    assert [type(event) for event in seen] == [Started, Retrying, Retrying]
    assert attempts.made == attempts.closed == 3


async def test_one_attempt_asks_once() -> None:
    attempts = Attempts((BUSY,), ANSWER)
    assert await played(attempts, RetryConfig(attempts=1)) == ([], BUSY)


async def test_what_the_provider_asks_to_wait_is_waited() -> None:
    clock = Clock()
    limited = RateLimitedError("slow down", status=429, retry_after_s=7.5)
    seen, error = await played(Attempts((limited,), ANSWER), clock=clock)
    assert (error, clock.waits) == (None, [7.5])
    assert seen[0] == Retrying(REF, "slow down", 7.5)


async def test_a_wait_longer_than_allowed_is_an_error_at_once() -> None:
    clock = Clock()
    limited = RateLimitedError("come back tomorrow", retry_after_s=86_400)
    assert await played(Attempts((limited,), ANSWER), clock=clock) == ([], limited)
    assert clock.waits == []
    assert str(limited).startswith(
        "come back tomorrow. It may be asked again in 86,400 s, and retry.longest_wait_s"
    )


@given(
    chance=st.floats(0, 1, exclude_max=True),
    attempts=st.integers(1, 12),
    first_s=st.floats(0, 10),
    longest_s=st.floats(0, 60),
)
async def test_a_wait_is_never_longer_than_its_backoff_nor_are_there_more_than_allowed(
    chance: float, attempts: int, first_s: float, longest_s: float
) -> None:
    clock = Clock()
    config = RetryConfig(attempts=attempts, first_backoff_s=first_s, longest_backoff_s=longest_s)
    _, error = await played(Attempts((BUSY,)), config, clock=clock, chance=chance)
    assert error is BUSY
    assert len(clock.waits) == attempts - 1
    for number, wait_s in enumerate(clock.waits):
        assert 0 <= wait_s <= min(longest_s, first_s * 2**number)


async def test_leaving_while_it_waits_closes_the_attempt() -> None:
    attempts = Attempts((Started(REF), BUSY), ANSWER)
    async with aclosing(retry(RetryConfig())(attempts)(REQUEST)) as events:
        async for event in events:
            if isinstance(event, Retrying):
                break
    assert attempts.made == attempts.closed == 1


@pytest.mark.parametrize(
    ("error", "helps"),
    [
        (ProviderError("x", status=500), True),
        (ProviderError("x", status=503), True),
        (ProviderError("x", status=529), True),
        (ProviderError("x", status=408), True),
        (ProviderError("x", status=409), True),
        (ProviderError("x", status=418), False),
        (ProviderError("x"), False),
        (RateLimitedError("x", status=429), True),
        (ProviderConnectionError("x"), True),
        (BackendCrashedError("x"), False),
        (LimitReachedError("x", retry_after_s=1), False),
        (IncompleteStreamError("x"), True),
        (ProviderTimeoutError("x", timer="connect"), True),
        (ProviderTimeoutError("x", timer="first event"), False),
        (ProviderTimeoutError("x", timer="total"), False),
        (AuthenticationError("x", status=401), False),
        (QuotaExceededError("x", status=429), False),
        (ContextLengthError("x", status=400), False),
        (UnsupportedParameterError("x", status=400), False),
        (ContentRefusedError("x", status=500), False),
        (OutOfMemoryError("x"), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_only_what_may_pass_is_worth_another_try(error: ProviderError, helps: bool) -> None:
    assert is_worth_retrying(error) is helps


@pytest.mark.parametrize("error", [InvalidRequestError("x"), ModelNotFoundError("x")])
async def test_an_error_that_is_no_providers_is_never_retried(error: FarmError) -> None:
    attempts = Attempts((error,), ANSWER)
    assert await played(attempts) == ([], error)
    assert attempts.made == 1
