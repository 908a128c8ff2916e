"""From what a caller passes to one validated ``ChatRequest``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from numbers import Integral, Real
from typing import Any, TypeAlias, TypedDict, cast, get_args

from farm_notebook.config import FarmConfig
from farm_notebook.errors import InvalidRequestError
from farm_notebook.images import ImageSource, as_image
from farm_notebook.providers import takes_seed
from farm_notebook.router import look_up
from farm_notebook.schemas import SchemaSource, as_plain, as_schema
from farm_notebook.tools import ToolSource, as_tool
from farm_notebook.types import (
    CacheUse,
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


Prompt: TypeAlias = str | Sequence[ChatMessage | Mapping[str, Any]]

MOST_LOGPROBS = 20  # of the likeliest tokens in a place: what OpenAI and Ollama tell at most
_TOOL_CHOICES = ("auto", "none", "required")


class Options(TypedDict, total=False):
    """What may be said about a request besides its prompt; what is absent is left to the provider.

    ``model`` is a name as in ``router.look_up``; ``system`` is a system message put first; ``images`` go with
    the last message, as ``images.as_image`` takes them; ``schema`` is a JSON schema, a pydantic model class
    or another annotated type, such as ``list[City]``; ``tools`` are functions, or tools as in
    ``tools.as_tool``; ``reasoning`` may be ``True`` or ``False`` too; the rest are ``ChatRequest``'s fields.
    """

    model: str | None
    system: str | None
    temperature: float | None
    top_p: float | None
    max_tokens: int | None
    seed: int | None
    stop: str | Sequence[str] | None
    logprobs: int | None
    schema: SchemaSource | None
    images: ImageSource | Sequence[ImageSource] | None
    tools: ToolSource | Sequence[ToolSource] | None
    tool_choice: str | None
    reasoning: ReasoningEffort | bool | None
    extra: Mapping[str, Any] | None
    cache: CacheUse | None
    sample: int | None


def build_request(
    prompt: Prompt, config: FarmConfig, options: Options, *, kind: RequestKind = "chat"
) -> ChatRequest:
    """Validate a prompt and its options.

    Args:
        prompt: The user's text, or a conversation as messages (or mappings with ``role``, ``content``).
        config: The settings.
        options: See ``Options``.
        kind: ``completion`` sends the prompt raw, and takes no conversation, images or tools.

    Raises:
        InvalidRequestError: Quoting the bad value and what is valid.
        UnknownProviderError: The configured default names no provider.
        ConfigError: The model's provider is switched off, or aliases go round in a circle.
    """
    if unknown := sorted(set(options) - set(Options.__annotations__)):
        raise InvalidRequestError(
            f"Unknown option {unknown[0]!r}. Valid: {', '.join(sorted(Options.__annotations__))}."
        )
    found = look_up(options.get("model"), config)
    messages = _messages(prompt, _images(options.get("images")))
    if found.parameters:
        options = _completed(options, found.parameters, messages, kind)
    if system := options.get("system"):
        messages = (_message(ChatMessage("system", system)), *messages)
    tools = _tools(options.get("tools"))
    if kind == "completion":
        _check_completion(messages, tools)
    return ChatRequest(
        ref=found.ref,
        messages=messages,
        kind=kind,
        temperature=_number(options, "temperature", minimum=0),
        top_p=_number(options, "top_p", minimum=0, maximum=1, above_minimum=True),
        max_tokens=_integer(options, "max_tokens", minimum=1),
        seed=_seed(options, found.ref.provider, config),
        stop=_stop(options.get("stop")),
        logprobs=_integer(options, "logprobs", minimum=0, maximum=MOST_LOGPROBS),
        schema=None if (schema := options.get("schema")) is None else as_schema(schema),
        tools=tools,
        tool_choice=_tool_choice(options.get("tool_choice"), tools),
        reasoning=_reasoning(options.get("reasoning")),
        extra=_extra(options.get("extra")),
        cache=_cache_use(options.get("cache")),
        sample=_integer(options, "sample", minimum=0),
        route=found.route,
    )


def _completed(
    options: Options, parameters: Mapping[str, Any], messages: Sequence[ChatMessage], kind: RequestKind
) -> Options:
    """The options, with an alias's parameters where the caller gave none; of ``extra`` each by itself."""
    given = {name: value for name, value in options.items() if value is not None}
    theirs = dict(parameters)
    if kind == "completion" or any(message.role == "system" for message in messages):
        theirs.pop("system", None)  # there is no place for it, or the conversation has its own
    if isinstance(ours := given.get("extra"), Mapping):
        theirs["extra"] = {**theirs.get("extra", {}), **ours}
        del given["extra"]
    return cast(Options, {**theirs, **given})


def _check_completion(messages: Sequence[ChatMessage], tools: Sequence[Tool]) -> None:
    """A raw prompt is one text; what only a chat template can write into it has no place there."""
    if len(messages) != 1 or messages[0].role != "user":
        raise InvalidRequestError("A completion takes one prompt: no conversation and no system message.")
    for what, given in (("images", messages[0].images), ("tools", tools)):
        if given:
            raise InvalidRequestError(
                f"A completion takes no {what}: they need the model's chat template. Ask for a chat instead."
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
    if (entry.role == "tool") != isinstance(entry.tool_call_id, str):
        raise InvalidRequestError(
            f"tool_call_id={entry.tool_call_id!r} of a message of {entry.role!r} is not valid. A message "
            "has one, the id of a ToolCall, if and only if its role is 'tool'."
        )
    try:
        entry.content.encode()
    except UnicodeEncodeError as error:
        half = entry.content[error.start]
        raise InvalidRequestError(
            f"Character {error.start} of the prompt, {half!r}, is half of a surrogate pair, which cannot "
            "be sent. Was the text decoded with errors='surrogateescape'?"
        ) from None
    return replace(
        entry,
        images=_images(entry.images),
        tool_calls=tuple(_tool_call(call) for call in _listed(entry.tool_calls)),
    )


def _message_of_mapping(entry: Mapping[str, Any]) -> ChatMessage:
    valid = [field.name for field in fields(ChatMessage)]
    if not isinstance(entry, Mapping) or not {"role", "content"} <= set(entry) <= set(valid):
        raise InvalidRequestError(
            f"{entry!r} is not a message. Valid: ChatMessage(role, content), or a mapping with 'role' and "
            f"'content', and perhaps {', '.join(map(repr, valid[2:]))}."
        )
    given = {name: value for name, value in entry.items() if value is not None}
    if "content" not in given and given.get("tool_calls"):  # as OpenAI writes a turn that only calls
        given["content"] = ""
    return ChatMessage(**{"role": entry["role"], "content": entry["content"], **given})


def _tool_call(call: ToolCall | Mapping[str, Any]) -> ToolCall:
    """A call of an earlier answer: a ``ToolCall``, or a mapping with its fields or as OpenAI writes it."""
    if isinstance(call, Mapping):
        function = call.get("function", call)
        if isinstance(function, Mapping):
            call = ToolCall(call.get("id", ""), function.get("name", ""), function.get("arguments", ""))
    if not isinstance(call, ToolCall):
        raise InvalidRequestError(
            f"{call!r} is no tool call. Valid: those of a Reply, or mappings with 'id', 'name', 'arguments'."
        )
    for name in ("id", "name", "arguments"):
        if not isinstance(value := getattr(call, name), str) or not (value or name == "arguments"):
            raise InvalidRequestError(f"The {name} of a tool call is text, not {value!r}.")
    return call


def _listed(values: Any) -> Iterable[Any]:
    """One value, or several in a list or tuple, as several; a mapping or a text is one."""
    if values is None:
        return ()
    return values if isinstance(values, list | tuple) else (values,)


def _images(images: ImageSource | Sequence[ImageSource] | None) -> tuple[Image, ...]:
    return tuple(as_image(image) for image in _listed(images))


def _tools(tools: ToolSource | Sequence[ToolSource] | None) -> tuple[Tool, ...]:
    found = tuple(as_tool(tool) for tool in _listed(tools))
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


def _cache_use(use: CacheUse | None) -> CacheUse:
    if use is None:
        return "use"
    if use not in (valid := get_args(CacheUse)):
        raise InvalidRequestError(f"cache={use!r} is not valid. Valid: {', '.join(map(repr, valid))}.")
    return use


def _extra(extra: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if extra is None:
        return {}
    if not isinstance(extra, Mapping) or not all(isinstance(name, str) for name in extra):
        raise InvalidRequestError(f"extra={extra!r} is not valid. Valid: a mapping of parameters by name.")
    return as_plain(extra, "extra")


def _number(
    options: Options,
    name: str,
    *,
    minimum: float,
    maximum: float = math.inf,
    above_minimum: bool = False,
) -> float | None:
    """A finite number in range, always as a ``float``: 1 and 1.0 are one request, with one fingerprint."""
    value = options.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InvalidRequestError(f"{name}={value!r} is not a number.")
    number = float(value)
    if not (math.isfinite(number) and minimum <= number <= maximum) or (above_minimum and number == minimum):
        allowed = f"{'above' if above_minimum else 'at least'} {minimum}"
        if math.isfinite(maximum):
            allowed += f" and at most {maximum}"
        raise InvalidRequestError(f"{name}={value!r} is out of range; it must be {allowed}.")
    return number


def _integer(options: Options, name: str, *, minimum: int, maximum: int | None = None) -> int | None:
    value = options.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InvalidRequestError(f"{name}={value!r} is not a whole number.")
    number = int(value)
    if number < minimum or (maximum is not None and number > maximum):
        allowed = f"at least {minimum}" + (f" and at most {maximum}" if maximum is not None else "")
        raise InvalidRequestError(f"{name}={value!r} is out of range; it must be {allowed}.")
    return number


def _seed(options: Options, provider: str, config: FarmConfig) -> int | None:
    """The one that is given, else that of the settings where the provider takes one."""
    seed = _integer(options, "seed", minimum=0)
    if seed is not None or config.seed is None or not takes_seed(provider, config):
        return seed
    return config.seed


def _stop(stop: str | Sequence[str] | None) -> tuple[str, ...]:
    if stop is None:
        return ()
    marks = tuple(stop) if isinstance(stop, Iterable) and not isinstance(stop, str) else (stop,)
    for mark in marks:
        if not isinstance(mark, str) or not mark:
            raise InvalidRequestError(f"stop={mark!r} is not a stop string; it must be text, not empty.")
    return marks
