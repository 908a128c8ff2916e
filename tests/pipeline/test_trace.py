"""Spans: what OpenTelemetry's own SDK gets to see of a request, and what is done where nobody looks."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from typing import Any

import pytest
from opentelemetry import trace as telemetry
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from farm_notebook.config import TelemetryConfig
from farm_notebook.errors import RateLimitedError
from farm_notebook.pipeline import Handler
from farm_notebook.pipeline.trace import trace, trace_embeddings
from farm_notebook.types import (
    ChatMessage,
    ChatRequest,
    Embeddings,
    Event,
    Finished,
    Image,
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

REF = ModelRef("openai", "gpt-4o")
REQUEST = ChatRequest(REF, (ChatMessage("user", "hello sk-PLANTED"),))
PLAIN = TelemetryConfig()
WITH_CONTENT = TelemetryConfig(content=True)


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Every span that ended, in the order in which they did."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(
        telemetry, "get_tracer", provider.get_tracer
    )  # the global provider can be set but once
    yield exporter
    provider.shutdown()


def script(*events: Event, error: Exception | None = None) -> Handler:
    """A handler that says all of it, and then fails."""

    async def handler(request: ChatRequest) -> AsyncGenerator[Event, None]:
        for event in events:
            yield event
        if error is not None:
            raise error

    return handler


ANSWER = script(Started(REF), TextDelta("a"), TextDelta("b"), Finished("stop", Usage(3, 9)))


async def spoken(
    handler: Handler, request: ChatRequest = REQUEST, config: TelemetryConfig = PLAIN
) -> list[Event]:
    policy = trace(config, redact=lambda text: text.replace("sk-PLANTED", "***"))
    return [event async for event in policy(handler)(request)]


def only(exporter: InMemorySpanExporter) -> ReadableSpan:
    (span,) = exporter.get_finished_spans()
    return span


def attributes(exporter: InMemorySpanExporter) -> dict[str, Any]:
    return dict(only(exporter).attributes or {})


async def test_a_span_says_what_was_asked_and_how_it_was_answered(exporter: InMemorySpanExporter) -> None:
    request = ChatRequest(
        REF,
        REQUEST.messages,
        temperature=0.0,
        top_p=0.9,
        max_tokens=50,
        seed=7,
        stop=("END", "STOP"),
        schema={"type": "object"},
        reasoning="low",
    )
    answered = ModelRef("openai", "gpt-4o-2024-08-06")
    events = (Started(answered), ReasoningDelta("hm"), TextDelta("a"), Finished("length", Usage(3, 9, 2, 4)))
    assert await spoken(script(*events), request) == list(events)
    span, told = only(exporter), attributes(exporter)
    assert (span.name, span.kind, span.status.status_code) == (
        "chat gpt-4o",
        SpanKind.CLIENT,
        StatusCode.UNSET,
    )
    assert told.pop("gen_ai.response.time_to_first_chunk") >= 0
    assert told == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.request.stream": True,
        "gen_ai.output.type": "json",
        "gen_ai.request.temperature": 0.0,
        "gen_ai.request.top_p": 0.9,
        "gen_ai.request.max_tokens": 50,
        "gen_ai.request.seed": 7,
        "gen_ai.request.stop_sequences": ("END", "STOP"),
        "gen_ai.request.reasoning.level": "low",
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "gen_ai.response.finish_reasons": ("length",),
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 9,
        "gen_ai.usage.cache_read.input_tokens": 2,
        "gen_ai.usage.reasoning.output_tokens": 4,
    }


async def test_what_was_not_said_is_not_in_the_span(exporter: InMemorySpanExporter) -> None:
    await spoken(
        script(Started(REF), Finished("stop")), ChatRequest(REF, REQUEST.messages, kind="completion")
    )
    assert only(exporter).name == "text_completion gpt-4o"
    assert attributes(exporter) == {
        "gen_ai.operation.name": "text_completion",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.request.stream": True,
        "gen_ai.output.type": "text",
        "gen_ai.response.model": "gpt-4o",
        "gen_ai.response.finish_reasons": ("stop",),
    }


async def test_prompts_and_answers_are_told_only_where_that_is_asked_for(
    exporter: InMemorySpanExporter,
) -> None:
    call = ToolCall("1", "weather", '{"town": "Oslo"}')
    request = ChatRequest(
        REF,
        (
            ChatMessage("system", "Be brief."),
            ChatMessage("user", "sk-PLANTED", images=(Image(b"1234", "image/png"),)),
            ChatMessage("assistant", "", tool_calls=(call,)),
            ChatMessage("tool", "rain", tool_call_id="1"),
        ),
    )
    handler = script(Started(REF), TextDelta("It is sk-PL"), TextDelta("ANTED"), call, Finished("tool_calls"))
    await spoken(handler, request)
    assert not [name for name in attributes(exporter) if name.endswith("messages")]
    exporter.clear()
    await spoken(handler, request, WITH_CONTENT)
    told = attributes(exporter)
    of_call = {"type": "tool_call", "id": "1", "name": "weather", "arguments": '{"town": "Oslo"}'}
    picture = {"type": "image", "mime_type": "image/png", "size_bytes": 4}
    assert json.loads(told["gen_ai.input.messages"]) == [
        {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]},
        {"role": "user", "parts": [picture, {"type": "text", "content": "***"}]},
        {"role": "assistant", "parts": [of_call]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "1", "response": "rain"}]},
    ]
    assert json.loads(told["gen_ai.output.messages"]) == [
        {
            "role": "assistant",
            "parts": [{"type": "text", "content": "It is ***"}, of_call],
            "finish_reason": "tool_calls",
        }
    ]


async def test_an_error_is_the_spans_status_and_shows_no_key(exporter: InMemorySpanExporter) -> None:
    error = RateLimitedError("sk-PLANTED asked too often", provider="openai")
    with pytest.raises(RateLimitedError):
        await spoken(script(Started(REF), TextDelta("half"), error=error), config=WITH_CONTENT)
    span, told = only(exporter), attributes(exporter)
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "*** asked too often")
    assert told["error.type"] == "RateLimitedError"
    assert told["gen_ai.response.finish_reasons"] == ("error",)
    assert json.loads(told["gen_ai.output.messages"])[0]["parts"] == [{"type": "text", "content": "half"}]


async def test_a_caller_who_leaves_ends_the_span_without_an_error(exporter: InMemorySpanExporter) -> None:
    async with aclosing(trace(PLAIN)(ANSWER)(REQUEST)) as events:
        await anext(events)
        assert not exporter.get_finished_spans()
    assert only(exporter).status.status_code is StatusCode.UNSET
    assert attributes(exporter)["gen_ai.response.finish_reasons"] == ("interrupted",)


async def test_a_cancel_ends_the_span_and_what_is_traced(exporter: InMemorySpanExporter) -> None:
    waiting, closed = asyncio.Event(), []

    async def stuck(request: ChatRequest) -> AsyncGenerator[Event, None]:
        try:
            waiting.set()
            await asyncio.Event().wait()
            yield Started(REF)
        finally:
            closed.append(True)

    task = asyncio.create_task(spoken(stuck))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert closed == [True]
    assert attributes(exporter)["gen_ai.response.finish_reasons"] == ("interrupted",)


async def test_a_generator_that_is_closed_by_another_task_leaves_no_context_behind(
    exporter: InMemorySpanExporter,
) -> None:
    events = trace(PLAIN)(ANSWER)(REQUEST)
    await asyncio.create_task(anext(events))
    await asyncio.create_task(events.aclose())
    assert len(exporter.get_finished_spans()) == 1
    assert not telemetry.get_current_span().is_recording()


async def test_the_span_is_below_the_callers_and_above_those_of_what_it_calls(
    exporter: InMemorySpanExporter,
) -> None:
    tracer = telemetry.get_tracer("test")

    async def sending(request: ChatRequest) -> AsyncGenerator[Event, None]:
        with tracer.start_as_current_span("POST"):
            await asyncio.sleep(0)
        yield Started(REF)
        yield Finished("stop")

    with tracer.start_as_current_span("cell") as cell:
        async for _ in trace(PLAIN)(sending)(REQUEST):
            assert telemetry.get_current_span() is cell
    post, chat, outer = exporter.get_finished_spans()
    assert [span.name for span in (post, chat, outer)] == ["POST", "chat gpt-4o", "cell"]
    assert post.parent is not None
    assert chat.parent is not None
    assert chat.context is not None
    assert (post.parent.span_id, chat.parent.span_id) == (
        chat.context.span_id,
        cell.get_span_context().span_id,
    )


async def test_another_model_that_answers_is_told_of(exporter: InMemorySpanExporter) -> None:
    other = ModelRef("groq", "llama")
    await spoken(
        script(
            Queued(REF, "concurrency", 1.0),
            Started(REF),
            Retrying(REF, "busy sk-PLANTED", 0.5),
            Rerouted(REF, other, "down sk-PLANTED"),
            Started(other, cached=True),
            Finished("stop"),
        )
    )
    told = attributes(exporter)
    assert (told["gen_ai.provider.name"], told["gen_ai.response.model"]) == ("groq", "llama")
    assert told["gen_ai.request.model"] == "gpt-4o"
    assert told["farm.cached"] is True
    assert [(event.name, dict(event.attributes or {})) for event in only(exporter).events] == [
        ("farm.queued", {"limit": "concurrency", "wait_s": 1.0}),
        ("farm.retrying", {"problem": "busy ***", "wait_s": 0.5}),
        ("farm.rerouted", {"source": "openai:gpt-4o", "target": "groq:llama", "problem": "down ***"}),
    ]


async def embed(texts: Sequence[str], ref: ModelRef) -> Embeddings:
    with telemetry.get_tracer("test").start_as_current_span("POST"):
        if ref.model == "busy":
            raise RateLimitedError("sk-PLANTED asked too often", provider=ref.provider)
    return Embeddings(tuple((1.0, 0.0) for _ in texts), ref, Usage(4))


async def test_embeddings_have_a_span_without_their_texts(exporter: InMemorySpanExporter) -> None:
    ref = ModelRef("openai", "text-embedding-3-small")
    made = await trace_embeddings(embed, WITH_CONTENT)(("sk-PLANTED", "b"), ref)
    assert len(made.vectors) == 2
    post, span = exporter.get_finished_spans()
    assert post.parent is not None
    assert span.context is not None
    assert (span.name, post.parent.span_id) == ("embeddings text-embedding-3-small", span.context.span_id)
    assert dict(span.attributes or {}) == {
        "gen_ai.operation.name": "embeddings",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "text-embedding-3-small",
        "gen_ai.response.model": "text-embedding-3-small",
        "gen_ai.usage.input_tokens": 4,
        "gen_ai.embeddings.dimension.count": 2,
    }


async def test_embeddings_that_fail_are_the_spans_status(exporter: InMemorySpanExporter) -> None:
    embedding = trace_embeddings(embed, PLAIN, redact=lambda text: text.replace("sk-PLANTED", "***"))
    with pytest.raises(RateLimitedError):
        await embedding(("a",), ModelRef("openai", "busy"))
    span = exporter.get_finished_spans()[-1]
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "*** asked too often")
    assert dict(span.attributes or {})["error.type"] == "RateLimitedError"


def test_switched_off_embeddings_are_left_as_they_are() -> None:
    assert trace_embeddings(embed, TelemetryConfig(enabled=False)) is embed


async def test_switched_off_it_passes_everything_by(exporter: InMemorySpanExporter) -> None:
    assert len(await spoken(ANSWER, config=TelemetryConfig(enabled=False))) == 4
    assert exporter.get_finished_spans() == ()


async def test_where_nobody_records_the_handler_itself_answers() -> None:
    made = ANSWER(REQUEST)

    def handler(request: ChatRequest) -> AsyncGenerator[Event, None]:
        return made

    assert trace(PLAIN)(handler)(REQUEST) is made
    await made.aclose()


def test_a_program_that_does_not_use_opentelemetry_does_not_import_it() -> None:
    program = (
        "import asyncio, sys\n"
        "from farm_notebook.config import TelemetryConfig\n"
        "from farm_notebook.pipeline.trace import trace\n"
        "from farm_notebook.types import ChatRequest, Finished, ModelRef\n"
        "async def handler(request):\n"
        "    yield Finished('stop')\n"
        "async def main():\n"
        "    request = ChatRequest(ModelRef('a', 'b'), ())\n"
        "    events = trace(TelemetryConfig())(handler)(request)\n"
        "    assert [event async for event in events] == [Finished('stop')]\n"
        "asyncio.run(main())\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
