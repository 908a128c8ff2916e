"""An error body as a typed error, whatever of it is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from farm_notebook.errors import (
    ContentRefusedError,
    ContextLengthError,
    FarmError,
    QuotaExceededError,
    UnsupportedParameterError,
)
from farm_notebook.providers.http import status_error
from farm_notebook.types import ModelRef

__all__ = ["wire_error"]

_CONTEXT = {"exceed_context_size_error", "context_length_exceeded"}
_REFUSED = {"content_filter", "content_policy_violation"}
_QUOTA = {"insufficient_quota", "billing_hard_limit_reached"}
_UNSUPPORTED = {"unsupported_parameter", "unsupported_value"}


def wire_error(
    body: Any, ref: ModelRef, status: int | None = None, headers: Mapping[str, str] | None = None
) -> FarmError:
    """The typed error for an error body.

    Args:
        body: The JSON of the response or of the chunk; text where it was no JSON.
        ref: The model that was asked.
        status: Of the response; an error inside a stream may carry its own.
        headers: Of the response.
    """
    error = body.get("error") if isinstance(body, dict) else None
    error = error if isinstance(error, dict) else {"message": str(error or body)}
    message = f"{ref}: {error.get('message') or 'the server gave no reason'}"
    code = error.get("code")
    status = status or (code if isinstance(code, int) else None)
    words = {str(error.get("type")), str(code)}
    if words & _CONTEXT:
        return ContextLengthError(
            message,
            provider=ref.provider,
            status=status,
            tokens=error.get("n_prompt_tokens"),
            limit=error.get("n_ctx"),
        )
    for kind, known in (
        (ContentRefusedError, _REFUSED),
        (QuotaExceededError, _QUOTA),
        (UnsupportedParameterError, _UNSUPPORTED),
    ):
        if words & known:
            return kind(message, provider=ref.provider, status=status)
    return status_error(message, status=status, provider=ref.provider, headers=headers)
