"""From a request to the tokens a model reads."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from farm_notebook.errors import ContextLengthError, InvalidRequestError, UnsupportedParameterError
from farm_notebook.providers.huggingface.grammar import must_call
from farm_notebook.providers.huggingface.loaded import LoadedModel
from farm_notebook.providers.huggingface.markup import THINK
from farm_notebook.types import ChatMessage, ChatRequest, Tool, ToolCall

__all__ = ["Prompt", "make_prompt"]


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is given.

    Args:
        tokens: At least one.
        max_tokens: Longest answer that was asked for and fits behind it.
        is_thinking: It ends with an open ``<think>``, so the answer begins inside.
    """

    tokens: tuple[int, ...]
    max_tokens: int
    is_thinking: bool


def make_prompt(request: ChatRequest, loaded: LoadedModel, default_max_tokens: int) -> Prompt:
    """Write a request as its model wants it.

    Args:
        request: A chat, which goes through the model's chat template, or a completion, which does not.
        loaded: The model.
        default_max_tokens: Longest answer where the request does not say.

    Raises:
        InvalidRequestError: The model has no chat template, or its template refuses the messages.
        UnsupportedParameterError: Its template knows no tools, or no reasoning.
        ContextLengthError: The prompt leaves no room for an answer.
    """
    if request.kind == "completion":
        text, tokens = "", loaded.tokenizer(request.messages[0].content)["input_ids"]
        if not tokens:  # an empty prompt, to a tokenizer that puts nothing before a text
            tokens = [_beginning(request, loaded)]
    else:
        text = _render(request, loaded)
        tokens = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
    limit = loaded.context_tokens
    if limit is not None and len(tokens) >= limit:
        raise ContextLengthError(
            f"{request.ref}: the prompt has {len(tokens):,} tokens, and the model's context holds {limit:,}, "
            "the answer included. Shorten the prompt or the conversation.",
            provider=request.ref.provider,
            tokens=len(tokens),
            limit=limit,
        )
    asked = request.max_tokens or default_max_tokens
    room = asked if limit is None else min(asked, limit - len(tokens))
    return Prompt(tuple(tokens), room, is_thinking=text.rstrip().endswith(THINK))


def _beginning(request: ChatRequest, loaded: LoadedModel) -> int:
    config = loaded.module.generation_config
    begin = loaded.tokenizer.bos_token_id
    if begin is None and config is not None:
        begin = config.bos_token_id
    if begin is None:
        raise InvalidRequestError(f"{request.ref} cannot begin with an empty prompt; give it some text.")
    return int(begin)


def _render(request: ChatRequest, loaded: LoadedModel) -> str:
    from jinja2 import TemplateError

    tokenizer = loaded.tokenizer
    tools = [_tool(tool) for tool in request.tools] if request.tool_choice != "none" else []
    if tokenizer.chat_template is None:
        raise InvalidRequestError(
            f"{request.ref} has no chat template, so it cannot take part in a chat: it only continues texts. "
            "Let it continue one with generate(...) instead of chat(...), or load a model tuned for chats."
        )
    template = tokenizer.get_chat_template(tools=tools or None)
    if tools and not _mentions(template, "tools"):
        raise _unsupported(request, "tools", "its chat template knows none")
    if must_call(request) and not _mentions(template, "tool_call"):
        raise _unsupported(
            request,
            f"tool_choice={request.tool_choice!r}",
            "its chat template has another form of calls than <tool_call>; valid: auto, none",
        )
    switches = _reasoning(request, template)
    try:
        text = tokenizer.apply_chat_template(
            [_message(message) for message in request.messages],
            tools=list(tools) or None,
            add_generation_prompt=True,
            tokenize=False,
            **switches,
        )
    except (TemplateError, TypeError, ValueError) as error:
        raise InvalidRequestError(
            f"The chat template of {request.ref} refuses this conversation: {error}"
        ) from error
    assert isinstance(text, str)  # as it was told not to tokenize
    return text


def _reasoning(request: ChatRequest, template: str) -> dict[str, Any]:
    """The switch of a template, by the two names that are in use."""
    reasoning = request.reasoning
    if reasoning is None:
        return {}
    if _mentions(template, "enable_thinking"):
        return {"enable_thinking": reasoning != "off"}
    if _mentions(template, "reasoning_effort") and reasoning in ("low", "medium", "high"):
        return {"reasoning_effort": reasoning}
    raise _unsupported(request, f"reasoning={reasoning!r}", "its chat template has no switch for it")


def _mentions(template: str, variable: str) -> bool:
    return re.search(rf"\b{variable}\b", template) is not None


def _unsupported(request: ChatRequest, what: str, why: str) -> UnsupportedParameterError:
    return UnsupportedParameterError(
        f"{request.ref} cannot honour {what}: {why}.", provider=request.ref.provider
    )


def _message(message: ChatMessage) -> dict[str, Any]:
    """A turn as templates expect it: the arguments of a call are an object, not text."""
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        turn["tool_calls"] = [
            {
                "type": "function",
                "id": call.id,
                "function": {"name": call.name, "arguments": _arguments(call)},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        turn["tool_call_id"] = message.tool_call_id
    return turn


def _arguments(call: ToolCall) -> Any:
    try:
        return call.parsed
    except ValueError:  # the model wrote no object; what it wrote is shown to it again
        return call.arguments


def _tool(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return {"type": "function", "function": function}
