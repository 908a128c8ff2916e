"""A streamed answer as events, those of one read together.

Pieces of text that arrived in one read are one delta: nobody could have seen one before the other, and
every event costs the whole way up to the reader. A server that sends a token at a time is passed on a
token at a time.
Source: https://platform.openai.com/docs/api-reference/chat-streaming
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic_core import from_json

from farm_notebook.errors import FarmError, IncompleteStreamError, ProviderError
from farm_notebook.providers.openai_wire.failure import wire_error
from farm_notebook.providers.sse import EventSplitter
from farm_notebook.types import (
    Event,
    Finished,
    FinishReason,
    ModelRef,
    PromptProgress,
    ReasoningDelta,
    TextDelta,
    ToolCall,
    Usage,
)

__all__ = ["decode_stream", "usage_of"]

_DONE = b"[DONE]"
_QUOTED_BYTES = 200


async def decode_stream(chunks: AsyncIterable[bytes], ref: ModelRef) -> AsyncGenerator[Event, None]:
    """Events of a streamed answer, the last one ``Finished``.

    Raises:
        IncompleteStreamError: The bytes ended without a finish reason.
        ProviderError: The server reported an error inside the stream, or sent what is not the protocol.
    """
    splitter, answer = EventSplitter(), _Answer(ref)
    reads = aiter(chunks)
    async for chunk in reads:
        for event in answer.take(splitter.feed(chunk)):
            yield event
        if answer.error is not None:
            raise answer.error
        if answer.is_done:
            break
    for event in answer.end():
        yield event
    async for _ in reads:  # to the response's end, or its connection cannot serve the next request
        pass


def usage_of(counts: Mapping[str, Any] | None) -> Usage | None:
    """Token counts as the server gave them; what it left out stays unknown."""
    if not counts:
        return None
    read = counts.get("prompt_tokens_details") or {}
    written = counts.get("completion_tokens_details") or {}
    return Usage(
        input_tokens=counts.get("prompt_tokens"),
        output_tokens=counts.get("completion_tokens"),
        cached_tokens=read.get("cached_tokens"),
        reasoning_tokens=written.get("reasoning_tokens"),
    )


@dataclass(slots=True)
class _PartialCall:
    """A tool call on its way: the first piece names it, all carry arguments."""

    id: str = ""
    name: str = ""
    arguments: str = ""

    def add(self, piece: Mapping[str, Any]) -> None:
        function = piece.get("function") or {}
        self.id = self.id or _text(piece.get("id") or "")
        self.name = self.name or _text(function.get("name") or "")
        self.arguments += _text(function.get("arguments") or "")


class _Answer:
    """What has been read of one answer."""

    def __init__(self, ref: ModelRef) -> None:
        self.error: FarmError | None = None
        self.is_done = False
        self._ref = ref
        self._reason: FinishReason | None = None
        self._usage = Usage()
        self._calls: dict[int, _PartialCall] = {}
        self._events: list[Event] = []
        self._kind: type[TextDelta] | type[ReasoningDelta] = TextDelta
        self._pieces: list[str] = []

    def take(self, payloads: Iterable[bytes]) -> list[Event]:
        """The events of some payloads; what stops them is in ``error`` or ``is_done`` afterwards."""
        self._events = []
        for payload in payloads:
            if payload == _DONE:
                self.is_done = True
                break
            try:
                self._take(_json(payload))
            except FarmError as error:
                self.error = error
                break
            except ValueError:
                self.error = self._odd("a chunk that is not JSON", payload)
                break
            except (AttributeError, KeyError, TypeError):  # JSON, but not the protocol's: a proxy's, say
                self.error = self._odd("a chunk of an unknown shape", payload)
                break
        self._join()
        return self._events

    def end(self) -> list[Event]:
        """The last events: tool calls, and the finish mark.

        Raises:
            IncompleteStreamError: There was no finish reason.
        """
        if self._reason is None:
            raise IncompleteStreamError(
                f"The stream of {self._ref} ended without a finish reason.", provider=self._ref.provider
            )
        calls = [
            ToolCall(call.id or f"call_{index}", call.name, call.arguments)
            for index, call in sorted(self._calls.items())
        ]
        return [*calls, Finished(self._reason, self._usage)]

    def _take(self, chunk: Any) -> None:
        """Read one chunk. The hot path: once for each token."""
        if not isinstance(chunk, dict) or chunk.get("error"):
            raise wire_error(chunk, self._ref)
        if progress := chunk.get("prompt_progress"):
            self._join()
            self._events.append(PromptProgress(progress["processed"], progress["total"]))
        for choice in chunk.get("choices") or ():
            if delta := choice.get("delta"):
                if reasoning := delta.get("reasoning_content") or delta.get("reasoning"):
                    self._add(ReasoningDelta, _text(reasoning))
                if text := delta.get("content"):
                    self._add(TextDelta, _text(text))
                for piece in delta.get("tool_calls") or ():
                    self._calls.setdefault(piece.get("index", 0), _PartialCall()).add(piece)
            elif text := choice.get("text"):  # of a completion
                self._add(TextDelta, _text(text))
            if word := choice.get("finish_reason"):
                self._reason = _finish_reason(word)
        if counts := chunk.get("usage"):
            self._usage = usage_of(counts) or self._usage

    def _add(self, kind: type[TextDelta] | type[ReasoningDelta], text: str) -> None:
        if kind is not self._kind:
            self._join()
            self._kind = kind
        self._pieces.append(text)

    def _join(self) -> None:
        """Make one delta of the pieces that came since the last."""
        if self._pieces:
            self._events.append(self._kind("".join(self._pieces)))
            self._pieces.clear()

    def _odd(self, what: str, payload: bytes) -> ProviderError:
        return ProviderError(
            f"{self._ref} sent {what}: {payload[:_QUOTED_BYTES]!r}.", provider=self._ref.provider
        )


def _json(payload: bytes) -> Any:
    """Twice as fast as ``json.loads``, which gets what this parser is too strict for: half a surrogate pair,
    where a server cuts a character's escapes in two.

    Raises:
        ValueError: It is no JSON.
    """
    try:
        return from_json(payload)
    except ValueError:
        return json.loads(payload)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value


_FINISH_REASONS: dict[str, FinishReason] = {word: word for word in get_args(FinishReason)}


def _finish_reason(word: str) -> FinishReason:
    """The field's word for why an answer ended; a word nobody knows counts as ``stop``."""
    return "tool_calls" if word == "function_call" else _FINISH_REASONS.get(word, "stop")
