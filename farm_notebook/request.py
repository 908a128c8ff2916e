"""From what a caller passes to one validated ``ChatRequest``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, TypedDict, get_args, runtime_checkable

from farm_notebook.config import FarmConfig
from farm_notebook.errors import InvalidRequestError
from farm_notebook.router import resolve
from farm_notebook.types import ChatMessage, ChatRequest, RequestKind, Role

__all__ = ["Options", "Prompt", "build_request"]


@runtime_checkable
class SchemaSource(Protocol):
    """A pydantic model class, or whatever else can tell its JSON schema."""

    def model_json_schema(self) -> dict[str, Any]: ...


Prompt: TypeAlias = str | Sequence[ChatMessage | Mapping[str, str]]


class Options(TypedDict, total=False):
    """What may be said about a request besides its prompt; what is absent is left to the provider.

    ``model`` is a name as in ``router.resolve``; ``system`` is a system message put first; ``schema`` is a
    JSON schema or a pydantic model class; the rest are ``ChatRequest``'s sampling fields.
    """

    model: str | None
    system: str | None
    temperature: float | None
    top_p: float | None
    max_tokens: int | None
    seed: int | None
    stop: str | Sequence[str] | None
    schema: Mapping[str, Any] | SchemaSource | None


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
    messages = _messages(prompt)
    if system := options.get("system"):
        messages = (_message(ChatMessage("system", system)), *messages)
    if kind == "completion" and len(messages) != 1:
        raise InvalidRequestError("A completion takes one prompt: no conversation and no system message.")
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
    )


def _messages(prompt: Prompt) -> tuple[ChatMessage, ...]:
    if isinstance(prompt, str):
        prompt = (ChatMessage("user", prompt),)
    if not isinstance(prompt, Iterable):
        raise InvalidRequestError(f"{prompt!r} is not a prompt. Valid: text, or a list of messages.")
    messages = tuple(_message(entry) for entry in prompt)
    if not messages or not messages[-1].content.strip():
        raise InvalidRequestError("The prompt is empty. Write what to ask.")
    return messages


def _message(entry: ChatMessage | Mapping[str, str]) -> ChatMessage:
    if not isinstance(entry, ChatMessage):
        if not isinstance(entry, Mapping) or set(entry) != {"role", "content"}:
            raise InvalidRequestError(
                f"{entry!r} is not a message. Valid: ChatMessage(role, content), or a mapping with "
                "'role' and 'content'."
            )
        entry = ChatMessage(entry["role"], entry["content"])  # type: ignore[arg-type]  # checked below
    if entry.role not in get_args(Role):
        raise InvalidRequestError(
            f"{entry.role!r} is not a role. Valid: {', '.join(repr(role) for role in get_args(Role))}."
        )
    if not isinstance(entry.content, str):
        raise InvalidRequestError(f"A message's content is text, not {type(entry.content).__name__}.")
    try:
        entry.content.encode()
    except UnicodeEncodeError as error:
        half = entry.content[error.start]
        raise InvalidRequestError(
            f"Character {error.start} of the prompt, {half!r}, is half of a surrogate pair, which cannot "
            "be sent. Was the text decoded with errors='surrogateescape'?"
        ) from None
    return entry


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
