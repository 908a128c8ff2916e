"""A request as the JSON body of ``/chat/completions`` or ``/completions``."""

from __future__ import annotations

from typing import Any, Literal

from farm_notebook.providers.openai_wire.schema import json_schema_format
from farm_notebook.types import ChatMessage, ChatRequest, ReasoningEffort, RequestKind, Tool

__all__ = ["reasoning_effort", "request_body"]

_SAME_NAME = ("temperature", "top_p", "seed", "stop")


def request_body(
    request: ChatRequest, *, limit_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
) -> dict[str, Any]:
    """The JSON body of a streamed request; what was not set is not sent.

    ``reasoning`` is left out: every server has its own word for it.

    Args:
        request: What is asked.
        limit_name: How this server calls the most tokens of a chat's answer.
    """
    parameters = request.parameters()
    body: dict[str, Any] = {
        "stream": True,
        "stream_options": {"include_usage": True},
        **{name: parameters[name] for name in _SAME_NAME if name in parameters},
    }
    if request.logprobs is not None:
        body |= _logprobs(request.logprobs, request.kind)
    if request.kind == "completion":
        body["prompt"] = request.messages[0].content
        limit_name = "max_tokens"
    else:
        body["messages"] = [_message(message) for message in request.messages]
    if request.max_tokens is not None:
        body[limit_name] = request.max_tokens
    if request.schema is not None:
        body["response_format"] = {"type": "json_schema", "json_schema": json_schema_format(request.schema)}
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    if (choice := request.tool_choice) is not None:
        by_word = choice in ("auto", "none", "required")
        body["tool_choice"] = choice if by_word else {"type": "function", "function": {"name": choice}}
    return body | dict(request.extra)


def reasoning_effort(effort: ReasoningEffort) -> str:
    """OpenAI's word for how hard a model thinks."""
    return {"off": "none", "on": "medium"}.get(effort, effort)


def _logprobs(count: int, kind: RequestKind) -> dict[str, Any]:
    """How many of the likeliest tokens are to be told; the older interface has one word for it."""
    count = max(count, 1)  # asked for none of them, llama.cpp tells of no token at all
    return {"logprobs": count} if kind == "completion" else {"logprobs": True, "top_logprobs": count}


def _message(message: ChatMessage) -> dict[str, Any]:
    body: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.images:
        pictures = [{"type": "image_url", "image_url": {"url": image.data_url}} for image in message.images]
        text = [{"type": "text", "text": message.content}] if message.content else []
        body["content"] = pictures + text
    if message.tool_calls:
        body["content"] = message.content or None
        body["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        body["tool_call_id"] = message.tool_call_id
    return body


def _tool(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return {"type": "function", "function": function}
