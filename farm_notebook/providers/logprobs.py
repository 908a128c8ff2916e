"""How likely each token of an answer was: as the protocols tell it, and as it was asked for."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from farm_notebook.errors import UnsupportedParameterError
from farm_notebook.types import ChatRequest, Event, Finished, TextDelta, TokenLogprob

__all__ = ["LEAST", "as_asked", "read_logprobs"]

LEAST = -9999.0  # OpenAI's word for the logarithm of 0, which JSON has no number for


def read_logprobs(content: Iterable[Mapping[str, Any]]) -> Iterator[TokenLogprob]:
    """Tokens as OpenAI's chats tell of them, and Ollama in the same words.

    Raises:
        KeyError, TypeError: They are told otherwise.

    Source: ``logprobs.content`` of https://platform.openai.com/docs/api-reference/chat/object
    """
    for entry in content:
        token, logprob = _pair(entry)
        top = sorted(map(_pair, entry.get("top_logprobs") or ()), key=lambda pair: -pair[1])
        yield TokenLogprob(token, logprob, tuple(top))


async def as_asked(events: AsyncGenerator[Event, None], request: ChatRequest) -> AsyncGenerator[Event, None]:
    """The events of an answer, with no more of the likeliest tokens than the request asks for.

    Args:
        events: Closed with this one.
        request: One that asks for logprobs.

    Raises:
        UnsupportedParameterError: At the end of an answer that tells of none: many a server takes the wish,
            and ignores it.
    """
    has_text = False
    async with aclosing(events):
        async for event in events:
            has_text = has_text or isinstance(event, TextDelta)
            if isinstance(event, Finished):
                if has_text and not event.logprobs:
                    raise UnsupportedParameterError(
                        f"{request.ref} cannot honour logprobs: it answered, and told of none. Ask without "
                        "them, or ask another model.",
                        provider=request.ref.provider,
                    )
                told = (
                    replace(each, top_logprobs=each.top_logprobs[: request.logprobs])
                    for each in event.logprobs
                )
                yield replace(event, logprobs=tuple(told))
            else:
                yield event


def _pair(entry: Mapping[str, Any]) -> tuple[str, float]:
    token, logprob = entry["token"], entry["logprob"]
    if not isinstance(token, str) or not isinstance(logprob, int | float):
        raise TypeError(f"{entry!r} is no token with its logprob")
    return token, max(float(logprob), LEAST)
