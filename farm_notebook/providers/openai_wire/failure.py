"""An error body as a typed error, whatever of it is there.

OpenAI's own shape is ``{"error": {"message", "type", "code", "param"}}``. Others send the inner object alone,
a text in its place, a list around it, or put the true cause into ``metadata`` (OpenRouter) or ``innererror``
(Azure). Codes decide where they are known, then the words, then the status.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from farm_notebook.errors import (
    AuthenticationError,
    ContentRefusedError,
    ContextLengthError,
    FarmError,
    ModelNotFoundError,
    OutOfMemoryError,
    ProviderError,
    QuotaExceededError,
    UnsupportedParameterError,
)
from farm_notebook.providers.http import status_error
from farm_notebook.providers.openai_wire.too_long import too_long
from farm_notebook.types import ModelRef

__all__ = ["is_missing_model", "wire_error"]

_CONTEXT = {"exceed_context_size_error", "context_length_exceeded", "string_above_max_length"}
_NO_MODEL = {"model_not_found", "model_not_available", "invalid_model", "DeploymentNotFound"}
_BY_CODE: tuple[tuple[type[ProviderError], set[str]], ...] = (
    (AuthenticationError, {"invalid_api_key", "invalid_issuer", "account_deactivated"}),
    (
        ContentRefusedError,
        {
            *("content_filter", "content_policy_violation", "image_content_policy_violation"),
            *("invalid_prompt", "bio_policy", "misalignment_policy_violation"),
        },
    ),
    (
        QuotaExceededError,
        {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "quota_exceeded"},
    ),
    (
        UnsupportedParameterError,
        {"unsupported_parameter", "unsupported_value", "unknown_parameter", "not_supported_error"},
    ),
)
_BY_WORDS: tuple[tuple[type[ProviderError], re.Pattern[str]], ...] = tuple(
    (kind, re.compile(words, re.IGNORECASE))
    for kind, words in (
        (QuotaExceededError, r"exceeded your current quota|credit balance is too low|insufficient balance"),
        (
            UnsupportedParameterError,
            r"unsupported (?:parameter|value)|unrecognized request argument|unknown parameter|"
            r"property '[^']*' is unsupported|\bnot supported (?:with|by|for) this model|"
            r"does(?: not|n't) support |(?:image|audio) input is not supported|"
            r"extra inputs are not permitted",
        ),
        (OutOfMemoryError, r"out of memory"),
    )
)
_MISSING = re.compile(
    r"\bmodel\b.{0,200}?(?:not found|does(?: not|n't) exist|not available)|not a valid model|"
    r"server is pinned to|"
    r"(?:unknown|invalid|no such|unable to access) (?:non-serverless )?model|no endpoints found",
    re.IGNORECASE | re.DOTALL,
)
_RATE_LIMIT = 429
_STATUSES = range(400, 600)
_SAID_CHARS = 2000  # more is a page or a traceback, and the words that decide come first
_PASSED_ON_CHARS = 500


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
    error = _error_of(body)
    words = _words(error)
    message = f"{ref}: {words}"
    code = error.get("code")
    status = status or (code if isinstance(code, int) and code in _STATUSES else None)
    codes = {str(error.get("type")), str(code)}
    counts = too_long(words)
    if codes & _CONTEXT or counts is not None:
        tokens, limit = counts or (None, None)
        return ContextLengthError(
            message,
            provider=ref.provider,
            status=status,
            tokens=_number(error.get("n_prompt_tokens")) or tokens,
            limit=_number(error.get("n_ctx")) or limit,
        )
    if status in (None, 400, 403, 404) and is_missing_model(body):
        return ModelNotFoundError(message)
    for kind, known in _BY_CODE:
        if codes & known:
            return kind(message, provider=ref.provider, status=status)
    for kind, pattern in _BY_WORDS:
        if (status != _RATE_LIMIT or kind is QuotaExceededError) and pattern.search(words):
            return kind(message, provider=ref.provider, status=status)
    if "rate_limit_exceeded" in codes and status is None:
        status = _RATE_LIMIT
    if _is_flagged(error):
        return ContentRefusedError(message, provider=ref.provider, status=status)
    return status_error(message, status=status, provider=ref.provider, headers=headers)


def is_missing_model(body: Any) -> bool:
    """Whether an error body says that there is no such model, and not only that there is no such path."""
    error = _error_of(body)
    codes = {str(error.get("type")), str(error.get("code"))}
    return bool(codes & _NO_MODEL or _MISSING.search(_words(error)))


def _error_of(body: Any) -> Mapping[str, Any]:
    """The innermost object that tells of the error."""
    if isinstance(body, list) and len(body) == 1 and isinstance(body[0], dict):  # Google's gateway
        body = body[0]
    if not isinstance(body, dict):
        return {"message": str(body)}
    error = body.get("error")
    if isinstance(error, dict):
        return error
    if error is None and isinstance(body.get("message"), str):  # vLLM, Mistral
        return body
    if error is None and isinstance(body.get("detail"), str):  # what FastAPI makes of an exception
        return {"message": body["detail"]}
    return {"message": str(error or body)}


def _words(error: Mapping[str, Any]) -> str:
    """What the server says, and what it passes on from the server behind it."""
    said = str(error.get("message") or "the server gave no reason")[:_SAID_CHARS]
    metadata = error.get("metadata")
    if isinstance(metadata, dict) and isinstance(raw := metadata.get("raw"), str):
        said = f"{said} ({metadata.get('provider_name')}: {raw[:_PASSED_ON_CHARS]})"
    return said


def _is_flagged(error: Mapping[str, Any]) -> bool:
    """Whether a moderator of OpenRouter or Azure stopped the prompt, which their codes do not say."""
    metadata, inner = error.get("metadata"), error.get("innererror")
    return (isinstance(metadata, dict) and "flagged_input" in metadata) or (
        isinstance(inner, dict) and inner.get("code") == "ResponsibleAIPolicyViolation"
    )


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) else None
