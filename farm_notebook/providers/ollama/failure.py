"""What Ollama says went wrong, as a typed error.

Its errors are ``{"error": "words"}``, with a status or, inside a stream, without one; what they mean is in
the words. Those of llama.cpp are passed on as they were, JSON inside the JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from farm_notebook.errors import (
    AuthenticationError,
    BackendCrashedError,
    ContextLengthError,
    FarmError,
    ModelNotFoundError,
    OutOfMemoryError,
    ProviderError,
    UnsupportedParameterError,
)
from farm_notebook.providers.http import redacted, status_error
from farm_notebook.providers.ollama.names import short_name
from farm_notebook.types import ModelRef

__all__ = ["ollama_error"]

_QUOTED_CHARACTERS = 300
_NOT_FOUND = re.compile(
    r"\bmodel\b.* not found|invalid model name|manifest: file does not exist|name .* is invalid",
    re.IGNORECASE,
)
_UNSUPPORTED = re.compile(
    r"does not support (?P<what>[\w ]+)|(?P<medium>image|audio|video) input is not supported", re.IGNORECASE
)
_PARAMETERS = {
    "thinking": "reasoning",
    "image": "images",
    "vision": "images",
    "insert": "suffix",
}  # our words
_CONTEXT = re.compile(
    r"exceed\w* (the |the model's )?(maximum |available )?context|longer than the context length",
    re.IGNORECASE,
)
_COUNTS = re.compile(r"\((\d+) tokens\)")
# From outOfMemorySubstrings of llm/status.go, and the scheduler's own of older versions.
_OUT_OF_MEMORY = re.compile(
    r"out of (device )?memory|requires more system memory|(cuda|hip)Malloc failed|failed to allocate|"
    r"allocation failed|not enough memory|insufficient memory|error_?out_?of_?device_?memory",
    re.IGNORECASE,
)
_CRASHED = re.compile(r"(process has terminated|process no longer running)", re.IGNORECASE)


def ollama_error(
    body: Any,
    ref: ModelRef | None,
    *,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
    url: str = "",
    secrets: Iterable[str] = (),
) -> FarmError:
    """The typed error for an error body.

    Args:
        body: The JSON of the response or of a line of the stream; text where it was no JSON.
        ref: The model that was asked, if one was.
        status: Of the response.
        headers: Of the response.
        url: Where the server is.
        secrets: What must not be repeated.
    """
    is_ollamas = isinstance(body, dict) and "error" in body
    words, counts = _words(body)
    words = redacted(words, secrets)
    who = str(ref) if ref else f"The server at {url}"
    message = f"{who}: {words}"
    provider = ref.provider if ref else "ollama"
    if status == 404 and not is_ollamas:
        return ProviderError(
            f"{url} answers, but is not Ollama's API (404, {words!r}). Check OLLAMA_URL; without the path of "
            "a single call, and with the prefix if a proxy wants one.",
            provider=provider,
            status=status,
        )
    if ref and (status == 404 or (status in (400, None) and _NOT_FOUND.search(words))):
        return _not_found(ref, words)
    if found := _UNSUPPORTED.search(words):
        what = (found["what"] or found["medium"]).strip().split(" Pull")[0].lower()
        parameter = _PARAMETERS.get(what, what)
        return UnsupportedParameterError(
            f"{who} cannot honour {parameter}: {words}. `ollama show` lists what a model can do.",
            provider=provider,
            status=status,
        )
    if _CONTEXT.search(words):
        tokens, limit = counts
        return ContextLengthError(
            f"{message}. Shorten the prompt, or raise FARM_OLLAMA__CONTEXT_TOKENS (num_ctx).",
            provider=provider,
            status=status,
            tokens=tokens,
            limit=limit,
        )
    if _OUT_OF_MEMORY.search(words):
        return OutOfMemoryError(
            f"{message}. Take a smaller model, lower FARM_OLLAMA__CONTEXT_TOKENS, or unload other models.",
            provider=provider,
            status=status,
        )
    if _CRASHED.search(words):
        return BackendCrashedError(
            f"{message}. The next request starts it again.", provider=provider, status=status
        )
    if status == 401:
        return AuthenticationError(
            f"{message}. Put a key into OLLAMA_API_KEY, or run `ollama signin` on the server's machine.",
            provider=provider,
            status=status,
        )
    return status_error(message, status=status, provider=provider, headers=headers)


def _not_found(ref: ModelRef, words: str) -> ModelNotFoundError:
    name = short_name(ref.model)
    return ModelNotFoundError(
        f"{str(ref)!r} is not on the Ollama server ({words}). Fetch it with `ollama pull {name}` or "
        f"`farm pull {ref.provider}:{name}`, or set FARM_OLLAMA__AUTO_PULL=true."
    )


def _words(body: Any) -> tuple[str, tuple[int | None, int | None]]:
    """What was said, and the tokens of the prompt and of the context if they were told."""
    error = body.get("error") if isinstance(body, dict) else body
    if isinstance(error, str) and error.startswith("{"):
        try:
            error = json.loads(error)
        except (ValueError, RecursionError):
            pass
        else:
            error = error.get("error", error)
    counts: tuple[int | None, int | None] = (None, None)
    if isinstance(error, dict):
        counts = _count(error.get("n_prompt_tokens")), _count(error.get("n_ctx"))
        error = error.get("message") or error
    words = " ".join(str(error or "no reason given").split())[:_QUOTED_CHARACTERS].rstrip(".")
    if counts == (None, None) and len(found := _COUNTS.findall(words)) == 2:
        counts = int(found[0]), int(found[1])
    return words, counts


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) else None
