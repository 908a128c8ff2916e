"""A streamed answer as events, those of one read together.

Pieces of text that arrived in one read are one delta: nobody could have seen one before the other, and
every event costs the whole way up to the reader. A server that sends a token at a time is passed on a
token at a time.
Source: docs/api.md, "Generate a chat completion"; ChatResponse and GenerateResponse of api/types.go.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

import httpx2
from pydantic_core import from_json

from farm_notebook.errors import FarmError, IncompleteStreamError, ProviderError
from farm_notebook.providers.logprobs import read_logprobs
from farm_notebook.providers.ollama.ndjson import LineSplitter
from farm_notebook.types import (
    ChatRequest,
    Event,
    Finished,
    FinishReason,
    ModelRef,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    ToolCall,
    Usage,
)

__all__ = ["Explain", "decode_stream"]

Explain = Callable[[Any, ModelRef], FarmError]
"""From the body of an error inside a stream to the typed error."""

_QUOTED_BYTES = 200
_DRAIN_S = 1.0  # a finished answer does not wait longer for a response that does not end


async def decode_stream(
    chunks: AsyncIterable[bytes], request: ChatRequest, explain: Explain
) -> AsyncGenerator[Event, None]:
    """Events of a streamed answer, the last one ``Finished``.

    Args:
        chunks: The body of the response.
        request: What was asked.
        explain: Makes the error of an error line.

    Raises:
        IncompleteStreamError: The bytes ended before ``done`` was true.
        ProviderError: The server reported an error inside the stream, or sent what is not the protocol.
    """
    splitter, answer, reads = LineSplitter(), _Answer(request, explain), aiter(chunks)
    async for chunk in reads:
        for event in answer.take(splitter.feed(chunk)):
            yield event
        if answer.finished is not None or answer.error is not None:
            break
    else:
        for event in answer.take(splitter.end()):
            yield event
    if answer.error is not None:
        raise answer.error
    if answer.finished is None:
        raise IncompleteStreamError(
            f"The stream of {request.ref} ended before its end was announced.", provider=request.ref.provider
        )
    yield answer.finished
    with suppress(TimeoutError, httpx2.HTTPError):
        async with asyncio.timeout(_DRAIN_S):
            async for _ in reads:  # to the response's end, or its connection cannot serve the next request
                pass


class _Answer:
    """What has been read of one answer."""

    def __init__(self, request: ChatRequest, explain: Explain) -> None:
        self.error: FarmError | None = None
        self.finished: Finished | None = None
        self._ref = request.ref
        self._explain = explain
        self._ids = {call.id for message in request.messages for call in message.tool_calls}
        self._has_calls = False
        self._events: list[Event] = []
        self._kind: type[TextDelta] | type[ReasoningDelta] = TextDelta
        self._pieces: list[str] = []
        self._logprobs: list[TokenLogprob] = []

    def take(self, lines: Iterable[bytes]) -> list[Event]:
        """The events of some lines; what stops them is in ``error`` or ``finished`` afterwards."""
        line = b""
        try:
            for line in lines:
                self._take(from_json(line))
                if self.finished is not None:
                    break
        except FarmError as error:
            self.error = error
        except ValueError:
            self.error = self._odd("a line that is not JSON", line)
        except (AttributeError, KeyError, TypeError):  # JSON, but not the protocol's: a proxy's, say
            self.error = self._odd("a line of an unknown shape", line)
        self._join()
        events, self._events = self._events, []
        return events

    def _take(self, line: Any) -> None:
        """Read one line. The hot path: once for each token."""
        if "error" in line:
            raise self._explain(line, self._ref)
        is_done = line["done"]
        part = line.get("message") or line  # of a chat, or of a completion
        if reasoning := part.get("thinking"):
            self._add(ReasoningDelta, reasoning)
        if text := part.get("content") or line.get("response"):
            self._add(TextDelta, text)
        if calls := part.get("tool_calls"):
            self._join()
            self._events += [self._call(call) for call in calls]
            self._has_calls = True
        if told := line.get("logprobs"):
            self._logprobs += read_logprobs(told)
        if is_done:
            reason = self._reason(line.get("done_reason"))
            self.finished = Finished(reason, _usage(line), logprobs=tuple(self._logprobs))

    def _add(self, kind: type[TextDelta] | type[ReasoningDelta], text: Any) -> None:
        if not isinstance(text, str):
            raise TypeError(f"{text!r} is not text")
        if kind is not self._kind:
            self._join()
            self._kind = kind
        self._pieces.append(text)

    def _join(self) -> None:
        """Make one delta of the pieces that came since the last."""
        if self._pieces:
            self._events.append(self._kind("".join(self._pieces)))
            self._pieces.clear()

    def _call(self, call: Mapping[str, Any]) -> ToolCall:
        """A tool call, which arrives whole; servers before 0.12 give it no id."""
        function = call["function"]
        name, arguments = function["name"], function.get("arguments") or {}
        if not isinstance(name, str) or not isinstance(arguments, dict):
            raise TypeError(f"{call!r} is no tool call")
        id_, number = call.get("id") or "", len(self._ids)
        while not id_ or id_ in self._ids:
            number += 1
            id_ = f"call_{number}"
        self._ids.add(id_)
        return ToolCall(id_, name, json.dumps(arguments, ensure_ascii=False))

    def _reason(self, word: str | None) -> FinishReason:
        """The field's word for why the answer ended. Ollama has ``stop``, ``length``, ``load``, ``unload``.

        The last two answer an empty prompt, to which nothing is said: that is an end like any other.
        """
        if word == "length":
            return "length"
        return "tool_calls" if self._has_calls else "stop"

    def _odd(self, what: str, line: bytes) -> ProviderError:
        return ProviderError(
            f"{self._ref} sent {what}: {line[:_QUOTED_BYTES]!r}.", provider=self._ref.provider
        )


def _usage(line: Mapping[str, Any]) -> Usage:
    """Token counts as the server gave them; it leaves out a 0, as for a prompt it had read before."""
    return Usage(input_tokens=_count(line, "prompt_eval_count"), output_tokens=_count(line, "eval_count"))


def _count(line: Mapping[str, Any], name: str) -> int | None:
    count = line.get(name)
    if count is not None and not isinstance(count, int):
        raise TypeError(f"{count!r} is no count")
    return count
