"""The answers of ``/chat/completions`` and ``/completions`` as events.

Source: https://platform.openai.com/docs/api-reference/chat-streaming
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, AsyncIterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from farm_notebook.errors import ProviderError
from farm_notebook.providers.openai_wire.failure import wire_error
from farm_notebook.providers.openai_wire.reading import AnswerReader, read_answer, require_text
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


def decode_stream(chunks: AsyncIterable[bytes], ref: ModelRef) -> AsyncGenerator[Event, None]:
    """Events of an answer, the last one ``Finished``.

    A refusal that the model gives in place of an answer (OpenAI's ``refusal``) is an error and no text:
    nobody who asked for JSON should get an apology to parse. An answer that a filter cut short is an answer,
    with ``content_filter`` as its finish reason.

    Raises:
        FarmError: As ``read_answer`` says.
    """
    return read_answer(chunks, _ChatReader(ref))


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
        self.id = self.id or require_text(piece.get("id") or "")
        self.name = self.name or require_text(function.get("name") or "")
        self.arguments += require_text(function.get("arguments") or "")

    def begins_another(self, piece: Mapping[str, Any]) -> bool:
        """Whether a piece of the same index belongs to the next call: some servers count them all as 0."""
        function = piece.get("function") or {}
        return bool(self.id and function.get("name") and piece.get("id") not in (None, "", self.id))


class _ChatReader(AnswerReader):
    """What has been read of a chat's or a completion's answer."""

    def __init__(self, ref: ModelRef) -> None:
        super().__init__(ref)
        self._reason: FinishReason | None = None
        self._usage = Usage()
        self._calls: list[_PartialCall] = []
        self._call_at: dict[int, _PartialCall] = {}

    def _take(self, chunk: Any) -> None:
        if not isinstance(chunk, dict) or chunk.get("error"):
            raise wire_error(chunk, self.ref)
        if progress := chunk.get("prompt_progress"):
            self._put(PromptProgress(progress["processed"], progress["total"]))
        if choices := chunk.get("choices"):
            for choice in choices:
                self._take_choice(choice, choice.get("delta"))
        elif chunk.get("object") == "error":  # vLLM
            raise wire_error(chunk, self.ref)
        if counts := chunk.get("usage"):
            self._usage = usage_of(counts) or self._usage

    def _take_body(self, body: Mapping[str, Any]) -> None:
        for choice in body["choices"]:
            message = choice.get("message")
            if message and (calls := message.get("tool_calls")):
                message |= {"tool_calls": [{"index": index} | call for index, call in enumerate(calls)]}
            self._take_choice(choice, message)
        self._usage = usage_of(body.get("usage")) or self._usage

    def _take_choice(self, choice: Mapping[str, Any], delta: Mapping[str, Any] | None) -> None:
        """Read what one choice adds. The hot path: once for each token."""
        if delta:
            text = delta.get("content")
            if text is None or len(delta) > 1:  # nearly all have text, and nothing else
                self._take_others(delta)
            if text:
                self._add(TextDelta, text)
        elif text := choice.get("text"):  # of a completion
            self._add(TextDelta, text)
        if told := choice.get("logprobs"):
            self._add_logprobs(told.get("content") or _of_completion(told))
        if word := choice.get("finish_reason"):
            self._reason = _finish_reason(word)

    def _take_others(self, delta: Mapping[str, Any]) -> None:
        if reasoning := delta.get("reasoning_content") or delta.get("reasoning"):
            self._add(ReasoningDelta, reasoning)
        for piece in delta.get("tool_calls") or ():
            self._take_call(piece)
        if refusal := delta.get("refusal"):
            self._refuse(refusal)

    def _take_call(self, piece: Mapping[str, Any]) -> None:
        index = piece.get("index", 0)
        call = self._call_at.get(index)
        if call is None or call.begins_another(piece):
            call = self._call_at[index] = _PartialCall()
            self._calls.append(call)
        call.add(piece)

    def _end(self) -> list[Event]:
        if self._reason is None:
            raise self._no_end("a finish reason")
        if self._reason == "error":
            raise ProviderError(f"{self.ref} gave up, and did not say why.", provider=self.ref.provider)
        calls = [
            ToolCall(call.id or f"call_{uuid.uuid4().hex}", call.name, call.arguments) for call in self._calls
        ]
        # A call that the request forced ends with "stop" at OpenAI.
        reason = "tool_calls" if calls and self._reason == "stop" else self._reason
        return [*calls, Finished(reason, self._usage, logprobs=tuple(self._logprobs))]


def _of_completion(told: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The logprobs of ``/completions`` in the form of a chat's; none where a chat's are empty.

    Source: https://platform.openai.com/docs/api-reference/completions/object
    """
    tokens = told.get("tokens") or ()
    tops = told.get("top_logprobs") or [None] * len(tokens)
    for token, logprob, top in zip(tokens, told.get("token_logprobs") or (), tops, strict=True):
        likeliest = [{"token": other, "logprob": its} for other, its in (top or {}).items()]
        yield {"token": token, "logprob": logprob, "top_logprobs": likeliest}


_FINISH_REASONS: dict[str, FinishReason] = {word: word for word in get_args(FinishReason)}


def _finish_reason(word: str) -> FinishReason:
    """The field's word for why an answer ended; a word nobody knows counts as ``stop``."""
    return "tool_calls" if word == "function_call" else _FINISH_REASONS.get(word, "stop")
