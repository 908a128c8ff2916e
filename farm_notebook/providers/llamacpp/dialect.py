"""A request in llama.cpp's dialect of OpenAI's protocol, and its answer's events."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

from farm_notebook.providers.llamacpp.abilities import Abilities
from farm_notebook.providers.llamacpp.tool_calls import (
    call_schema,
    forced_tools,
    in_words,
    whole_answer_as_call,
    with_calls,
)
from farm_notebook.providers.openai_wire import request_body
from farm_notebook.types import ChatRequest, Event, ReasoningEffort

__all__ = ["body_of", "longest", "with_tool_calls"]

TEMPLATE_TOKENS = 1024  # at most counted for what a chat template adds once: a long template is mostly code
TURN_TOKENS = 32  # what it adds to each turn


def body_of(request: ChatRequest, abilities: Abilities, max_tokens: int) -> dict[str, Any]:
    """The JSON body of a request that the model is able to answer.

    Progress on the prompt is asked for because sending it is when the server notices that the caller left.
    With a seed the prompt cache is off: what it holds changes the last bits of the arithmetic, and with them
    now and then a token.

    Args:
        request: What is asked; ``Abilities.require`` has seen it.
        abilities: Of the model.
        max_tokens: Longest answer where the request does not say.
    """
    forced = forced_tools(request)
    extra = dict(request.extra)
    if not abilities.knows_tools:
        request = in_words(request)
    elif forced:  # with "none" llama.cpp still tells the model of the tools
        request = replace(request, tools=forced, tool_choice="none")
    if forced:  # an answer that is a call has no text for another schema to hold for
        request = replace(request, schema=call_schema(forced))
    body = {"max_tokens": max_tokens} | request_body(request)
    if request.reasoning is not None:
        told = extra.pop("chat_template_kwargs", {})
        body["chat_template_kwargs"] = {**_thinking(request.reasoning), **told}
    if request.schema is not None:  # as it is: the grammar needs no strict form
        body.pop("response_format", None)
        body["json_schema"] = dict(request.schema)
    body |= extra
    return body | {"return_progress": True, "cache_prompt": request.seed is None}


def with_tool_calls(
    events: AsyncGenerator[Event, None], request: ChatRequest, abilities: Abilities
) -> AsyncGenerator[Event, None]:
    """The events of an answer with its tool calls, however the model was made to write them."""
    if forced_tools(request):
        return whole_answer_as_call(events)
    if request.tools and request.tool_choice != "none" and not abilities.knows_tools:
        return with_calls(events, request.tools)
    return events


def longest(request: ChatRequest, body: dict[str, Any], abilities: Abilities) -> int | None:
    """How many tokens of the window a request can come to need; ``None`` is all of it.

    No byte of a prompt becomes more than one token. A seeded request gets the whole window to itself: what
    stands beside it would change the last bits of its arithmetic. An image's tokens are not known before.
    """
    if request.seed is not None or any(message.images for message in request.messages):
        return None
    said = body.get("messages") or body["prompt"]
    added = len(request.messages) * TURN_TOKENS + min(abilities.template_chars, TEMPLATE_TOKENS)
    prompt = len(f"{said}{body.get('tools', '')}".encode(errors="replace")) + added
    return min(prompt + int(body["max_tokens"]), abilities.context_tokens)


def _thinking(effort: ReasoningEffort) -> dict[str, Any]:
    """What the chat templates call it; one that does not know a name leaves it alone."""
    switch = {"enable_thinking": effort != "off", "thinking": effort != "off"}
    return switch | ({"reasoning_effort": effort} if effort in ("low", "medium", "high") else {})
