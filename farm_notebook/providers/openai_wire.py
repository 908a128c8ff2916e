"""The OpenAI-compatible wire: a request as a JSON body, a streamed chunk as events, an error as ours.

Whoever speaks this protocol shares it: the embedded llama.cpp server today. The transport, the keys and
what only one server knows stay with the provider.
Source: https://platform.openai.com/docs/api-reference/chat-streaming
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from typing import Any, get_args

from farm_notebook.errors import (
    AuthenticationError,
    ContextLengthError,
    FarmError,
    IncompleteStreamError,
    InvalidRequestError,
    ProviderError,
    RateLimitedError,
)
from farm_notebook.providers.sse import data_payloads
from farm_notebook.types import (
    ChatRequest,
    Event,
    Finished,
    FinishReason,
    ModelRef,
    PromptProgress,
    ReasoningDelta,
    TextDelta,
    Usage,
)

__all__ = ["decode_stream", "request_body", "usage_of", "wire_error"]

_DONE = b"[DONE]"


def request_body(request: ChatRequest) -> dict[str, Any]:
    """The JSON body of a streamed request; what was not set is not sent."""
    body: dict[str, Any] = {
        "stream": True,
        "stream_options": {"include_usage": True},
        **{name: value for name, value in request.parameters().items() if name != "schema"},
    }
    if request.kind == "completion":
        body["prompt"] = request.messages[0].content
    else:
        body["messages"] = [{"role": m.role, "content": m.content} for m in request.messages]
    if request.schema is not None:
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": dict(request.schema), "strict": True},
        }
    return body


async def decode_stream(chunks: AsyncIterable[bytes], ref: ModelRef) -> AsyncGenerator[Event, None]:
    """Events of a streamed answer, the last one ``Finished``.

    Raises:
        IncompleteStreamError: The bytes ended without a finish reason.
        ProviderError: The server reported an error inside the stream.
    """
    payloads = data_payloads(chunks)
    reason: FinishReason | None = None
    usage = Usage()
    async for payload in payloads:
        if payload == _DONE:
            break
        try:
            chunk = json.loads(payload)
        except ValueError:
            raise ProviderError(
                f"{ref} sent a chunk that is not JSON: {payload[:200]!r}.", provider=ref.provider
            ) from None
        if not isinstance(chunk, dict) or chunk.get("error"):
            raise wire_error(chunk, ref)
        try:
            events, word = _read(chunk)
            reason = reason if word is None else _finish_reason(word)
            usage = usage_of(chunk.get("usage")) or usage
        except (AttributeError, KeyError, TypeError):  # JSON, but not the protocol's: a proxy's, say
            raise ProviderError(
                f"{ref} sent a chunk of an unknown shape: {payload[:200]!r}.", provider=ref.provider
            ) from None
        for event in events:
            yield event
    if reason is None:
        raise IncompleteStreamError(
            f"The stream of {ref} ended without a finish reason.", provider=ref.provider
        )
    yield Finished(reason, usage)
    async for _ in payloads:  # to the response's end, or its connection cannot serve the next request
        pass


def usage_of(counts: Mapping[str, Any] | None) -> Usage | None:
    """Token counts as the server gave them; what it left out stays unknown."""
    if not counts:
        return None
    details = counts.get("prompt_tokens_details") or {}
    return Usage(
        input_tokens=counts.get("prompt_tokens"),
        output_tokens=counts.get("completion_tokens"),
        cached_tokens=details.get("cached_tokens"),
    )


def wire_error(body: Any, ref: ModelRef, status: int | None = None) -> FarmError:
    """The typed error for an error body, whatever of it is there."""
    error = body.get("error") if isinstance(body, dict) else None
    error = error if isinstance(error, dict) else {"message": str(error or body)}
    message = f"{ref}: {error.get('message') or 'the server gave no reason'}"
    kind, code = str(error.get("type")), error.get("code")
    status = status or (code if isinstance(code, int) else None)
    if kind == "exceed_context_size_error" or code == "context_length_exceeded":
        return ContextLengthError(
            message,
            provider=ref.provider,
            tokens=error.get("n_prompt_tokens"),
            limit=error.get("n_ctx"),
        )
    if status in (401, 403):
        return AuthenticationError(message, provider=ref.provider)
    if status == 429:
        return RateLimitedError(message, provider=ref.provider)
    if status in (400, 422):
        return InvalidRequestError(message)
    return ProviderError(message, provider=ref.provider)


def _read(chunk: Mapping[str, Any]) -> tuple[list[Event], str | None]:
    """A chunk's events, and its finish reason in the server's word. The hot path: once for each token."""
    events: list[Event] = []
    word: str | None = None
    if progress := chunk.get("prompt_progress"):
        events.append(PromptProgress(progress["processed"], progress["total"]))
    for choice in chunk.get("choices") or ():
        if delta := choice.get("delta"):
            if reasoning := delta.get("reasoning_content") or delta.get("reasoning"):
                events.append(ReasoningDelta(_text(reasoning)))
            if text := delta.get("content"):
                events.append(TextDelta(_text(text)))
        elif text := choice.get("text"):  # of a completion
            events.append(TextDelta(_text(text)))
        word = choice.get("finish_reason") or word
    return events, word


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value


def _finish_reason(reason: str) -> FinishReason:
    """The field's word for why an answer ended; a word nobody knows counts as ``stop``."""
    if reason == "function_call":
        return "tool_calls"
    known: dict[str, FinishReason] = {word: word for word in get_args(FinishReason)}
    return known.get(reason, "stop")
