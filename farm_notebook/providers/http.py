"""What every provider that speaks HTTP shares: foreign errors in our terms, and when to try again.

The table of what an error means stands here once; what only one protocol knows, such as the words of its
error bodies, stays with that protocol.
"""

from __future__ import annotations

import email.utils
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from datetime import UTC

import httpx2

from farm_notebook.errors import (
    AuthenticationError,
    ContextLengthError,
    FarmError,
    InvalidRequestError,
    ModelNotFoundError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
    QuotaExceededError,
    RateLimitedError,
)

__all__ = ["connection_error", "retry_after_s", "status_error"]


def status_error(
    message: str, *, status: int | None, provider: str, headers: Mapping[str, str] | None = None
) -> FarmError:
    """The typed error for an HTTP status, where the body says nothing more telling.

    Args:
        message: One sentence for the user.
        status: Of the response; ``None`` for an error inside a stream that has none.
        provider: Name of the provider that answered.
        headers: Of the response; whether and when to try again is read from them.
    """
    match status:
        case 400 | 422:
            return InvalidRequestError(message)
        case 401 | 403:
            return AuthenticationError(message, provider=provider, status=status)
        case 402:
            return QuotaExceededError(message, provider=provider, status=status)
        case 404:
            return ModelNotFoundError(message)
        case 413:
            return ContextLengthError(message, provider=provider, status=status)
        case _:
            kind = RateLimitedError if status == 429 else ProviderError
            wait_s = retry_after_s(headers or {})
            return kind(message, provider=provider, status=status, retry_after_s=wait_s)


def retry_after_s(headers: Mapping[str, str], *, now: float | None = None) -> float | None:
    """How long a response asks to wait, in seconds and never negative; ``None`` where it does not say.

    Source: RFC 9110, 10.2.3 (seconds or a date), and ``retry-after-ms``, which OpenAI and Azure send.
    """
    by_name = {name.lower(): value for name, value in headers.items()}
    for name, factor in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return max(0.0, float(by_name[name]) * factor)
        except (KeyError, ValueError):
            continue
    try:
        moment = email.utils.parsedate_to_datetime(by_name["retry-after"])
    except (KeyError, ValueError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, moment.timestamp() - (time.time() if now is None else now))


def connection_error(error: Exception, *, url: str, provider: str, fix: str = "") -> ProviderError:
    """The typed error for a request that got no answer, or not a whole one.

    Args:
        error: What the HTTP client raised; its causes are looked at too.
        url: Where the request went, without anything secret.
        provider: Name of the provider.
        fix: What the user can do where nothing answers at all.
    """
    causes = list(_causes(error))
    fix = f" {fix}" if fix else ""
    for cause in causes:
        if isinstance(cause, httpx2.ConnectTimeout):
            return ProviderTimeoutError(
                f"{url} did not accept the connection in time. Raise FARM_TIMEOUTS__CONNECT_S, or see "
                f"whether it is reachable.{fix}",
                timer="connect",
                provider=provider,
            )
        if isinstance(cause, httpx2.PoolTimeout | httpx2.TimeoutException):
            return ProviderTimeoutError(
                f"{url} sent nothing in time ({type(cause).__name__}).", timer="idle", provider=provider
            )
        if isinstance(cause, socket.gaierror):
            return ProviderConnectionError(
                f"{url} has a host name that nobody knows ({cause.strerror or cause}). Check the URL.",
                provider=provider,
            )
        if isinstance(cause, ssl.SSLError):
            return ProviderConnectionError(
                f"No secure connection to {url}: {cause.reason or cause}. Check the URL's scheme and the "
                "server's certificate.",
                provider=provider,
            )
    words = next((str(cause) for cause in reversed(causes) if str(cause)), type(error).__name__)
    if any(isinstance(cause, httpx2.ConnectError) for cause in causes):
        return ProviderConnectionError(f"Nothing answers at {url} ({words}).{fix}", provider=provider)
    return ProviderConnectionError(f"The connection to {url} broke ({words}).", provider=provider)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and what led to it, nearest first."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
