"""Whether a message says that a prompt does not fit, and with which counts: each server has its own words."""

from __future__ import annotations

import re

__all__ = ["TooLong", "too_long"]

_TOKENS, _LIMIT = r"(?P<tokens>\d[\d,]*)", r"(?P<limit>\d[\d,]*)"
_SENTENCES = tuple(
    re.compile(sentence, re.IGNORECASE | re.DOTALL)
    for sentence in (
        # OpenAI; Azure; OpenRouter: "This endpoint's ..., you requested about N tokens"
        rf"maximum context length is {_LIMIT} tokens.*?(?:resulted in|requested(?: about)?) {_TOKENS} tokens",
        # vLLM, and before it: "your request has N input tokens", "your prompt contains at least N"
        rf"maximum context length is {_LIMIT} tokens.*?(?:has|contains)(?: at least)? {_TOKENS} input tokens",
        rf"prompt \(length {_TOKENS}\) is longer than the maximum model length of {_LIMIT}",
        # llama.cpp
        rf"request \({_TOKENS} tokens\) exceeds the available context size \({_LIMIT} tokens\)",
        rf"exceeds the available context size \({_LIMIT} tokens\)",
        rf"input \({_TOKENS} tokens\) is too large to process.*?batch size: {_LIMIT}",
        # LM Studio
        rf"first {_TOKENS} tokens when context.*?context length of only {_LIMIT} tokens",
        # Groq and OpenAI, where one request is more than a minute's allowance: no waiting makes it fit
        rf"request too large.*?limit:? {_LIMIT},? requested:? {_TOKENS}",
        # Together and text-generation-inference
        rf"must be <= {_LIMIT}\. Given: {_TOKENS} `?inputs",
        # gateways to Anthropic, Mistral and Google
        rf"prompt is too long: {_TOKENS} tokens > {_LIMIT} maximum",
        rf"prompt contains {_TOKENS} tokens.*?{_LIMIT} maximum context length",
        rf"input token count \({_TOKENS}\) exceeds the maximum number of tokens allowed \({_LIMIT}\)",
        # without counts, or with one of them
        rf"maximum context length (?:is|of) {_LIMIT}",
        r"(?:exceeds?|exceeded|longer than) the (?:model's )?(?:maximum )?context (?:window|length|size)",
        r"context[ _](?:length|window|size) (?:was )?exceeded",
        r"reduce the length of the (?:messages|prompt|input)",
    )
)

TooLong = tuple[int | None, int | None]


def too_long(message: str) -> TooLong | None:
    """Tokens sent and tokens that fit, ``None`` where not told; ``None`` for a message of another kind."""
    for sentence in _SENTENCES:
        if found := sentence.search(message):
            counts = found.groupdict()
            return _count(counts.get("tokens")), _count(counts.get("limit"))
    return None


def _count(digits: str | None) -> int | None:
    return int(digits.replace(",", "")) if digits else None
