"""The errors that a script can be told to fail with."""

from __future__ import annotations

from collections.abc import Mapping

from farm_notebook import errors
from farm_notebook.providers.http import status_error
from farm_notebook.types import ModelRef

__all__ = ["ERRORS", "failure"]

ERRORS: Mapping[str, type[errors.FarmError]] = {
    "auth": errors.AuthenticationError,
    "config": errors.ConfigError,
    "connection": errors.ProviderConnectionError,
    "context": errors.ContextLengthError,
    "crash": errors.BackendCrashedError,
    "extra": errors.MissingExtraError,
    "fetch": errors.FetchError,
    "incomplete": errors.IncompleteStreamError,
    "invalid": errors.InvalidRequestError,
    "load": errors.LoadError,
    "memory": errors.OutOfMemoryError,
    "model": errors.ModelNotFoundError,
    "provider": errors.ProviderError,
    "quota": errors.QuotaExceededError,
    "rate": errors.RateLimitedError,
    "refused": errors.ContentRefusedError,
    "timeout": errors.ProviderTimeoutError,
    "unloaded": errors.ModelUnloadedError,
    "unsupported": errors.UnsupportedParameterError,
}


def failure(kind: str, ref: ModelRef, retry_after_s: float | None) -> errors.FarmError:
    """The error of a kind: an HTTP status, as three digits, or a name of ``ERRORS``.

    Args:
        kind: As the script's name spells it.
        ref: The model that fails.
        retry_after_s: What it asks to wait; only a provider's errors can say it.
    """
    message = f"{ref} failed on cue."
    if kind.isdecimal():
        headers = {} if retry_after_s is None else {"retry-after": str(retry_after_s)}
        return status_error(message, status=int(kind), provider=ref.provider, headers=headers)
    error = ERRORS[kind]
    if issubclass(error, errors.ContextLengthError):
        return error(message, provider=ref.provider, tokens=9000, limit=8192)
    if issubclass(error, errors.ProviderTimeoutError):
        return error(message, provider=ref.provider, timer="first event")
    if issubclass(error, errors.ProviderError):
        return error(message, provider=ref.provider, retry_after_s=retry_after_s)
    return error(message)
