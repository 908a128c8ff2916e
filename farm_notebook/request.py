"""From what a caller passes to one validated ``ChatRequest``."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Protocol, TypeAlias, TypedDict, get_args, runtime_checkable

from farm_notebook.config import FarmConfig
from farm_notebook.errors import InvalidRequestError
from farm_notebook.images import ImageSource, as_image
from farm_notebook.router import resolve
from farm_notebook.tools import ToolSource, as_tool
from farm_notebook.types import (
    ChatMessage,
    ChatRequest,
    Image,
    ReasoningEffort,
    RequestKind,
    Role,
    Tool,
    ToolCall,
)

__all__ = ["Options", "Prompt", "build_request"]


@runtime_checkable
class SchemaSource(Protocol):
    """A pydantic model class, or whatever else can tell its JSON schema."""

    def model_json_schema(self) -> dict[str, Any]: ...


Prompt: TypeAlias = str | Sequence[ChatMessage | Mapping[str, Any]]

_TOOL_CHOICES = ("auto", "none", "required")


class Options(TypedDict, total=False):
    """What may be said about a request besides its prompt; what is absent is left to the provider.

    ``model`` is a name as in ``router.resolve``; ``system`` is a system message put first; ``images`` go with
    the last message; ``schema`` is a JSON schema or a pydantic model class; ``tools`` are functions, or tools
    as in ``tools.as_tool``; the rest are ``ChatRequest``'s fields.
    """

    model: str | None
    system: str | None
    temperature: float | None
    top_p: float | None
    max_tokens: int | None
    seed: int | None
    stop: str | Sequence[str] | None
    schema: Mapping[str, Any] | SchemaSource | None
    images: ImageSource | Sequence[ImageSource] | None
    tools: ToolSource | Sequence[ToolSource] | None
    tool_choice: str | None
    reasoning: ReasoningEffort | bool | None
    extra: Mapping[str, Any] | None


def build_request(
    prompt: Prompt, config: FarmConfig, options: Options, *, kind: RequestKind = "chat"
) -> ChatRequest:
    """Validate a prompt and its options.

    Args:
        prompt: The user's text, or a conversation as messages (or mappings with ``role``, ``content``).
        config: The settings.
        options: See ``Options``.
        kind: ``completion`` sends the prompt raw and takes no conversation.

    Raises:
        InvalidRequestError: Quoting the bad value and what is valid.
    """
    if unknown := sorted(set(options) - set(Options.__annotations__)):
        raise InvalidRequestError(
            f"Unknown option {unknown[0]!r}. Valid: {', '.join(sorted(Options.__annotations__))}."
        )
    messages = _messages(prompt, _images(options.get("images")))
    if system := options.get("system"):
        messages = (_message(ChatMessage("system", system)), *messages)
    if kind == "completion" and len(messages) != 1:
        raise InvalidRequestError("A completion takes one prompt: no conversation and no system message.")
    tools = _tools(options.get("tools"))
    return ChatRequest(
        ref=resolve(options.get("model"), config),
        messages=messages,
        kind=kind,
        temperature=_number(options, "temperature", minimum=0),
        top_p=_number(options, "top_p", minimum=0, maximum=1, above_minimum=True),
        max_tokens=_integer(options, "max_tokens", minimum=1),
        seed=_integer(options, "seed", minimum=0),
        stop=_stop(options.get("stop")),
        schema=_schema(options.get("schema")),
        tools=tools,
        tool_choice=_tool_choice(options.get("tool_choice"), tools),
        reasoning=_reasoning(options.get("reasoning")),
        extra=_extra(options.get("extra")),
    )


def _messages(prompt: Prompt, images: tuple[Image, ...]) -> tuple[ChatMessage, ...]:
    if isinstance(prompt, str):
        prompt = (ChatMessage("user", prompt),)
    if not isinstance(prompt, Iterable):
        raise InvalidRequestError(f"{prompt!r} is not a prompt. Valid: text, or a list of messages.")
    messages = tuple(_message(entry) for entry in prompt)
    if images and messages:
        last = messages[-1]
        messages = (*messages[:-1], _message(replace(last, images=(*last.images, *images))))
    if not messages or not (
        messages[-1].content.strip() or messages[-1].images or messages[-1].role == "tool"
    ):
        raise InvalidRequestError("The prompt is empty. Write what to ask.")
    return messages


def _message(entry: ChatMessage | Mapping[str, Any]) -> ChatMessage:
    if not isinstance(entry, ChatMessage):
        entry = _message_of_mapping(entry)
    if entry.role not in get_args(Role):
        raise InvalidRequestError(
            f"{entry.role!r} is not a role. Valid: {', '.join(repr(role) for role in get_args(Role))}."
        )
    if not isinstance(entry.content, str):
        raise InvalidRequestError(f"A message's content is text, not {type(entry.content).__name__}.")
    if entry.images and entry.role != "user":
        raise InvalidRequestError(f"Images go with a message of the user, not of {entry.role!r}.")
    if entry.tool_calls and entry.role != "assistant":
        raise InvalidRequestError(f"Tool calls are the assistant's, not of {entry.role!r}.")
    if (entry.role == "tool") != (entry.tool_call_id is not None):
        raise InvalidRequestError("A message has a tool_call_id if, and only if, its role is 'tool'.")
    try:
        entry.content.encode()
    except UnicodeEncodeError as error:
        half = entry.content[error.start]
        raise InvalidRequestError(
            f"Character {error.start} of the prompt, {half!r}, is half of a surrogate pair, which cannot "
            "be sent. Was the text decoded with errors='surrogateescape'?"
        ) from None
    return entry


def _message_of_mapping(entry: Mapping[str, Any]) -> ChatMessage:
    valid = [field.name for field in fields(ChatMessage)]
    if not isinstance(entry, Mapping) or not {"role", "content"} <= set(entry) <= set(valid):
        raise InvalidRequestError(
            f"{entry!r} is not a message. Valid: ChatMessage(role, content), or a mapping with 'role' and "
            f"'content', and perhaps {', '.join(map(repr, valid[2:]))}."
        )
    calls = entry.get("tool_calls") or ()
    if not all(isinstance(call, ToolCall) for call in calls):
        raise InvalidRequestError(f"{calls!r} are not tool calls. Valid: those of a Reply.")
    return ChatMessage(
        entry["role"],
        entry["content"],
        images=_images(entry.get("images")),
        tool_calls=tuple(calls),
        tool_call_id=entry.get("tool_call_id"),
    )


def _images(images: ImageSource | Sequence[ImageSource] | None) -> tuple[Image, ...]:
    if images is None:
        return ()
    return tuple(as_image(image) for image in (images if isinstance(images, list | tuple) else (images,)))


def _tools(tools: ToolSource | Sequence[ToolSource] | None) -> tuple[Tool, ...]:
    if tools is None:
        return ()
    found = tuple(as_tool(tool) for tool in (tools if isinstance(tools, list | tuple) else (tools,)))
    names = [tool.name for tool in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InvalidRequestError(f"Two tools are called {twice!r}. Rename one.")
    return found


def _tool_choice(choice: str | None, tools: Sequence[Tool]) -> str | None:
    if choice is None:
        return None
    valid = (*_TOOL_CHOICES, *(tool.name for tool in tools))
    if not tools:
        raise InvalidRequestError(f"tool_choice={choice!r} needs tools to choose from; give them as tools=.")
    if choice not in valid:
        raise InvalidRequestError(
            f"tool_choice={choice!r} is not valid. Valid: {', '.join(map(repr, valid))}."
        )
    return choice


def _reasoning(effort: ReasoningEffort | bool | None) -> ReasoningEffort | None:
    if isinstance(effort, bool):
        return "on" if effort else "off"
    if effort is not None and effort not in get_args(ReasoningEffort):
        raise InvalidRequestError(
            f"reasoning={effort!r} is not valid. Valid: True, False, "
            f"{', '.join(map(repr, get_args(ReasoningEffort)))}."
        )
    return effort


def _extra(extra: Mapping[str, Any] | None) -> dict[str, Any]:
    if extra is None:
        return {}
    if not isinstance(extra, Mapping) or not all(isinstance(name, str) for name in extra):
        raise InvalidRequestError(f"extra={extra!r} is not valid. Valid: a mapping of parameters by name.")
    try:
        json.dumps(dict(extra))
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(f"extra={extra!r} cannot be sent as JSON: {error}.") from None
    return dict(extra)


def _number(
    options: Options,
    name: str,
    *,
    minimum: float,
    maximum: float = math.inf,
    above_minimum: bool = False,
) -> float | None:
    value = options.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidRequestError(f"{name}={value!r} is not a number.")
    if not (math.isfinite(value) and minimum <= value <= maximum) or (above_minimum and value == minimum):
        allowed = f"{'above' if above_minimum else 'at least'} {minimum}"
        if math.isfinite(maximum):
            allowed += f" and at most {maximum}"
        raise InvalidRequestError(f"{name}={value!r} is out of range; it must be {allowed}.")
    return value


def _integer(options: Options, name: str, *, minimum: int) -> int | None:
    value = options.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise InvalidRequestError(f"{name}={value!r} is not a whole number.")
    _number(options, name, minimum=minimum)
    return value


def _stop(stop: str | Sequence[str] | None) -> tuple[str, ...]:
    if stop is None:
        return ()
    marks = tuple(stop) if isinstance(stop, Iterable) and not isinstance(stop, str) else (stop,)
    for mark in marks:
        if not isinstance(mark, str) or not mark:
            raise InvalidRequestError(f"stop={mark!r} is not a stop string; it must be text, not empty.")
    return marks


def _schema(schema: Mapping[str, Any] | SchemaSource | None) -> Mapping[str, Any] | None:
    if schema is None or isinstance(schema, Mapping):
        return schema
    if isinstance(schema, SchemaSource):
        return schema.model_json_schema()
    raise InvalidRequestError(
        f"{schema!r} is not a schema. Valid: a JSON schema (dict), or a pydantic model class."
    )
