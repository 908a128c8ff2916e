"""What a script says: from a model's name and a request to the deltas of the answer."""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from farm_notebook.errors import InvalidRequestError, ModelNotFoundError, UnsupportedParameterError
from farm_notebook.providers.scripted.failures import ERRORS
from farm_notebook.providers.scripted.instances import smallest
from farm_notebook.types import (
    ChatRequest,
    Event,
    FinishReason,
    ReasoningDelta,
    ReasoningEffort,
    TextDelta,
    TokenLogprob,
    Tool,
    ToolCall,
    Usage,
)

__all__ = ["SCRIPTS", "Script", "answer", "delay_s", "logprobs", "parse", "usage"]

DELAY_S = 0.05
_BROKEN = ("fail", "truncate", "stall")
_COUNTED = ("count", "slow", "sample", "think", *_BROKEN)
SCRIPTS = ("echo", *_COUNTED, "call", "error")
_SCRIPT = re.compile(
    rf"echo|({'|'.join(_COUNTED)})(-\d+)?|call(-.+)?|error(-(\d{{3}}|{'|'.join(ERRORS)})(-\d+)?)?"
)
_DEFAULT_COUNT = 10
_RANKS = range(10)  # how many words the script 'sample' chooses among
_THOUGHTS: Mapping[ReasoningEffort | None, int] = {
    None: 0,
    "off": 0,
    "low": 2,
    "medium": 5,
    "on": 5,
    "high": 10,
}


@dataclass(frozen=True, slots=True)
class Script:
    """A model's name, taken apart at its first ``-``."""

    name: str
    argument: str

    @property
    def count(self) -> int:
        """The N of ``count-N``."""
        return int(self.argument or _DEFAULT_COUNT)

    @property
    def kind(self) -> str:
        """The KIND of ``error-KIND``."""
        return self.argument.partition("-")[0] or "provider"

    @property
    def retry_after_s(self) -> float | None:
        """The S of ``error-KIND-S``."""
        wait = self.argument.partition("-")[2]
        return float(wait) if wait else None


def parse(model: str) -> Script:
    """The script that a model's name spells.

    Raises:
        ModelNotFoundError: Quoting the name, and listing the scripts.
    """
    if not _SCRIPT.fullmatch(model):
        raise ModelNotFoundError(
            f"No script is called {model!r}. Valid: echo, {', '.join(f'{name}-N' for name in _COUNTED)}, "
            f"call-NAME, error-KIND with an HTTP status or one of {', '.join(ERRORS)}."
        )
    name, _, argument = model.partition("-")
    return Script(name, argument)


def answer(script: Script, request: ChatRequest) -> tuple[Sequence[Event], FinishReason]:
    """The deltas of an answer, a word with the space before it each, and why it ends.

    Raises:
        InvalidRequestError: The script calls a tool that the request does not offer.
        UnsupportedParameterError: No value is known that satisfies the request's schema.
    """
    thoughts = _thoughts(script, request)
    if tool := _called(script, request):
        return (*thoughts, _call(tool, request)), "tool_calls"
    deltas: list[Event] = [*thoughts, *map(TextDelta, _until_stop(_words(script, request), request.stop))]
    limit = request.max_tokens
    if limit is not None and limit < len(deltas) and script.name not in _BROKEN:
        return deltas[:limit], "length"
    return deltas, "stop"


def delay_s(script: Script, request: ChatRequest) -> float:
    """The pause before each delta, in seconds.

    Raises:
        UnsupportedParameterError: ``extra`` holds anything but a fitting ``delay_s``.
    """
    extra = dict(request.extra)
    pause_s = extra.pop("delay_s", DELAY_S if script.name == "slow" else 0)
    if extra or isinstance(pause_s, bool) or not isinstance(pause_s, int | float) or not 0 <= pause_s <= 60:
        raise UnsupportedParameterError(
            f"{request.ref} cannot honour extra={dict(request.extra)!r}. Valid: 'delay_s', 0 to 60 seconds.",
            provider=request.ref.provider,
        )
    return float(pause_s)


def usage(request: ChatRequest, deltas: Sequence[Event]) -> Usage:
    """A word is a token, and a call is one too."""
    thoughts = sum(isinstance(delta, ReasoningDelta) for delta in deltas)
    prompt = sum(len(message.content.split()) for message in request.messages)
    return Usage(prompt, len(deltas), reasoning_tokens=thoughts or None)


def logprobs(script: Script, request: ChatRequest, deltas: Sequence[Event]) -> tuple[TokenLogprob, ...]:
    """How likely each word was: certain, but for those of 'sample', as likely as at temperature 1."""
    if request.logprobs is None:
        return ()
    words = [delta.text for delta in deltas if isinstance(delta, TextDelta)]
    if script.name != "sample" or request.schema is not None:
        return tuple(TokenLogprob(word, 0.0, ((word, 0.0),)) for word in words)
    total = math.log(sum(math.exp(-rank) for rank in _RANKS))
    told = []
    for number, word in enumerate(words):
        top = tuple((_numbered(number, rank), -rank - total) for rank in _RANKS)
        if word in dict(top):  # and was not cut by a stop string
            told.append(TokenLogprob(word, dict(top)[word], top))
    return tuple(told)


def _words(script: Script, request: ChatRequest) -> list[str]:
    if request.schema is not None:
        words = _split(json.dumps(_smallest(request.schema, request)))
        return words[: script.count] if script.name in _BROKEN else words
    if script.name == "sample":
        return _sampled(script.count, request)
    if script.name in ("count", "slow", *_BROKEN):
        return [f"{' ' if number else ''}word{number}" for number in range(script.count)]
    last = request.messages[-1]
    kinds = ", ".join(image.media_type for image in last.images)
    seen = f"[{len(last.images)} image{'s' * (len(last.images) > 1)}: {kinds}] " if kinds else ""
    return _split(seen + last.content)


def _sampled(count: int, request: ChatRequest) -> list[str]:
    """Words near those of ``count``, the nearer the likelier: rank r has the weight exp(-r / temperature)."""
    temperature, top_p = request.temperature or 0.0, request.top_p or 1.0
    weights = [math.exp(-rank / temperature) if temperature else float(rank == 0) for rank in _RANKS]
    before = [sum(weights[:rank]) / sum(weights) for rank in _RANKS]  # the share of the likelier ones
    weights = [weight if share < top_p else 0.0 for weight, share in zip(weights, before, strict=True)]
    ranks = random.Random(request.seed or 0).choices(_RANKS, weights, k=count)
    return [_numbered(number, rank) for number, rank in enumerate(ranks)]


def _numbered(number: int, rank: int) -> str:
    """The word that may stand in a place, by its rank there."""
    return f"{' ' if number else ''}word{number + rank}"


def _thoughts(script: Script, request: ChatRequest) -> list[ReasoningDelta]:
    is_told = script.name == "think" and request.reasoning != "off"
    count = script.count if is_told else _THOUGHTS[request.reasoning]
    return [ReasoningDelta(f"{' ' if number else ''}thought{number}") for number in range(count)]


def _called(script: Script, request: ChatRequest) -> Tool | None:
    """The tool that is to be called, if any is."""
    by_name = {tool.name: tool for tool in request.tools}
    must = request.tool_choice == "required"
    if request.tool_choice in by_name:
        return by_name[request.tool_choice]
    if request.tool_choice == "none" or not (must or script.name == "call"):
        return None
    if request.messages[-1].role == "tool" and not must:
        return None  # the result is there; echo it
    name = script.argument if script.name == "call" else ""
    if tool := by_name.get(name or next(iter(by_name), "")):
        return tool
    raise InvalidRequestError(
        f"{request.ref} is to call a tool that the request does not offer. Offered: "
        f"{', '.join(by_name) or 'none'}."
    )


def _call(tool: Tool, request: ChatRequest) -> ToolCall:
    made = sum(len(message.tool_calls) for message in request.messages)
    prompt = request.messages[-1].content.strip()
    arguments = prompt if prompt.startswith("{") else json.dumps(_smallest(tool.parameters, request))
    return ToolCall(f"call_{made + 1}", tool.name, arguments)


def _smallest(schema: Mapping[str, Any], request: ChatRequest) -> Any:
    try:
        return smallest(schema)
    except ValueError as error:
        raise UnsupportedParameterError(
            f"{request.ref} has no value for the schema {dict(schema)!r}: {error}.",
            provider=request.ref.provider,
        ) from None


def _split(text: str) -> list[str]:
    """Words, each with the space before it."""
    return re.findall(r"\s*\S+", text)


def _until_stop(words: Sequence[str], stop: Sequence[str]) -> list[str]:
    text = "".join(words)
    ends = [at for at in (text.find(mark) for mark in stop) if at >= 0]
    return _split(text[: min(ends)]) if ends else list(words)
