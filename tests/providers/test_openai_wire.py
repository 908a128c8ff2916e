"""The OpenAI-compatible wire is read as servers speak it; whatever else they say is a typed error."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
from collections.abc import AsyncGenerator, Iterable, Mapping
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm_notebook.errors import (
    AuthenticationError,
    ContentRefusedError,
    ContextLengthError,
    FarmError,
    IncompleteStreamError,
    InvalidRequestError,
    ProviderError,
    RateLimitedError,
)
from farm_notebook.providers.openai_wire import decode_stream, request_body, usage_of, wire_error
from farm_notebook.types import (
    ChatMessage,
    ChatRequest,
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

REF = ModelRef("somewhere", "model-1")
FIELDS = [
    *("error", "message", "code", "type", "n_prompt_tokens", "n_ctx"),
    *("choices", "delta", "content", "text", "reasoning_content", "finish_reason"),
    *("usage", "prompt_tokens", "prompt_tokens_details", "prompt_progress", "processed", "total"),
    *("tool_calls", "function", "arguments", "id", "index", "refusal", "message", "object"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(FIELDS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def sse(*chunks: object) -> bytes:
    """Chunks as one stream's bytes; a string stands for itself, anything else is sent as JSON."""
    payloads = [
        chunk if isinstance(chunk, str) else json.dumps(chunk, ensure_ascii=False) for chunk in chunks
    ]
    return "".join(f"data: {payload}\n\n" for payload in payloads).encode()


def delta(text: str | None = None, finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text, **fields}, "finish_reason": finish}]}


async def chunked(chunks: Iterable[bytes]) -> AsyncGenerator[bytes, None]:
    for chunk in chunks:
        yield chunk


async def decode(*chunks: bytes) -> list[Event]:
    return [event async for event in decode_stream(chunked(chunks), REF)]


def text_of(events: Iterable[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def request(**fields: Any) -> ChatRequest:
    return ChatRequest(ref=REF, messages=(ChatMessage("user", "hello"),), **fields)


# Streams


async def test_a_plain_stream_is_its_deltas_and_one_finish_mark() -> None:
    stream = sse(delta("", role="assistant"), delta("Hel"), delta("lo"), delta(finish="stop"), "[DONE]")
    assert await decode(*stream.splitlines(keepends=True)) == [
        TextDelta("Hel"),
        TextDelta("lo"),
        Finished("stop"),
    ]


async def test_pieces_of_one_read_are_one_delta_of_each_kind_in_their_order() -> None:
    stream = sse(
        delta(reasoning="h"),
        delta(reasoning="m"),
        delta("a"),
        delta("b"),
        delta(reasoning="?"),
        delta("c", "stop"),
    )
    assert await decode(stream) == [
        ReasoningDelta("hm"),
        TextDelta("ab"),
        ReasoningDelta("?"),
        TextDelta("c"),
        Finished("stop"),
    ]


@given(
    words=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8), max_size=8),
    places=st.lists(st.integers(min_value=0, max_value=3000), max_size=30),
)
async def test_any_cut_of_the_bytes_gives_the_same_events(words: list[str], places: list[int]) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": len(words)}
    stream = sse(*map(delta, words), delta(finish="stop"), {"choices": [], "usage": usage}, "[DONE]")
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    pieces = [stream[start:end] for start, end in itertools.pairwise(edges)]
    events = await decode(*pieces)
    assert text_of(events) == "".join(words)
    assert events[-1] == Finished("stop", Usage(3, len(words)))
    assert all(isinstance(event, TextDelta) and event.text for event in events[:-1])


async def test_a_line_separator_in_the_text_arrives_whole() -> None:
    assert (await decode(sse(delta("a\u2028b\u2029c"), delta(finish="stop"))))[0] == TextDelta(
        "a\u2028b\u2029c"
    )


async def test_usage_may_come_on_a_chunk_without_choices() -> None:
    counts = {"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}
    events = await decode(sse(delta("a"), delta(finish="stop"), {"choices": [], "usage": counts}, "[DONE]"))
    assert events[-1] == Finished("stop", Usage(5, 2, 4))


async def test_of_usage_on_every_chunk_the_last_counts() -> None:
    chunks = [delta("a") | {"usage": {"prompt_tokens": 5, "completion_tokens": n}} for n in (1, 2, 3)]
    events = await decode(sse(*chunks, delta(finish="stop") | {"usage": None}))
    assert events[-1] == Finished("stop", Usage(5, 3))


async def test_usage_that_never_came_is_unknown() -> None:
    assert (await decode(sse(delta("a"), delta(finish="stop"), "[DONE]")))[-1] == Finished("stop", Usage())


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
async def test_reasoning_is_kept_apart_from_the_answer(field: str) -> None:
    stream = sse(delta(**{field: "hmm"}), delta("yes"), delta(finish="stop"))
    assert await decode(stream) == [ReasoningDelta("hmm"), TextDelta("yes"), Finished("stop")]


async def test_a_completion_carries_its_text_beside_the_delta() -> None:
    stream = sse({"choices": [{"text": "one"}]}, {"choices": [{"text": "", "finish_reason": "length"}]})
    assert await decode(stream) == [TextDelta("one"), Finished("length")]


async def test_progress_on_the_prompt_is_passed_on() -> None:
    stream = sse(delta() | {"prompt_progress": {"processed": 16, "total": 40}}, delta(finish="stop"))
    assert (await decode(stream))[0] == PromptProgress(16, 40)


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("content_filter", "content_filter"),
        ("eos_token", "stop"),
    ],
)
async def test_every_word_for_the_end_is_a_finish_reason(word: str, reason: FinishReason) -> None:
    assert await decode(sse(delta(finish=word))) == [Finished(reason)]


async def test_nothing_after_done_is_read() -> None:
    assert await decode(sse(delta("a", "stop"), "[DONE]", delta("b"))) == [TextDelta("a"), Finished("stop")]


def call(index: int | None, **fields: Any) -> dict[str, Any]:
    """A chunk with a piece of a tool call."""
    function = {name: fields.pop(name) for name in ("name", "arguments") if name in fields}
    return delta(tool_calls=[({} if index is None else {"index": index}) | {"function": function, **fields}])


@pytest.mark.parametrize(
    "chunks",
    [
        [
            call(0, id="a", name="look", arguments=""),
            call(0, arguments='{"at":'),
            call(1, id="b", name="go", arguments="{}"),
            call(0, arguments=" 1}"),
        ],
        [
            call(0, id="a", name="look", arguments='{"at": 1}'),
            call(0, id="b", name="go", arguments="{}"),
        ],
        [
            call(None, id="a", name="look", arguments='{"at": 1}'),
            call(None, id="b", name="go", arguments="{}"),
        ],
        [
            call(0, id="a", name="look", arguments='{"at":'),
            call(0, id="a", name="look", arguments=" 1}"),
            call(1, id="b", name="go", arguments="{}"),
        ],
    ],
    ids=["in pieces", "all at index 0", "without an index", "named each time"],
)
async def test_tool_calls_come_whole_however_they_are_counted(chunks: list[dict[str, Any]]) -> None:
    assert await decode(sse(*chunks, delta(finish="tool_calls"))) == [
        ToolCall("a", "look", '{"at": 1}'),
        ToolCall("b", "go", "{}"),
        Finished("tool_calls"),
    ]


async def test_a_call_without_an_id_is_given_one_of_its_own() -> None:
    chunks = [call(0, name="go", arguments="{}"), call(1, name="go", arguments="{}"), delta(finish="stop")]
    *calls, finished = await decode(sse(*chunks))
    ids = [event.id for event in calls if isinstance(event, ToolCall)]
    assert len(set(ids)) == 2
    assert all(ids)
    assert finished == Finished("tool_calls")


async def test_an_answer_that_comes_whole_is_read_as_one_in_pieces() -> None:
    message = {
        "reasoning_content": "hmm",
        "content": "Hello",
        "tool_calls": [
            {"id": "a", "function": {"name": "look", "arguments": "{}"}},
            {"id": "b", "function": {"name": "go", "arguments": "{}"}},
        ],
    }
    body = {"choices": [{"message": message, "finish_reason": "tool_calls"}], "usage": {"prompt_tokens": 3}}
    assert await decode(*(bytes([byte]) for byte in json.dumps(body).encode())) == [
        ReasoningDelta("hmm"),
        TextDelta("Hello"),
        ToolCall("a", "look", "{}"),
        ToolCall("b", "go", "{}"),
        Finished("tool_calls", Usage(3)),
    ]


async def test_a_finished_answer_does_not_wait_for_a_response_that_does_not_end() -> None:
    async def endless() -> AsyncGenerator[bytes, None]:
        yield sse(delta("a", "stop"), "[DONE]")
        await asyncio.sleep(math.inf)

    assert [e async for e in decode_stream(endless(), REF)] == [TextDelta("a"), Finished("stop")]


async def test_a_connection_that_breaks_after_the_end_broke_nothing() -> None:
    async def broken() -> AsyncGenerator[bytes, None]:
        yield sse(delta("a", "stop"), "[DONE]")
        raise httpx2.ReadError("reset")

    assert [e async for e in decode_stream(broken(), REF)] == [TextDelta("a"), Finished("stop")]


# Streams that fail


async def test_a_refusal_is_no_text_and_is_told_whole() -> None:
    stream = sse(delta(refusal="I cannot "), delta(refusal="say."), delta(finish="stop"), "[DONE]")
    with pytest.raises(ContentRefusedError, match=r"refused to answer: I cannot say\."):
        await decode(stream)


async def test_an_end_in_error_is_no_answer() -> None:
    with pytest.raises(ProviderError, match="gave up"):
        await decode(sse(delta("a"), delta(finish="error"), "[DONE]"))


async def test_an_error_without_an_envelope_is_one() -> None:
    body = {"object": "error", "message": "engine died", "code": 500}
    with pytest.raises(ProviderError, match="engine died"):
        await decode(sse(delta("a"), body))


async def test_json_too_deep_for_a_parser_is_quoted() -> None:
    with pytest.raises(ProviderError, match="not JSON"):
        await decode(sse("[" * 100_000))


@pytest.mark.parametrize("end", [b"", sse("[DONE]")], ids=["cut off", "done"])
async def test_a_stream_without_a_finish_reason_did_not_succeed(end: bytes) -> None:
    events = decode_stream(chunked([sse(delta("a")), end]), REF)
    assert await anext(events) == TextDelta("a")
    with pytest.raises(IncompleteStreamError, match="somewhere:model-1"):
        await anext(events)


async def test_an_error_inside_the_stream_is_raised_after_what_came_before_it() -> None:
    error = {"error": {"code": 500, "message": "the GPU fell off", "type": "server_error"}}
    events = decode_stream(chunked([sse(delta("a"), error, delta("b"))]), REF)
    assert await anext(events) == TextDelta("a")
    with pytest.raises(ProviderError, match="the GPU fell off") as caught:
        await anext(events)
    assert caught.value.provider == "somewhere"


async def test_an_error_field_that_is_null_is_no_error() -> None:
    assert await decode(sse(delta("a") | {"error": None}, delta(finish="stop") | {"error": None})) == [
        TextDelta("a"),
        Finished("stop"),
    ]


@pytest.mark.parametrize("payload", ["<html>502 Bad Gateway</html>", "{", "", "\ufeff"])
async def test_a_chunk_that_is_not_json_is_quoted(payload: str) -> None:
    with pytest.raises(ProviderError, match="not JSON") as caught:
        await decode(sse(payload))
    assert repr(payload.encode()) in str(caught.value)


@pytest.mark.parametrize("chunk", [5, None, "error", [], ["error"], True])
async def test_a_chunk_that_is_not_an_object_is_a_typed_error(chunk: object) -> None:
    with pytest.raises(ProviderError, match="somewhere:model-1"):
        await decode(sse(json.dumps(chunk)))


@pytest.mark.parametrize(
    "chunk",
    [
        {"choices": 5},
        {"choices": ["a"]},
        {"choices": [{"delta": "a"}]},
        {"choices": [{"delta": {"content": ["a", "list"]}}]},
        {"choices": [{"finish_reason": {"type": "stop"}}]},
        {"prompt_progress": {"done": 1}},
        {"usage": "lots"},
    ],
    ids=str,
)
async def test_a_chunk_of_an_unknown_shape_is_quoted(chunk: object) -> None:
    with pytest.raises(ProviderError, match="unknown shape") as caught:
        await decode(sse(chunk))
    assert repr(json.dumps(chunk).encode()) in str(caught.value)


@given(chunk=JSON)
async def test_no_json_whatever_raises_a_foreign_error(chunk: object) -> None:
    try:
        events = await decode(sse(json.dumps(chunk)))
    except FarmError:
        return
    assert isinstance(events[-1], Finished)


# Error bodies


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": {"message": "no such thing", "code": 404}}, "no such thing"),
        ({"error": "flat text"}, "flat text"),
        ({"error": ["a", "list"]}, "a"),
        ({"error": {}}, "the server gave no reason"),
        ({"error": {"message": None, "code": 500}}, "the server gave no reason"),
        ({"error": {"code": 500}}, "the server gave no reason"),
        ({"error": None}, "None"),
        ({"detail": "FastAPI style"}, "FastAPI style"),
        (["bare", "list"], "bare"),
        ("<html>502 Bad Gateway</html>", "502 Bad Gateway"),
        (None, "None"),
        (17, "17"),
    ],
)
def test_every_shape_of_error_body_says_what_it_can(body: object, said: str) -> None:
    error = wire_error(body, REF, 500)
    assert isinstance(error, ProviderError)
    assert str(error).startswith("somewhere:model-1: ")
    assert said in str(error)
    assert error.provider == "somewhere"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequestError),
        (401, AuthenticationError),
        (403, AuthenticationError),
        (422, InvalidRequestError),
        (429, RateLimitedError),
        (500, ProviderError),
        (503, ProviderError),
    ],
)
def test_the_status_decides_the_type(status: int, kind: type[FarmError]) -> None:
    assert type(wire_error({"error": {"message": "no"}}, REF, status)) is kind
    assert type(wire_error({"error": {"message": "no", "code": status}}, REF)) is kind


@pytest.mark.parametrize(
    ("error", "tokens", "limit"),
    [
        ({"type": "exceed_context_size_error", "n_prompt_tokens": 90, "n_ctx": 64}, 90, 64),
        ({"code": "context_length_exceeded"}, None, None),
    ],
)
def test_a_prompt_too_long_carries_the_counts_that_were_told(
    error: Mapping[str, Any], tokens: int | None, limit: int | None
) -> None:
    typed = wire_error({"error": {"message": "too long", **error}}, REF, 400)
    assert isinstance(typed, ContextLengthError)
    assert (typed.tokens, typed.limit) == (tokens, limit)


@given(body=JSON, status=st.none() | st.integers(min_value=400, max_value=599))
def test_no_error_body_breaks_the_mapping(body: object, status: int | None) -> None:
    assert isinstance(wire_error(body, REF, status), FarmError)
    assert isinstance(wire_error({"error": body}, REF, status), FarmError)


# Requests and usage


def test_what_was_not_set_is_not_sent() -> None:
    assert request_body(request()) == {
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "user", "content": "hello"}],
    }


def test_every_parameter_that_was_set_is_sent_zero_included() -> None:
    body = request_body(request(temperature=0.0, top_p=0.5, max_tokens=1, seed=0, stop=("x",)))
    expected = {"temperature": 0.0, "top_p": 0.5, "max_tokens": 1, "seed": 0, "stop": ["x"]}
    assert body.items() >= expected.items()


def test_of_no_likeliest_token_one_is_asked_for_since_llamacpp_would_tell_of_none_at_all() -> None:
    for asked, sent in ((0, 1), (1, 1), (20, 20)):
        body = request_body(request(logprobs=asked))
        assert (body["logprobs"], body["top_logprobs"]) == (True, sent)


def test_a_schema_becomes_the_response_format() -> None:
    schema = {"type": "object"}
    body = request_body(request(schema=schema))
    format_ = {"name": "answer", "schema": schema, "strict": False}
    assert body["response_format"] == {"type": "json_schema", "json_schema": format_}
    assert "schema" not in body


@pytest.mark.parametrize(
    ("choice", "word"),
    [
        *((word, word) for word in ("auto", "none", "required")),
        ("look", {"type": "function", "function": {"name": "look"}}),
    ],
)
def test_a_choice_of_tool_is_a_word_or_a_function(choice: str, word: object) -> None:
    assert request_body(request(tool_choice=choice))["tool_choice"] == word


def test_the_limit_of_a_chat_goes_by_the_servers_name_for_it() -> None:
    body = request_body(request(max_tokens=3), limit_name="max_completion_tokens")
    assert (body["max_completion_tokens"], body.get("max_tokens")) == (3, None)


def test_what_is_extra_wins() -> None:
    body = request_body(request(seed=1, extra={"seed": 2, "min_p": 0.1}))
    assert (body["seed"], body["min_p"]) == (2, 0.1)


def test_a_completion_sends_its_prompt_raw() -> None:
    body = request_body(request(kind="completion"))
    assert body["prompt"] == "hello"
    assert "messages" not in body


@pytest.mark.parametrize("counts", [None, {}])
def test_absent_usage_is_none(counts: Mapping[str, Any] | None) -> None:
    assert usage_of(counts) is None


def test_a_count_that_was_left_out_is_unknown_and_not_zero() -> None:
    assert usage_of({"prompt_tokens": 3, "prompt_tokens_details": None}) == Usage(3, None, None)
