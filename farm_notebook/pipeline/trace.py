"""Tells OpenTelemetry of each request, as a span of its conventions for generative AI.

A program that wants spans has imported OpenTelemetry and set it up; in any other one nothing is imported, and
a request passes untouched. Prompts and answers are in a span only where that is asked for.
Source: https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/client-inference.md
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar

from farm_notebook.config import TelemetryConfig
from farm_notebook.pipeline import Handler, Middleware
from farm_notebook.pipeline.embedding_stream import Embed
from farm_notebook.types import (
    ChatMessage,
    ChatRequest,
    Embeddings,
    Event,
    Finished,
    FinishReason,
    ModelRef,
    Queued,
    ReasoningDelta,
    Rerouted,
    Retrying,
    Started,
    TextDelta,
    ToolCall,
    Usage,
)

if TYPE_CHECKING:
    from opentelemetry.trace import Span

__all__ = ["trace", "trace_embeddings"]

T = TypeVar("T")

_LEFT = (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt)  # the caller did, which is no error
_OPERATIONS = {"chat": "chat", "completion": "text_completion"}
_PARAMETERS = {  # of a request, and what the conventions call them
    "temperature": "temperature",
    "top_p": "top_p",
    "max_tokens": "max_tokens",
    "seed": "seed",
    "stop": "stop_sequences",
    "reasoning": "reasoning.level",
}
_COUNTS = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cached_tokens": "cache_read.input_tokens",
    "reasoning_tokens": "reasoning.output_tokens",
}


def trace(
    config: TelemetryConfig,
    *,
    redact: Callable[[str], str] = str,
    clock: Callable[[], float] = time.perf_counter,
) -> Middleware:
    """Make a span for each request, below the caller's own and above those of what it calls.

    Args:
        config: Whether any are made, and whether they hold prompts and answers.
        redact: Takes known secrets out of a text, before it is put into a span.
        clock: Seconds from any fixed moment.
    """

    def wrap(handler: Handler) -> Handler:
        def traced(request: ChatRequest) -> AsyncGenerator[Event, None]:
            span = _start(request) if config.enabled and _is_used() else None
            if span is None:
                return handler(request)
            return spanned(request, _Told(span, request, clock, redact, has_content=config.content))

        async def spanned(request: ChatRequest, told: _Told) -> AsyncGenerator[Event, None]:
            try:
                async with aclosing(handler(request)) as events:
                    while True:
                        try:
                            event = await (
                                anext(events) if told.is_said else _below(told.span, anext(events))
                            )
                        except StopAsyncIteration:
                            return
                        told.see(event)
                        yield event
            except BaseException as error:
                told.fail(error)
                raise
            finally:
                told.end()

        return traced

    return wrap


def trace_embeddings(embed: Embed, config: TelemetryConfig, *, redact: Callable[[str], str] = str) -> Embed:
    """The same calls, each with a span. Neither texts nor vectors are in it.

    Args:
        embed: Makes the vectors.
        config: As of ``trace``.
        redact: See there.
    """
    if not config.enabled:
        return embed

    async def traced(texts: Sequence[str], ref: ModelRef) -> Embeddings:
        span = _start_span("embeddings", ref, {}) if _is_used() else None
        if span is None:
            return await embed(texts, ref)
        try:
            embeddings = await _below(span, embed(texts, ref))
            span.set_attribute("gen_ai.response.model", embeddings.ref.model)
            _count(span, embeddings.usage)
            for vector in embeddings.vectors[:1]:
                span.set_attribute("gen_ai.embeddings.dimension.count", len(vector))
        except BaseException as error:
            if not isinstance(error, _LEFT):
                _set_error(span, error, redact)
            raise
        finally:
            span.end()
        return embeddings

    return traced


def _is_used() -> bool:
    """Whether this program uses OpenTelemetry: else nobody can have set it up."""
    return "opentelemetry.trace" in sys.modules


def _start(request: ChatRequest) -> Span | None:
    """The span of a request; ``None`` where nobody would see it."""
    attributes: dict[str, Any] = {
        "gen_ai.request.stream": True,
        "gen_ai.output.type": "text" if request.schema is None else "json",
    }
    for name, conventional in _PARAMETERS.items():
        if (value := getattr(request, name)) not in (None, ()):
            attributes[f"gen_ai.request.{conventional}"] = value
    return _start_span(_OPERATIONS[request.kind], request.ref, attributes)


def _start_span(operation: str, ref: ModelRef, attributes: dict[str, Any]) -> Span | None:
    from opentelemetry.trace import SpanKind, get_tracer

    attributes |= {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": ref.provider,
        "gen_ai.request.model": ref.model,
    }
    tracer = get_tracer("farm_notebook")
    span = tracer.start_span(f"{operation} {ref.model}", kind=SpanKind.CLIENT, attributes=attributes)
    return span if span.is_recording() else None


async def _below(span: Span, awaited: Awaitable[T]) -> T:
    """What is awaited; spans that are started meanwhile are children of this one.

    The context is put back at once, before a generator yields: it may go on in another one.
    """
    from opentelemetry import context
    from opentelemetry.trace import set_span_in_context

    token = context.attach(set_span_in_context(span))
    try:
        return await awaited
    finally:
        context.detach(token)


def _count(span: Span, usage: Usage) -> None:
    for name, conventional in _COUNTS.items():
        if (count := getattr(usage, name)) is not None:
            span.set_attribute(f"gen_ai.usage.{conventional}", count)


def _set_error(span: Span, error: BaseException, redact: Callable[[str], str]) -> None:
    from opentelemetry.trace import Status, StatusCode

    span.set_attribute("error.type", type(error).__qualname__)
    span.set_status(Status(StatusCode.ERROR, redact(str(error))))


class _Told:
    """What a span is told of one request."""

    def __init__(
        self,
        span: Span,
        request: ChatRequest,
        clock: Callable[[], float],
        redact: Callable[[str], str],
        *,
        has_content: bool,
    ) -> None:
        self.is_said = False
        self.span = span
        self._request = request
        self._ref = request.ref
        self._clock = clock
        self._redact = redact
        self._has_content = has_content
        self._texts: list[str] = []
        self._tool_calls: list[ToolCall] = []
        self._begun = clock()
        self._reason: FinishReason | None = None

    def see(self, event: Event) -> None:
        """Take the next event."""
        if self.is_said and not self._has_content and type(event) is TextDelta:  # nearly all are
            return
        match event:
            case TextDelta() | ReasoningDelta() | ToolCall():
                self._say(event)
            case Started(ref, cached):
                self._answered_by(ref)
                if cached:
                    self.span.set_attribute("farm.cached", True)
            case Rerouted(source, target, problem):
                self.span.add_event(
                    "farm.rerouted",
                    {"source": str(source), "target": str(target), "problem": self._redact(problem)},
                )
            case Retrying(_, problem, wait_s):
                self.span.add_event("farm.retrying", {"problem": self._redact(problem), "wait_s": wait_s})
            case Queued(_, limit, wait_s):
                self.span.add_event("farm.queued", {"limit": limit, "wait_s": wait_s})
            case Finished(reason, usage):
                self._finish(reason, usage)
            case _:
                pass

    def fail(self, error: BaseException) -> None:
        """The request ended so. A caller who left is no error of the request's."""
        if self._reason is not None:
            return
        if isinstance(error, _LEFT):
            self._reason = "interrupted"
            return
        self._reason = "error"
        _set_error(self.span, error, self._redact)

    def end(self) -> None:
        """There is no more to come."""
        if self._reason is not None:
            self.span.set_attribute("gen_ai.response.finish_reasons", [self._reason])
        if self._has_content:
            asked = [_message(message) for message in self._request.messages]
            said = ChatMessage("assistant", "".join(self._texts), tool_calls=tuple(self._tool_calls))
            answered = [_message(said) | {"finish_reason": self._reason or "error"}]
            self.span.set_attribute("gen_ai.input.messages", self._redact(_json(asked)))
            self.span.set_attribute("gen_ai.output.messages", self._redact(_json(answered)))
        self.span.end()

    def _say(self, event: TextDelta | ReasoningDelta | ToolCall) -> None:
        if not self.is_said:
            self.is_said = True
            self.span.set_attribute("gen_ai.response.time_to_first_chunk", self._clock() - self._begun)
        if not self._has_content:
            return
        if isinstance(event, ToolCall):
            self._tool_calls.append(event)
        elif isinstance(event, TextDelta):
            self._texts.append(event.text)

    def _answered_by(self, ref: ModelRef) -> None:
        self.span.set_attribute("gen_ai.response.model", ref.model)
        if ref.provider != self._ref.provider:
            self.span.set_attribute("gen_ai.provider.name", ref.provider)
        self._ref = ref

    def _finish(self, reason: FinishReason, usage: Usage) -> None:
        self._reason = reason
        _count(self.span, usage)


def _message(message: ChatMessage) -> dict[str, Any]:
    """A turn as the conventions write it; of a picture only its kind and how large it is."""
    parts: list[dict[str, Any]] = [
        {"type": "image", "mime_type": image.media_type, "size_bytes": len(image.data)}
        for image in message.images
    ]
    if message.role == "tool":
        parts.append({"type": "tool_call_response", "id": message.tool_call_id, "response": message.content})
    elif message.content:
        parts.append({"type": "text", "content": message.content})
    parts += (
        {"type": "tool_call", "id": call.id, "name": call.name, "arguments": call.arguments}
        for call in message.tool_calls
    )
    return {"role": message.role, "parts": parts}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
