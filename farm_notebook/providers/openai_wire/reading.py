"""Reads an answer off the wire, in whichever of OpenAI's two dialects: bytes in, events out.

What the bytes are is told by the bytes: servers and gateways name their content types as they like. A server
that ignores the wish for a stream and sends its whole answer as one JSON object is understood too.

Pieces of text that arrived in one read are one delta: nobody could have seen one before the other, and
every event costs the whole way up to the reader. A server that sends a token at a time is passed on a
token at a time.
"""

from __future__ import annotations

import asyncio
import json
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Mapping
from contextlib import suppress
from typing import Any

import httpx2
from pydantic_core import from_json

from farm_notebook.errors import ContentRefusedError, FarmError, IncompleteStreamError, ProviderError
from farm_notebook.providers.logprobs import read_logprobs
from farm_notebook.providers.openai_wire.failure import wire_error
from farm_notebook.providers.sse import EventSplitter
from farm_notebook.types import Event, ModelRef, ReasoningDelta, TextDelta, TokenLogprob

__all__ = ["AnswerReader", "read_answer", "require_text"]

_DONE = b"[DONE]"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_EVENT_LINE = re.compile(rb"(data|event|id|retry)?:")
_QUOTED_BYTES = 200
_DRAIN_S = 1.0  # a finished answer does not wait longer for a response that does not end


async def read_answer(chunks: AsyncIterable[bytes], answer: AnswerReader) -> AsyncGenerator[Event, None]:
    """Events of an answer, the last one ``Finished``.

    Args:
        chunks: The body of the response, its content encoding undone.
        answer: Reads the dialect.

    Raises:
        IncompleteStreamError: The bytes ended without the dialect's finish mark.
        ContentRefusedError: The model refused, in words of its own.
        ProviderError: The server reported an error inside the stream, or sent what is not the protocol.
    """
    splitter, reads = EventSplitter(), aiter(chunks)
    head = await _head(reads)
    if head.startswith(b"{"):
        for event in answer.take_body(head + b"".join([chunk async for chunk in reads])):
            yield event
    else:
        for event in answer.take(splitter.feed(head)):
            yield event
        if not answer.has_ended():
            async for chunk in reads:
                for event in answer.take(splitter.feed(chunk)):
                    yield event
                if answer.has_ended():
                    break
    if answer.error is not None:
        raise answer.error
    if head and not answer.has_begun and not _EVENT_LINE.match(head):
        raise answer.odd("what is no answer of a model", head)
    for event in answer.end():
        yield event
    with suppress(TimeoutError, httpx2.HTTPError):
        async with asyncio.timeout(_DRAIN_S):
            async for _ in reads:  # to the response's end, or its connection cannot serve the next request
                pass


async def _head(reads: AsyncIterator[bytes]) -> bytes:
    """The bytes up to the first read that holds anything, without the blanks before it."""
    head = b""
    async for chunk in reads:
        head = (head + chunk).removeprefix(_BYTE_ORDER_MARK).lstrip()
        if head:
            break
    return head


class AnswerReader(ABC):
    """What has been read of one answer; what one dialect says is for its subclass to know."""

    def __init__(self, ref: ModelRef) -> None:
        self.ref = ref
        self.error: FarmError | None = None
        self.has_begun = False
        self._is_done = False
        self._events: list[Event] = []
        self._kind: type[TextDelta] | type[ReasoningDelta] = TextDelta
        self._pieces: list[str] = []
        self._refusal: list[str] = []
        self._logprobs: list[TokenLogprob] = []

    def has_ended(self) -> bool:
        """Whether nothing that follows counts any more."""
        return self._is_done or self.error is not None

    def take(self, payloads: Iterable[bytes]) -> list[Event]:
        """The events of some payloads; what stops them is in ``error`` afterwards."""
        payload = b""
        try:
            for payload in payloads:
                self.has_begun = True
                if payload == _DONE:
                    self._is_done = True
                else:
                    self._take(_json(payload))
                if self._is_done:
                    break
        except FarmError as error:
            self.error = error
        except ValueError:
            self.error = self.odd("a chunk that is not JSON", payload)
        except (AttributeError, KeyError, TypeError):  # JSON, but not the protocol's: a proxy's, say
            self.error = self.odd("a chunk of an unknown shape", payload)
        return self._taken()

    def take_body(self, content: bytes) -> list[Event]:
        """The events of an answer that came whole; what stops them is in ``error`` afterwards."""
        self.has_begun = True
        try:
            body = _json(content)
            if body.get("error"):
                raise wire_error(body, self.ref)
            self._take_body(body)
        except FarmError as error:
            self.error = error
        except ValueError:
            self.error = self.odd("what is not JSON", content)
        except (AttributeError, KeyError, TypeError):
            self.error = self.odd("what is no answer of a model", content)
        return self._taken()

    def end(self) -> list[Event]:
        """The last events: tool calls, and the finish mark.

        Raises:
            IncompleteStreamError: There was no finish mark.
            ContentRefusedError: The model refused, and said why.
        """
        if self._refusal:
            raise ContentRefusedError(
                f"{self.ref} refused to answer: {''.join(self._refusal)}", provider=self.ref.provider
            )
        return self._end()

    def odd(self, what: str, content: bytes) -> ProviderError:
        """The error for what is not the protocol; it quotes the beginning."""
        return ProviderError(
            f"{self.ref} sent {what}: {content[:_QUOTED_BYTES]!r}.", provider=self.ref.provider
        )

    @abstractmethod
    def _take(self, chunk: Any) -> None:
        """Read one event of a stream. The hot path: once for each token."""

    @abstractmethod
    def _take_body(self, body: Mapping[str, Any]) -> None:
        """Read an answer that came whole."""

    @abstractmethod
    def _end(self) -> list[Event]:
        """The last events of an answer that the model did not refuse."""

    def _add(self, kind: type[TextDelta] | type[ReasoningDelta], text: object) -> None:
        """Take the next piece of text."""
        if not isinstance(text, str):  # and not require_text, which would be one call more for each token
            raise TypeError(f"{text!r} is not text")
        if kind is not self._kind:
            self._join()
            self._kind = kind
        self._pieces.append(text)

    def _put(self, event: Event) -> None:
        """Take an event that is whole, after the pieces before it."""
        self._join()
        self._events.append(event)

    def _refuse(self, text: object) -> None:
        """Take the next piece of what the model says instead of an answer."""
        self._refusal.append(require_text(text))

    def _add_logprobs(self, content: Iterable[Mapping[str, Any]]) -> None:
        """Take how likely the next tokens were."""
        self._logprobs += read_logprobs(content)

    def _no_end(self, mark: str) -> IncompleteStreamError:
        return IncompleteStreamError(
            f"The stream of {self.ref} ended without {mark}.", provider=self.ref.provider
        )

    def _join(self) -> None:
        """Make one delta of the pieces that came since the last."""
        if self._pieces:
            self._events.append(self._kind("".join(self._pieces)))
            self._pieces.clear()

    def _taken(self) -> list[Event]:
        self._join()
        events, self._events = self._events, []
        return events


def require_text(value: object) -> str:
    """A value that the protocol says is text.

    Raises:
        TypeError: It is not.
    """
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value


def _json(payload: bytes) -> Any:
    """Twice as fast as ``json.loads``, which gets what this parser is too strict for: half a surrogate pair,
    where a server cuts a character's escapes in two.

    Raises:
        ValueError: It is no JSON.
    """
    try:
        return from_json(payload)
    except ValueError:
        pass
    try:
        return json.loads(payload)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
