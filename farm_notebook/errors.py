"""Every error this package raises, in one tree::

    FarmError
    ├── InvalidRequestError (ValueError)      an option or prompt that no model could take
    ├── UnknownProviderError (LookupError)    no provider of that name
    ├── ModelNotFoundError (LookupError)      the provider has no model of that name
    ├── ConfigError (ValueError)              a setting that is not valid
    ├── MissingExtraError (ImportError)       an optional dependency is not installed
    ├── FetchError (OSError)                  a model file could not be brought here whole
    ├── LoadError (RuntimeError)              a model file is here but does not load
    ├── InterruptedReply                      the user stopped the answer
    ├── InvalidAnswerError (ValueError)       the answer does not fit the schema that was asked for
    ├── BudgetExceededError (RuntimeError)    the request would cost more than the user wants to spend
    ├── CassetteError (ValueError)            a file of recorded calls that is missing or cannot be used
    │   └── NotRecordedError (LookupError)    replaying, a call that was not recorded
    ├── RequestBlockedError (RuntimeError)    a test asked for real, and is not to
    └── ProviderError (RuntimeError)          what a provider answered instead of an answer
        ├── AuthenticationError (PermissionError)
        ├── RateLimitedError
        │   └── LimitReachedError             a limit of ours, and it would take too long to wait for it
        ├── BreakerOpenError                  it failed so often that it is left alone for a while
        ├── NoTargetAnsweredError (ExceptionGroup)  every model that may answer failed
        ├── QuotaExceededError                waiting does not help: the account is used up
        ├── ContextLengthError (ValueError)
        ├── UnsupportedParameterError (ValueError)
        ├── ContentRefusedError
        ├── OutOfMemoryError (MemoryError)
        ├── ModelUnloadedError                the user took the model away, or closed the farm, meanwhile
        ├── ProviderConnectionError (ConnectionError)
        │   └── BackendCrashedError           a local backend's process died
        ├── ProviderTimeoutError (TimeoutError)
        └── IncompleteStreamError             the stream ended without its finish mark

Messages quote the bad value, list the valid ones and name the fix. Whatever a stream
had already delivered when it failed is in ``ProviderError.partial_text``. Each error has a
page in the documentation, ``FarmError.docs_url``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Literal

__all__ = [
    "AuthenticationError",
    "BackendCrashedError",
    "BreakerOpenError",
    "BudgetExceededError",
    "CassetteError",
    "ConfigError",
    "ContentRefusedError",
    "ContextLengthError",
    "FarmError",
    "FetchError",
    "IncompleteStreamError",
    "InterruptedReply",
    "InvalidAnswerError",
    "InvalidRequestError",
    "LimitReachedError",
    "LoadError",
    "MissingExtraError",
    "ModelNotFoundError",
    "ModelUnloadedError",
    "NoTargetAnsweredError",
    "NotRecordedError",
    "OutOfMemoryError",
    "ProviderConnectionError",
    "ProviderError",
    "ProviderTimeoutError",
    "QuotaExceededError",
    "RateLimitedError",
    "RequestBlockedError",
    "TimerName",
    "UnknownProviderError",
    "UnsupportedParameterError",
]

DOCS_URL = "https://farm-notebook.readthedocs.io/en/stable"  # where `make docs` is published

TimerName = Literal["connect", "first event", "idle", "total"]


class FarmError(Exception):
    """The root: ``except FarmError`` catches everything this package raises on purpose."""

    docs_url: ClassVar[str] = f"{DOCS_URL}/errors/FarmError.html"
    """The page that says what this error means, why it happens and what to do about it."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__module__ == __name__:  # what others make of an error has the page of that one
            cls.docs_url = f"{DOCS_URL}/errors/{cls.__name__}.html"


class InvalidRequestError(FarmError, ValueError):
    """An option or prompt that is wrong before any model is asked."""


class UnknownProviderError(FarmError, LookupError):
    """No provider of that name is built in or registered."""


class ModelNotFoundError(FarmError, LookupError):
    """The provider has no model of that name."""


class ConfigError(FarmError, ValueError):
    """A setting is not valid; the message names where it came from."""


class MissingExtraError(FarmError, ImportError):
    """An optional dependency is missing; the message is the ``pip install`` that adds it."""


class FetchError(FarmError, OSError):
    """A model file could not be brought to this machine whole and verified."""


class LoadError(FarmError, RuntimeError):
    """A model file is present but the backend cannot load it."""


class InterruptedReply(FarmError):
    """The user stopped the answer; what had arrived is kept in the ``Reply``."""


class InvalidAnswerError(FarmError, ValueError):
    """The answer does not fit what was asked for: a schema, even after a correction; or what it is read as.

    Args:
        message: One sentence for the user, which quotes what does not fit.
        text: The answer.
    """

    def __init__(self, message: str, *, text: str) -> None:
        super().__init__(message)
        self.text = text

    def __reduce__(self) -> tuple[Any, ...]:
        """How it is copied and pickled: without the text it cannot be made."""
        return partial(type(self), text=self.text), self.args, self.__dict__


class BudgetExceededError(FarmError, RuntimeError):
    """The request may cost more than what is left of a budget; nothing was sent.

    Args:
        message: One sentence for the user.
        budget: The setting that holds the budget, e.g. ``budget.cost_per_day``.
    """

    def __init__(self, message: str, *, budget: str) -> None:
        super().__init__(message)
        self.budget = budget

    def __reduce__(self) -> tuple[Any, ...]:
        """How it is copied and pickled: without the budget it cannot be made."""
        return partial(type(self), budget=self.budget), self.args, self.__dict__


class CassetteError(FarmError, ValueError):
    """A file of recorded calls is missing, damaged, or cannot be written."""


class NotRecordedError(CassetteError, LookupError):
    """While recorded calls are replayed, a call was made that is not among them; nobody was asked."""


class RequestBlockedError(FarmError, RuntimeError):
    """A provider was to be asked for real where that is blocked, as in tests; nobody was asked."""


class ProviderError(FarmError, RuntimeError):
    """A provider answered with an error, or did not answer.

    Args:
        message: One sentence for the user.
        provider: Name of the provider that failed.
        partial_text: The text that had arrived before the failure.
        status: The HTTP status, where there was one.
        retry_after_s: What the provider asked to wait before the next try, if it said.
    """

    def __init__(
        self,
        message: str,
        *,
        provider: str = "",
        partial_text: str = "",
        status: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.provider = provider
        self.partial_text = partial_text
        self.status = status
        self.retry_after_s = retry_after_s


class AuthenticationError(ProviderError, PermissionError):
    """The key was missing, wrong or not allowed to do this. Never retried."""


class RateLimitedError(ProviderError):
    """Too many requests; ``retry_after_s`` is what the provider asked to wait, if it said."""


class LimitReachedError(RateLimitedError):
    """A limit that the user set would make the request wait longer than it may; nothing was sent."""


class BreakerOpenError(ProviderError):
    """The provider failed so often that it is left alone for ``retry_after_s`` seconds; nothing was sent."""


class NoTargetAnsweredError(ProviderError, ExceptionGroup[FarmError]):
    """Every model that may answer failed; ``exceptions`` are the causes, in the order they were asked.

    Args:
        message: One sentence for the user, which names each target with its cause.
        causes: What each raised; at least one.
        provider: Of the first target.
    """

    def __new__(
        cls, message: str, causes: Sequence[FarmError], *, provider: str = ""
    ) -> NoTargetAnsweredError:
        return ExceptionGroup.__new__(cls, message, list(causes))

    def __init__(self, message: str, causes: Sequence[FarmError], *, provider: str = "") -> None:
        super().__init__(message, provider=provider)

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        """How it is copied and pickled: without the causes it cannot be made."""
        return type(self), (self.message, self.exceptions), self.__dict__

    def derive(self, causes: Sequence[FarmError]) -> NoTargetAnsweredError:  # type: ignore[override]
        return type(self)(self.message, causes, provider=self.provider)


class QuotaExceededError(ProviderError):
    """The account's quota or balance is used up. Never retried."""


class ContextLengthError(ProviderError, ValueError):
    """The prompt does not fit: ``tokens`` were sent, ``limit`` fit. ``None`` where not told."""

    def __init__(
        self,
        message: str,
        *,
        provider: str = "",
        partial_text: str = "",
        status: int | None = None,
        tokens: int | None = None,
        limit: int | None = None,
    ) -> None:
        super().__init__(message, provider=provider, partial_text=partial_text, status=status)
        self.tokens = tokens
        self.limit = limit


class UnsupportedParameterError(ProviderError, ValueError):
    """The provider cannot honour a parameter, and says so rather than dropping it."""


class ContentRefusedError(ProviderError):
    """The provider's content filter refused the prompt or the answer."""


class OutOfMemoryError(ProviderError, MemoryError):
    """A local model, or the answer it was to give, does not fit into the device's memory."""


class ModelUnloadedError(ProviderError):
    """The model was unloaded, or the farm closed, before the answer was whole; ask again to load it."""


class ProviderConnectionError(ProviderError, ConnectionError):
    """The provider could not be reached, or the connection broke."""


class BackendCrashedError(ProviderConnectionError):
    """The process that runs a local model died; the next request starts it again."""


class ProviderTimeoutError(ProviderError, TimeoutError):
    """Nothing came in time; ``timer`` says which of the four timers ran out."""

    def __init__(self, message: str, *, timer: TimerName, provider: str = "", partial_text: str = "") -> None:
        super().__init__(message, provider=provider, partial_text=partial_text)
        self.timer: TimerName = timer

    def __reduce__(self) -> tuple[Any, ...]:
        """How it is copied and pickled: without the timer it cannot be made."""
        return partial(type(self), timer=self.timer), self.args, self.__dict__


class IncompleteStreamError(ProviderError):
    """The stream ended without the provider's own finish mark, so it did not succeed."""
