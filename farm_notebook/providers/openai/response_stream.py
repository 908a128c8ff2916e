"""The answers of the Responses API as events.

Source: https://platform.openai.com/docs/api-reference/responses-streaming, and the SDK's
``openai.types.responses``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from dataclasses import replace
from typing import Any

from farm_notebook.errors import ProviderError
from farm_notebook.providers.openai_wire import AnswerReader, read_answer, require_text, wire_error
from farm_notebook.types import (
    Event,
    Finished,
    FinishReason,
    ModelRef,
    ReasoningDelta,
    TextDelta,
    ToolCall,
    Usage,
)

__all__ = ["decode_responses"]

_INCOMPLETE: Mapping[object, FinishReason] = {
    "max_output_tokens": "length",
    "content_filter": "content_filter",
}


def decode_responses(chunks: AsyncIterable[bytes], ref: ModelRef) -> AsyncGenerator[Event, None]:
    """Events of an answer, the last one ``Finished``; a refusal is an error, as in a chat.

    Raises:
        FarmError: As ``read_answer`` says.
    """
    return read_answer(chunks, _ResponseReader(ref))


class _ResponseReader(AnswerReader):
    """What has been read of a response."""

    def __init__(self, ref: ModelRef) -> None:
        super().__init__(ref)
        self._calls: list[ToolCall] = []
        self._finished: Finished | None = None

    def _take(self, chunk: Any) -> None:
        if not isinstance(chunk, dict):
            raise wire_error(chunk, self.ref)
        match chunk.get("type"):
            case "response.output_text.delta":
                self._add(TextDelta, chunk["delta"])
                self._add_logprobs(chunk.get("logprobs") or ())
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                self._add(ReasoningDelta, chunk["delta"])
            case "response.reasoning_summary_part.added" if chunk.get("summary_index"):
                self._add(ReasoningDelta, "\n\n")  # parts are paragraphs, with nothing between them
            case "response.refusal.delta":
                self._refuse(chunk["delta"])
            case "response.output_item.done":
                self._take_call(chunk["item"])
            case "response.completed" | "response.incomplete" | "response.failed":
                self._take_end(chunk["response"])
            case "error":
                raise wire_error(chunk.get("error") or chunk, self.ref)
            case _ if chunk.get("error"):
                raise wire_error(chunk, self.ref)
            case _:
                pass  # what is on its way, or already came in pieces

    def _take_body(self, body: Mapping[str, Any]) -> None:
        for item in body["output"]:
            self._take_call(item)
            for part in item.get("summary") or ():
                self._add(ReasoningDelta, part["text"])
            for part in item.get("content") or ():
                match part["type"]:
                    case "output_text":
                        self._add(TextDelta, part["text"])
                        self._add_logprobs(part.get("logprobs") or ())
                    case "reasoning_text":
                        self._add(ReasoningDelta, part["text"])
                    case "refusal":
                        self._refuse(part["refusal"])
                    case _:
                        pass
        self._take_end(body)

    def _take_call(self, item: Mapping[str, Any]) -> None:
        if item["type"] == "function_call":
            words = (item["call_id"], item["name"], item.get("arguments") or "")
            self._calls.append(ToolCall(*map(require_text, words)))

    def _take_end(self, response: Mapping[str, Any]) -> None:
        """Read the finish mark: a whole response, with its state and the tokens it took. Nothing follows."""
        self._is_done = True
        usage = _usage_of(response.get("usage") or {})
        match response.get("status"):
            case "completed":
                self._finished = Finished("tool_calls" if self._calls else "stop", usage)
            case "incomplete":
                why = (response.get("incomplete_details") or {}).get("reason")
                if why not in _INCOMPLETE:
                    raise ProviderError(
                        f"{self.ref} left its answer incomplete: {why!r}.", provider=self.ref.provider
                    )
                self._finished = Finished(_INCOMPLETE[why], usage)
            case status:
                raise wire_error({"error": response.get("error") or f"the response is {status!r}"}, self.ref)

    def _end(self) -> list[Event]:
        if self._finished is None:
            raise self._no_end("response.completed")
        return [*self._calls, replace(self._finished, logprobs=tuple(self._logprobs))]


def _usage_of(counts: Mapping[str, Any]) -> Usage:
    """Token counts, which this API names in its own way."""
    read = counts.get("input_tokens_details") or {}
    written = counts.get("output_tokens_details") or {}
    return Usage(
        input_tokens=counts.get("input_tokens"),
        output_tokens=counts.get("output_tokens"),
        cached_tokens=read.get("cached_tokens"),
        reasoning_tokens=written.get("reasoning_tokens"),
    )
