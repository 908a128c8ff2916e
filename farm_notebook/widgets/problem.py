"""What a panel tells of an error: a title, a message and, where there is one, what to do about it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from farm_notebook import errors
from farm_notebook.errors import FarmError

__all__ = ["Problem", "problem_of"]

_log = logging.getLogger("farm_notebook")

LONGEST_LINE = 300  # characters of an error that was not made for users
_FIX = " Run: "  # stands before the command in messages that end with one

TITLES: dict[type[FarmError], str] = {
    errors.AuthenticationError: "The key was refused",
    errors.BackendCrashedError: "The model's process died",
    errors.BreakerOpenError: "The provider is left alone for a while",
    errors.BudgetExceededError: "The budget is used up",
    errors.ConfigError: "A setting is not valid",
    errors.ContentRefusedError: "The provider refused",
    errors.ContextLengthError: "The prompt is too long",
    errors.FarmError: "This did not work",
    errors.FetchError: "The model could not be fetched",
    errors.IncompleteStreamError: "The answer broke off",
    errors.InterruptedReply: "Stopped",
    errors.InvalidRequestError: "This cannot be done",
    errors.LimitReachedError: "A limit is reached",
    errors.LoadError: "The model does not load",
    errors.MissingExtraError: "A package is missing",
    errors.ModelNotFoundError: "There is no such model",
    errors.ModelUnloadedError: "The model was unloaded",
    errors.NoTargetAnsweredError: "No model answered",
    errors.OutOfMemoryError: "The model does not fit into memory",
    errors.ProviderConnectionError: "The provider cannot be reached",
    errors.ProviderError: "The provider failed",
    errors.ProviderTimeoutError: "The provider took too long",
    errors.QuotaExceededError: "The account's quota is used up",
    errors.RateLimitedError: "Too many requests",
    errors.UnknownProviderError: "There is no such provider",
    errors.UnsupportedParameterError: "The model cannot do that",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """An error in words for the page.

    Args:
        title: What happened, in a few words.
        message: The error's own words.
        fix: What the user can type or do; ``None`` where the message says all there is.
    """

    title: str
    message: str
    fix: str | None = None


def problem_of(error: BaseException, redact: Callable[[str], str]) -> Problem:
    """What is told of an error; one that was not made for users is one line of it, and is logged.

    Args:
        error: What was raised.
        redact: Takes secrets out of a text. It may read files, so it is not called on an event loop.
    """
    if isinstance(error, FarmError):
        title = next(TITLES[kind] for kind in type(error).__mro__ if kind in TITLES)
        message, _, fix = str(error).partition(_FIX)
        return Problem(title, redact(message), redact(fix) or None)
    line = " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST_LINE]
    told = redact(line)
    _log.warning("A panel's call failed: %s", told, exc_info=error if told == line else None)
    return Problem("Something went wrong in the kernel", told)
