"""A request as the JSON body of ``/api/chat`` or ``/api/generate``.

``extra`` takes Ollama's own words in one flat mapping. Names of ``options`` (``num_ctx``, ``top_k``,
``min_p``, ``repeat_penalty``, ...) are put there, the others (``keep_alive``, ``think``, ``format``,
``truncate``, ``shift``; for a completion also ``raw``, ``suffix``, ``system``, ``template``, ``context``) at
the top. The server would drop a name it does not know without a word, so such a name is refused here; an
option that is newer than this module can be given as ``extra={"options": {...}}``.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from farm_notebook.config import OllamaConfig
from farm_notebook.errors import InvalidRequestError, UnsupportedParameterError
from farm_notebook.types import ChatMessage, ChatRequest, ReasoningEffort, Tool

__all__ = ["keep_alive", "request_body", "runner_options"]

# Those of `Runner` in api/types.go: another value of one of them makes the server load the model anew.
_RUNNER = frozenset(
    {"num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "draft_num_predict", "numa"}
)
_OPTIONS = _RUNNER | {
    *("num_keep", "seed", "num_predict", "top_k", "top_p", "min_p", "typical_p", "tfs_z", "temperature"),
    *("repeat_last_n", "repeat_penalty", "presence_penalty", "frequency_penalty", "penalize_newline"),
    *("mirostat", "mirostat_tau", "mirostat_eta", "stop"),
}
_OF_BOTH = frozenset({"keep_alive", "think", "format", "truncate", "shift", "options"})
_WITH_TEMPLATE = frozenset({"suffix", "system", "template", "context"})  # the server refuses them with `raw`
_TOP = {"chat": _OF_BOTH, "completion": _OF_BOTH | _WITH_TEMPLATE | {"raw"}}
_OPTION_NAMES = {"temperature": "temperature", "top_p": "top_p", "seed": "seed", "max_tokens": "num_predict"}
_THINK: dict[ReasoningEffort, bool | str] = {
    "off": False,
    "on": True,
    "low": "low",
    "medium": "medium",
    "high": "high",
}


def request_body(request: ChatRequest, settings: OllamaConfig) -> dict[str, Any]:
    """The JSON body of a streamed request; what was not set is not sent, with one exception.

    ``truncate`` is off: the server's default is to leave out the oldest messages where a conversation does
    not fit, and to say nothing.

    Raises:
        UnsupportedParameterError: Ollama has no such thing.
        InvalidRequestError: A tool call in the conversation is one that Ollama cannot be told.
    """
    top, options = _split(request)
    body: dict[str, Any] = {"model": request.ref.model, "stream": True, "truncate": False}
    if (duration := keep_alive(settings)) is not None:
        body["keep_alive"] = duration
    if request.schema is not None:
        body["format"] = dict(request.schema)
    if request.reasoning is not None:
        body["think"] = _THINK[request.reasoning]
    if request.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": request.logprobs}
    if request.kind == "completion":
        # A model that can think has its answer searched for thoughts unless told not to, a raw one's too.
        body |= {"think": False, "raw": not _WITH_TEMPLATE & top.keys()} | body | _prompt(request)
    else:
        body["messages"] = _messages(request.messages)
        if tools := _tools(request):
            body["tools"] = tools
    return body | top | {"options": _default_options(settings) | _asked_options(request) | options}


def runner_options(body: Mapping[str, Any]) -> dict[str, Any]:
    """Those options of a request that the model has to be loaded with."""
    return {name: value for name, value in body["options"].items() if name in _RUNNER}


def keep_alive(settings: OllamaConfig) -> float | str | None:
    """The configured time as the server wants it: a bare number is seconds, and must not be a text."""
    text = settings.keep_alive
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


def _split(request: ChatRequest) -> tuple[dict[str, Any], dict[str, Any]]:
    """``extra`` as what goes to the top of the body, and what goes into its ``options``."""
    top = {name: value for name, value in request.extra.items() if name in _TOP[request.kind]}
    options = {name: value for name, value in request.extra.items() if name in _OPTIONS}
    for name in request.extra.keys() - top.keys() - options.keys():
        valid = sorted(_TOP[request.kind] | _OPTIONS)
        close = difflib.get_close_matches(name, valid, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise UnsupportedParameterError(
            f"Ollama's {request.kind} has no parameter {name!r} of its own.{hint} Valid in extra: "
            f"{', '.join(valid)}; what is newer can be given as extra={{'options': {{...}}}}.",
            provider=request.ref.provider,
        )
    further = top.pop("options", {})
    if not isinstance(further, Mapping):
        raise InvalidRequestError(f"extra's 'options' is a mapping, not {further!r}.")
    return top, options | dict(further)


def _default_options(settings: OllamaConfig) -> dict[str, Any]:
    return {} if settings.context_tokens is None else {"num_ctx": settings.context_tokens}


def _asked_options(request: ChatRequest) -> dict[str, Any]:
    parameters = request.parameters()
    options = {_OPTION_NAMES[name]: parameters[name] for name in _OPTION_NAMES if name in parameters}
    return options | ({"stop": list(request.stop)} if request.stop else {})


def _prompt(request: ChatRequest) -> dict[str, Any]:
    message = request.messages[0]
    dropped = [name for name, given in (("images", message.images), ("tools", request.tools)) if given]
    if dropped:
        raise UnsupportedParameterError(
            f"{request.ref} cannot honour {' and '.join(dropped)} in a completion, which has no chat "
            "template to place them. Ask for a chat instead.",
            provider=request.ref.provider,
        )
    return {"prompt": message.content}


def _messages(messages: tuple[ChatMessage, ...]) -> list[dict[str, Any]]:
    names = {call.id: call.name for message in messages for call in message.tool_calls}
    return [_message(message, names) for message in messages]


def _message(message: ChatMessage, names: Mapping[str, str]) -> dict[str, Any]:
    body: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.images:
        body["images"] = [image.base64 for image in message.images]
    if message.tool_calls:
        body["tool_calls"] = []
        for call in message.tool_calls:
            try:
                arguments = call.parsed
            except ValueError:
                raise InvalidRequestError(
                    f"Ollama takes the arguments of a tool call as a JSON object only, and those of "
                    f"{call.name} ({call.id}) are {call.arguments!r}. Leave that turn out."
                ) from None
            body["tool_calls"].append(
                {"id": call.id, "function": {"name": call.name, "arguments": arguments}}
            )
    if message.tool_call_id is not None:
        body["tool_call_id"] = message.tool_call_id
        if message.tool_call_id in names:
            body["tool_name"] = names[message.tool_call_id]  # what most models' templates show
    return body


def _tools(request: ChatRequest) -> list[dict[str, Any]]:
    """The tools to offer; there is no way to make the model call one."""
    if request.tool_choice == "none":
        return []
    if request.tool_choice not in (None, "auto"):
        raise UnsupportedParameterError(
            f"{request.ref} cannot honour tool_choice={request.tool_choice!r}: Ollama leaves the choice to "
            "the model. Valid: 'auto', 'none'.",
            provider=request.ref.provider,
        )
    return [_tool(tool) for tool in request.tools]


def _tool(tool: Tool) -> dict[str, Any]:
    parameters = _inlined(tool.parameters, tool.parameters.get("$defs", {}))
    function = {"name": tool.name, "description": tool.description, "parameters": parameters}
    return {"type": "function", "function": function}


def _inlined(schema: Any, definitions: Mapping[str, Any], inside: frozenset[str] = frozenset()) -> Any:
    """A schema with each definition where it is referred to: the server drops references of properties.

    A definition that contains itself stays a reference there.
    Source: ``ToolProperty`` of api/types.go, which has no ``$ref``.
    """
    if isinstance(schema, list):
        return [_inlined(one, definitions, inside) for one in schema]
    if not isinstance(schema, Mapping):
        return schema
    name = str(schema.get("$ref", "")).removeprefix("#/$defs/")
    if name in definitions and name not in inside:
        further = {key: value for key, value in schema.items() if key != "$ref"}
        return _inlined({**definitions[name], **further}, definitions, inside | {name})
    return {key: _inlined(value, definitions, inside) for key, value in schema.items() if key != "$defs"}
