"""A request as the JSON body of the Responses API. Nothing is stored at OpenAI.

Source: https://platform.openai.com/docs/api-reference/responses/create, and the SDK's
``openai.types.responses``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from farm_notebook.errors import UnsupportedParameterError
from farm_notebook.providers.openai_wire import json_schema_format, reasoning_effort
from farm_notebook.types import ChatMessage, ChatRequest, Tool

__all__ = ["responses_body"]

_LACKS = ("seed", "stop")
_SAME_NAME = ("temperature", "top_p")


def responses_body(request: ChatRequest) -> dict[str, Any]:
    """The JSON body of a streamed request; what was not set is not sent.

    Asked to reason, a model is asked for summaries of it too, or its thinking would not be seen.

    Raises:
        UnsupportedParameterError: A parameter that this API has no word for.
    """
    parameters = request.parameters()
    if dropped := [name for name in _LACKS if name in parameters]:
        raise UnsupportedParameterError(
            f"{request.ref} cannot honour {', '.join(dropped)}: the Responses API has no such parameter. "
            "Leave it out, or set the endpoint's api to 'chat'.",
            provider=request.ref.provider,
        )
    body: dict[str, Any] = {
        "model": request.ref.model,
        "input": [item for message in request.messages for item in _items(message)],
        "stream": True,
        "store": False,
        **{name: parameters[name] for name in _SAME_NAME if name in parameters},
    }
    if request.logprobs is not None:
        body |= {"include": ["message.output_text.logprobs"], "top_logprobs": request.logprobs}
    if request.max_tokens is not None:
        body["max_output_tokens"] = request.max_tokens
    if request.schema is not None:
        body["text"] = {"format": {"type": "json_schema", **json_schema_format(request.schema)}}
    if request.reasoning is not None:
        effort = reasoning_effort(request.reasoning)
        body["reasoning"] = {"effort": effort} | ({} if effort == "none" else {"summary": "auto"})
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    if (choice := request.tool_choice) is not None:
        by_word = choice in ("auto", "none", "required")
        body["tool_choice"] = choice if by_word else {"type": "function", "name": choice}
    return body | dict(request.extra)


def _items(message: ChatMessage) -> Iterator[dict[str, Any]]:
    """A turn as input items: a call of a tool and its result are items of their own."""
    if message.tool_call_id is not None:
        yield {
            "type": "function_call_output",
            "call_id": message.tool_call_id,
            "output": message.content,
        }
        return
    if message.images:
        pictures = [
            {"type": "input_image", "image_url": image.data_url, "detail": "auto"} for image in message.images
        ]
        text = [{"type": "input_text", "text": message.content}] if message.content else []
        yield {"role": message.role, "content": pictures + text}
    elif message.content or not message.tool_calls:
        yield {"role": message.role, "content": message.content}
    for call in message.tool_calls:
        yield {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments}


def _tool(tool: Tool) -> dict[str, Any]:
    """A function; not strict, as in a chat, which has to be said here."""
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(tool.parameters),
        "strict": False,
    }
