"""Tools for any model: those that must be called, and those of a model whose chat template knows none.

llama.cpp's server reads the calls of a model whose template has a place for tools. It does not make sure of
a call where one is required, and drops the tools of every other model. So a required call is asked for as an
answer to a JSON schema, and a model that knows no tools is told of them in its prompt.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from farm_notebook.types import ChatMessage, ChatRequest, Event, Finished, TextDelta, Tool, ToolCall

__all__ = ["call_schema", "forced_tools", "in_words", "whole_answer_as_call", "with_calls"]

OPEN, CLOSE = "<tool_call>", "</tool_call>"  # as the models of the Hermes and Qwen families write calls
_CALL = re.compile(
    r'\s*\{\s*"name"\s*:\s*(?P<name>"(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*(?P<rest>.*)', re.S
)
_INTRODUCTION = "You may call these functions. Each is described by a JSON schema:"
_INSTRUCTION = (
    f'To call one, answer with only {OPEN}{{"name": "NAME", "arguments": {{...}}}}{CLOSE}. '
    "Otherwise answer as usual."
)


def forced_tools(request: ChatRequest) -> tuple[Tool, ...]:
    """The tools of which one must be called; none where the model may choose to answer."""
    if request.tool_choice == "required":
        return request.tools
    return tuple(tool for tool in request.tools if tool.name == request.tool_choice)


def call_schema(tools: Sequence[Tool]) -> dict[str, Any]:
    """The JSON schema of a call of one of some tools."""
    calls = [
        {
            "type": "object",
            "properties": {"name": {"const": tool.name}, "arguments": dict(tool.parameters)},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for tool in tools
    ]
    return calls[0] if len(calls) == 1 else {"anyOf": calls}


def in_words(request: ChatRequest) -> ChatRequest:
    """The same request for a chat template without tools: its tools, calls and results as text."""
    messages = [_in_words(message) for message in request.messages]
    if request.tools and request.tool_choice != "none":
        place = next((at for at, message in enumerate(messages) if message.role in ("system", "user")), 0)
        described = [json.dumps(_description(tool), ensure_ascii=False) for tool in request.tools]
        text = "\n".join([_INTRODUCTION, *described, _INSTRUCTION])
        first = messages[place]
        parts = (first.content, text) if first.role == "system" else (text, first.content)
        messages[place] = replace(first, content="\n\n".join(part for part in parts if part))
    return replace(request, messages=tuple(_joined(messages)), tools=(), tool_choice=None)


async def whole_answer_as_call(events: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
    """The events of an answer to ``call_schema``, with the call in the place of its text."""
    text = ""
    async with aclosing(events):
        async for event in events:
            if isinstance(event, TextDelta):
                text += event.text
            elif isinstance(event, Finished):
                if call := _read_call(text):
                    yield call
                elif text:
                    yield TextDelta(text)
                yield replace(event, reason="tool_calls") if event.reason == "stop" else event
            else:
                yield event


async def with_calls(
    events: AsyncGenerator[Event, None], tools: Iterable[Tool]
) -> AsyncGenerator[Event, None]:
    """The events of an answer, with calls in the place of the marked text that asks for them.

    Args:
        events: Of a model that was told of the tools by ``in_words``.
        tools: The tools; text that calls none of them stays text.
    """
    names = {tool.name for tool in tools}
    held, called = "", False
    async with aclosing(events):
        async for event in events:
            if not isinstance(event, TextDelta | Finished):
                yield event
                continue
            held += event.text if isinstance(event, TextDelta) else ""
            pieces, held = _pieces(held, names, is_end=isinstance(event, Finished))
            for piece in pieces:
                called = called or isinstance(piece, ToolCall)
                yield piece
            if isinstance(event, Finished):
                yield replace(event, reason="tool_calls") if called and event.reason == "stop" else event


def _pieces(text: str, names: set[str], *, is_end: bool) -> tuple[list[TextDelta | ToolCall], str]:
    """What can be said of a text now, and the rest, which may yet become a call."""
    pieces: list[TextDelta | ToolCall] = []
    while text:
        before, mark, after = text.partition(OPEN)
        inside, closed, rest = after.partition(CLOSE)
        if not mark and not is_end:
            kept = next((n for n in range(len(OPEN) - 1, 0, -1) if text.endswith(OPEN[:n])), 0)
            before, text = text[: len(text) - kept], text[len(text) - kept :]
        if before:
            pieces.append(TextDelta(before))
        if not mark:
            return pieces, "" if is_end else text
        if not closed and not is_end:
            return pieces, mark + after
        call = _read_call(inside)
        is_call = call is not None and call.name in names and _is_object(call.arguments)
        pieces.append(call if call is not None and is_call else TextDelta(mark + inside + closed))
        text = rest
    return pieces, ""


def _read_call(text: str) -> ToolCall | None:
    """The call that a JSON text describes; its arguments as far as they go where it was cut short."""
    if not (found := _CALL.match(text)):
        return None
    arguments = found["rest"]
    try:
        _, end = json.JSONDecoder().raw_decode(arguments)
        arguments = arguments[:end]
    except ValueError:
        pass  # not whole: the finish reason says so
    return ToolCall(f"call_{uuid.uuid4().hex}", json.loads(found["name"]), arguments)


def _is_object(arguments: str) -> bool:
    try:
        return isinstance(json.loads(arguments), dict)
    except ValueError:
        return False


def _description(tool: Tool) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}


def _in_words(message: ChatMessage) -> ChatMessage:
    if message.role == "tool":
        return ChatMessage("user", f"<tool_response>\n{message.content}\n</tool_response>")
    if message.tool_calls:
        calls = [
            f'{OPEN}{{"name": {json.dumps(call.name)}, "arguments": {call.arguments or "{}"}}}{CLOSE}'
            for call in message.tool_calls
        ]
        return ChatMessage(message.role, "\n".join([message.content, *calls] if message.content else calls))
    return message


def _joined(messages: Iterable[ChatMessage]) -> list[ChatMessage]:
    """Neighbours of the user's as one turn: some templates take them in strict alternation only."""
    turns: list[ChatMessage] = []
    for message in messages:
        if turns and turns[-1].role == message.role == "user":
            content = f"{turns[-1].content}\n{message.content}"
            turns[-1] = replace(message, content=content, images=turns[-1].images + message.images)
        else:
            turns.append(message)
    return turns
