"""What is sent to an endpoint for a request: the interfaces it has, and its own words for our parameters."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from farm_notebook.config import EndpointConfig
from farm_notebook.errors import UnsupportedParameterError
from farm_notebook.providers.openai.response_stream import decode_responses
from farm_notebook.providers.openai.responses import responses_body
from farm_notebook.providers.openai_wire import decode_stream, reasoning_effort, request_body
from farm_notebook.types import ChatRequest, Event, ModelRef

__all__ = ["Ask", "asks", "is_azure"]

_NOT_RAW = ("schema", "tools", "tool_choice", "reasoning")  # what /completions has no word for


@dataclass(frozen=True, slots=True)
class Ask:
    """One way to ask: where, with what, and how the answer is read."""

    path: str
    body: Mapping[str, Any]
    decode: Callable[[AsyncIterable[bytes], ModelRef], AsyncGenerator[Event, None]]


def asks(request: ChatRequest, endpoint: EndpointConfig, *, has_completions: bool | None) -> list[Ask]:
    """The ways to ask, to be tried in order where an endpoint turns out not to have the first.

    Args:
        request: What is asked.
        endpoint: Whom.
        has_completions: Whether it has ``/completions`` for this model; ``None`` where that has to be seen.

    Raises:
        UnsupportedParameterError: No way to ask has a word for one of the parameters.
    """
    if request.kind == "completion":
        as_chat = replace(request, kind="chat")
        if endpoint.api == "responses" or endpoint.has_completions is False:
            return asks(as_chat, endpoint, has_completions=False)
        if dropped := [name for name in _NOT_RAW if name in request.parameters()]:
            raise UnsupportedParameterError(
                f"{request.ref} cannot honour {', '.join(dropped)} for a raw prompt. Ask it as a chat.",
                provider=request.ref.provider,
            )
        raw = Ask("/completions", _body(request, endpoint), decode_stream)
        chat = asks(as_chat, endpoint, has_completions=False)
        return [raw] if has_completions else chat if has_completions is False else [raw, *chat]
    if endpoint.api == "responses":
        return [Ask("/responses", responses_body(request), decode_responses)]
    return [Ask("/chat/completions", _body(request, endpoint), decode_stream)]


def is_azure(endpoint: EndpointConfig) -> bool:
    """Whether an endpoint is Azure's, where a model's name is that of a deployment."""
    return _host(endpoint).endswith(".azure.com")


def _body(request: ChatRequest, endpoint: EndpointConfig) -> dict[str, Any]:
    # OpenAI's reasoning models refuse max_tokens; hardly anyone else knows max_completion_tokens.
    is_openai = is_azure(endpoint) or _host(endpoint).endswith("api.openai.com")
    body = {
        "model": request.ref.model,
        **request_body(request, limit_name="max_completion_tokens" if is_openai else "max_tokens"),
    }
    if request.reasoning is not None:
        body.setdefault("reasoning_effort", reasoning_effort(request.reasoning))
    return body


def _host(endpoint: EndpointConfig) -> str:
    return (urlsplit(endpoint.base_url).hostname or "").lower()
