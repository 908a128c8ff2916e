"""One prompt that takes several requests: tools are called in between, and an answer that does not fit the
schema is corrected, once.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import TypeAlias

from farm_notebook.errors import (
    FarmError,
    InvalidAnswerError,
    InvalidRequestError,
    NoTargetAnsweredError,
    UnsupportedParameterError,
)
from farm_notebook.farm.step_events import (
    Rejected,
    StepEvent,
    StepStarted,
    ToolFinished,
    ToolStarted,
    Unenforced,
    Validated,
)
from farm_notebook.farm.step_replies import StepsBuilder
from farm_notebook.farm.toolbox import Confirm, Toolbox
from farm_notebook.reply import Reply, ReplyBuilder
from farm_notebook.schemas import Shape
from farm_notebook.types import ChatMessage, ChatRequest, Event, ToolResult

__all__ = ["MAX_STEPS", "shaped", "steps"]

MAX_STEPS = 8

_Ask: TypeAlias = Callable[[ChatRequest], AsyncGenerator[Event, None]]
_Steps: TypeAlias = Callable[[ChatRequest], AsyncGenerator[StepEvent, None]]


def steps(
    ask: _Ask,
    request: ChatRequest,
    *,
    toolbox: Toolbox | None = None,
    shape: Shape | None = None,
    max_steps: int = MAX_STEPS,
    confirm: Confirm | None = None,
) -> AsyncGenerator[StepEvent, None]:
    """Ask until the model answers without calling tools, and with what fits.

    Args:
        ask: From a request to the events of its stream.
        request: What is asked first, with the tools.
        toolbox: What may be called. It is called on the farm's loop, under ``caller``.
        shape: What the answer is to be; ``None`` takes any. Its schema goes with the request, but not beside
            tools, of which providers make different things: then it is told in words, and checked as ever.
        max_steps: How many requests may be sent until the answer, at least 1; the calls of the last one are
            not made. The request to correct an answer comes on top.
        confirm: Asked before each call.

    Raises:
        InvalidRequestError: ``max_steps`` is out of range.
        InvalidAnswerError: Neither the answer nor its correction fits; their replies have been streamed.
        FarmError: A request failed.
    """
    if isinstance(max_steps, bool) or not isinstance(max_steps, int) or max_steps < 1:
        raise InvalidRequestError(f"max_steps={max_steps!r} is not valid; it must be a whole number from 1.")
    with_tools = partial(
        _with_tools, ask, toolbox=toolbox or Toolbox(()), max_steps=max_steps, confirm=confirm
    )
    return with_tools(request) if shape is None else _with_schema(with_tools, request, shape)


def shaped(request: ChatRequest, shape: Shape) -> ChatRequest:
    """The request that is sent first where the answer is to be something."""
    if request.tools:
        return _told(replace(request, schema=None), shape)
    return replace(request, schema=shape.schema)


async def _with_tools(
    ask: _Ask, request: ChatRequest, *, toolbox: Toolbox, max_steps: int, confirm: Confirm | None
) -> AsyncGenerator[StepEvent, None]:
    for step in range(1, max_steps + 1):
        yield StepStarted(request)
        builder = ReplyBuilder(request)
        async with aclosing(ask(request)) as events:
            async for event in events:
                builder.add(event)
                yield event
        reply = builder.build()
        if not reply.tool_calls or step == max_steps:
            return
        results = []
        for call in reply.tool_calls:
            yield ToolStarted(call)
            results.append(await toolbox.call(call, confirm))
            yield ToolFinished(results[-1])
        request = _continued(request, reply, results)


def _continued(request: ChatRequest, reply: Reply, results: list[ToolResult]) -> ChatRequest:
    """The same conversation with the results; a tool that had to be called was, and need not be again."""
    told = (*request.messages, reply.message, *(result.message for result in results))
    choice = request.tool_choice if request.tool_choice in ("auto", "none") else None
    return replace(request, messages=told, tool_choice=choice)


async def _with_schema(
    with_tools: _Steps, request: ChatRequest, shape: Shape
) -> AsyncGenerator[StepEvent, None]:
    builder = StepsBuilder(request)
    first = shaped(request, shape)
    async with aclosing(_held_to(with_tools, first, shape)) as events:
        async for event in events:
            builder.add(event)
            yield event
    if (problem := _problem(shape, builder)) is not None:
        yield Rejected(problem)
        again = _to_correct(builder.request, builder.text, problem)
        if request.tools:
            again = replace(again, schema=shape.schema, tool_choice="none")
        async with aclosing(_held_to(with_tools, again, shape)) as events:
            async for event in events:
                builder.add(event)
                yield event
        if (problem := _problem(shape, builder)) is not None:
            raise InvalidAnswerError(
                f"The answer does not fit {shape.name}, nor did it after the model was asked to correct it: "
                f"{problem}.",
                text=builder.text,
            )
    yield Validated(shape.parse(builder.text))


async def _held_to(with_tools: _Steps, request: ChatRequest, shape: Shape) -> AsyncGenerator[StepEvent, None]:
    """The request with its schema; where the model cannot be held to one, asked in words."""
    has_begun = False
    try:
        async with aclosing(with_tools(request)) as events:
            async for event in events:
                has_begun = has_begun or not isinstance(event, StepStarted)
                yield event
        return
    except FarmError as error:
        if request.schema is None or has_begun or not _is_unsupported(error):
            raise
        problem = str(error)
    yield Unenforced(problem)
    async with aclosing(with_tools(_told(replace(request, schema=None), shape))) as events:
        async for event in events:
            yield event


def _is_unsupported(error: FarmError) -> bool:
    """Whether it is for what was asked for that no model answered."""
    causes = error.exceptions if isinstance(error, NoTargetAnsweredError) else (error,)
    return all(isinstance(cause, UnsupportedParameterError) for cause in causes)


def _problem(shape: Shape, builder: StepsBuilder) -> str | None:
    """Why the answer is not what it was to be."""
    try:
        shape.parse(builder.text)
    except ValueError as error:
        is_cut = builder.build().finish_reason == "length"
        return f"{error}; it was cut at the token limit" if is_cut else str(error)
    return None


def _told(request: ChatRequest, shape: Shape) -> ChatRequest:
    """The request with the schema in its system message."""
    instruction = (
        "Give your answer as one JSON value only, without explanations. It must fit this JSON schema:\n"
        f"{json.dumps(shape.schema, ensure_ascii=False)}"
    )
    first, *rest = request.messages
    if first.role != "system":
        return replace(request, messages=(ChatMessage("system", instruction), *request.messages))
    if instruction in first.content:
        return request
    return replace(request, messages=(replace(first, content=f"{first.content}\n\n{instruction}"), *rest))


def _to_correct(request: ChatRequest, text: str, problem: str) -> ChatRequest:
    said = (ChatMessage("assistant", text),) if text.strip() else ()
    told = ChatMessage(
        "user", f"This does not fit the JSON schema: {problem}. Answer again, with the corrected JSON only."
    )
    return replace(request, messages=(*request.messages, *said, told))
