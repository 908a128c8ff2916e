"""What every provider that speaks HTTP shares: foreign errors in our terms, and when to try again.

The table of what an error means stands here once; what only one protocol knows, such as the words of its
error bodies, stays with that protocol. What may be shown to people is decided here too: addresses lose what
may be secret in them, and messages from outside lose the keys they repeat.
"""

from __future__ import annotations

import email.utils
import math
import os
import re
import socket
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC
from urllib.parse import urlsplit

import httpx2

from farm_notebook.config.masking import MASK, mask_error
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
from farm_notebook.providers.http_client import is_loopback, proxy_variables

__all__ = [
    "connection_error",
    "public_url",
    "redact",
    "redacted",
    "retry_after_s",
    "status_error",
]

# A shorter key is a stand-in ("EMPTY", "ollama"), and a word that honest messages have too.
SHORTEST_SECRET = 8
_NUMBER = re.compile(r"\d+(\.\d+)?", re.ASCII)  # float() also takes "nan", "1_0" and digits of any script
_HOST_AND_PORT = re.compile(r"([^:@]*|\[[^@]*\])(:\d*)?")


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

    Args:
        headers: Of the response, in any case of letters.
        now: Seconds since the epoch, against which a date is read; ``None`` asks the clock.

    Source: RFC 9110, 10.2.3 (seconds or a date), and ``retry-after-ms``, which OpenAI and Azure send and
    which is the finer of the two.
    """
    by_name = {name.lower(): value.strip() for name, value in headers.items()}
    for name, factor in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        if _NUMBER.fullmatch(text := by_name.get(name, "")) and math.isfinite(wait := float(text)):
            return wait * factor
    try:
        moment = email.utils.parsedate_to_datetime(by_name["retry-after"])
    except (KeyError, ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, moment.timestamp() - (time.time() if now is None else now))


def connection_error(error: Exception, *, url: str, provider: str, fix: str = "") -> ProviderError:
    """The typed error for a request that got no answer, or not a whole one.

    Args:
        error: What the HTTP client raised; its causes are looked at too.
        url: Where the request went; only its ``public_url`` is shown.
        provider: Name of the provider.
        fix: What the user can do where nothing answers at all.
    """
    url, fix = public_url(url), f" {fix}" if fix else ""
    causes = list(_causes(error))
    for cause in causes:
        match cause:
            case httpx2.ConnectTimeout():
                return ProviderTimeoutError(
                    f"{url} did not accept the connection in time. Raise FARM_TIMEOUTS__CONNECT_S, or see "
                    f"whether it is reachable.{fix}",
                    timer="connect",
                    provider=provider,
                )
            case httpx2.TimeoutException():
                return ProviderTimeoutError(
                    f"{url} sent nothing in time ({type(cause).__name__}).", timer="idle", provider=provider
                )
            case httpx2.LocalProtocolError():  # its words quote the header, which may be the key
                message = (
                    f"No request can be sent to {url}: a header of it is not valid in HTTP. See whether the "
                    "key or a configured header holds a line break or other control characters."
                )
                return ProviderConnectionError(message, provider=provider)
            case httpx2.UnsupportedProtocol() | httpx2.InvalidURL():
                message = f"{url!r} is no address a request can go to. It starts with http:// or https://."
                return ProviderConnectionError(message, provider=provider)
            case httpx2.ProxyError():
                message = f"The proxy on the way to {url} refused ({cause})."
                return ProviderConnectionError(message, provider=provider)
            case socket.gaierror():
                message = (
                    f"{url} has a host name that nobody knows ({cause.strerror or cause}). Check the URL."
                )
                return ProviderConnectionError(message, provider=provider)
            case ssl.SSLError():
                return ProviderConnectionError(_no_tls(cause, url), provider=provider)
            case _:
                pass
    words = _words(causes)
    if any(isinstance(cause, httpx2.ConnectError) for cause in causes):
        if (names := proxy_variables()) and not is_loopback(urlsplit(url).hostname or ""):
            fix += f" The way there is the proxy in {' or '.join(names)}, which may be what does not answer."
        return ProviderConnectionError(f"Nothing answers at {url} ({words}).{fix}", provider=provider)
    return ProviderConnectionError(f"The connection to {url} broke ({words}).", provider=provider)


def public_url(url: str) -> str:
    """A URL without what may be secret in it: user and password, query and fragment.

    It need not be valid: also of a password with ``/``, ``?`` or ``@`` in it nothing is shown.
    """
    scheme, separator, rest = url.partition("://") if "://" in url else ("", "", url)
    if not _HOST_AND_PORT.fullmatch(re.split("[/?#]", rest, maxsplit=1)[0]):
        rest = rest.rpartition("@")[2]
    return scheme + separator + re.split("[?#]", rest, maxsplit=1)[0]


def redacted(text: str, secrets: Iterable[str]) -> str:
    """A message from outside, without the keys that it repeats.

    Args:
        text: What the far side said.
        secrets: Keys and passwords; those shorter than ``SHORTEST_SECRET`` characters are left alone.
    """
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, MASK)
    return text


def redact(error: FarmError, secrets: Iterable[str]) -> None:
    """Take keys that the far side repeated out of an error; what led to it is dropped where it shows one.

    Args:
        error: Changed in place.
        secrets: As for ``redacted``.
    """
    secrets = tuple(secrets)
    mask_error(error, lambda text: redacted(text, secrets))


def _no_tls(error: ssl.SSLError, url: str) -> str:
    """What is wrong with a secure connection, and whose fault it is."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"The certificate of {url} is not trusted: {error.verify_message}. If it is your own, put the "
            "file of its authority into SSL_CERT_FILE."
        )
    return (
        f"No secure connection to {url}: {error.reason or error}. Check the URL: its scheme is http:// where "
        "the server does not speak TLS."
    )


def _words(causes: list[BaseException]) -> str:
    """What went wrong at the bottom, in the system's words where it was the system."""
    for cause in reversed(causes):
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno)
        if isinstance(cause, httpx2.HTTPError) and str(cause):
            return str(cause)
    if any(type(cause).__name__ == "ClosedResourceError" for cause in causes):  # anyio's
        return "it was closed here"
    return type(causes[0]).__name__


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and what led to it, nearest first; of a group of errors the first member.

    httpcore2 hides the system's errors with ``from None``, but has them as arguments. A context does not
    count: it may be the failure of an earlier try, or of another provider.
    """
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        else:
            among_args = (arg for arg in error.args if isinstance(arg, BaseException))
            error = error.__cause__ or next(among_args, None)
