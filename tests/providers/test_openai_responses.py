"""The Responses API, where an endpoint is configured for it: what is sent, and what is read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from contract import PIXEL, WEATHER, drain, joined, on_farm_loop
from hypothesis import given
from hypothesis import strategies as st
from openai_double import KEY, MODEL, Canned, OpenAIDouble, running

from farm_notebook import loop
from farm_notebook.config import load_config
from farm_notebook.errors import (
    ContentRefusedError,
    ContextLengthError,
    FarmError,
    IncompleteStreamError,
    ModelNotFoundError,
    ProviderError,
    RateLimitedError,
    UnsupportedParameterError,
)
from farm_notebook.providers.openai.provider import OpenAIProvider
from farm_notebook.providers.openai.response_stream import decode_responses
from farm_notebook.providers.openai.responses import responses_body
from farm_notebook.types import (
    ChatMessage,
    ChatRequest,
    Finished,
    ModelRef,
    ReasoningDelta,
    TextDelta,
    ToolCall,
    Usage,
)

REF = ModelRef("double", MODEL)
FIELDS = [
    *("type", "delta", "item", "response", "status", "output", "usage", "error", "message", "code"),
    *("incomplete_details", "reason", "arguments", "call_id", "name", "content", "summary", "input_tokens"),
]
WORDS = st.sampled_from(
    ["response.completed", "response.output_item.done", "error", "message", "function_call", "completed"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5),
    max_leaves=15,
)


@pytest.fixture(scope="module")
def server() -> Iterator[OpenAIDouble]:
    with running() as double:
        yield double


@pytest.fixture
def double(server: OpenAIDouble, monkeypatch: pytest.MonkeyPatch) -> OpenAIDouble:
    server.seen.clear()
    server.replies.clear()
    monkeypatch.setenv("DOUBLE_API_KEY", KEY)
    return server


@pytest.fixture
def provider(double: OpenAIDouble, no_leaks: None) -> Iterator[OpenAIProvider]:
    endpoint = {"base_url": double.url, "api_key_env": "DOUBLE_API_KEY", "api": "responses"}
    provider = OpenAIProvider(load_config({"endpoints": {"double": endpoint}}), "double")
    yield provider
    loop.run_blocking(provider.aclose())


def ask(prompt: str = "hello there", **fields: Any) -> ChatRequest:
    return ChatRequest(REF, (ChatMessage("user", prompt),), **fields)


def events_of(*events: dict[str, Any]) -> bytes:
    return "".join(f"event: {e.get('type')}\ndata: {json.dumps(e)}\n\n" for e in events).encode()


def ended(status: str, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{status}", "response": {"status": status, "output": [], **fields}}


# What is sent


@on_farm_loop
async def test_a_chat_is_asked_as_a_response_that_nobody_stores(
    provider: OpenAIProvider, double: OpenAIDouble
) -> None:
    text, finished = await joined(provider.stream(ask()))
    (seen,) = double.seen
    assert seen.path == "/v1/responses"
    assert seen.body == {
        "model": MODEL,
        "input": [{"role": "user", "content": "hello there"}],
        "stream": True,
        "store": False,
    }
    assert text == "hello there"
    assert finished == Finished("stop", Usage(7, 2, cached_tokens=2, reasoning_tokens=0))


def test_every_parameter_has_its_word_there() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    body = responses_body(
        ask(
            temperature=0.0,
            top_p=0.5,
            max_tokens=7,
            schema=schema,
            tools=(WEATHER,),
            tool_choice="get_weather",
            reasoning="high",
            extra={"store": True},
        )
    )
    strict = schema | {"additionalProperties": False}
    expected = {
        "temperature": 0.0,
        "top_p": 0.5,
        "max_output_tokens": 7,
        "text": {"format": {"type": "json_schema", "name": "answer", "schema": strict, "strict": True}},
        "tools": [
            {
                "type": "function",
                "name": WEATHER.name,
                "description": WEATHER.description,
                "parameters": WEATHER.parameters,
                "strict": False,
            }
        ],
        "tool_choice": {"type": "function", "name": "get_weather"},
        "reasoning": {"effort": "high", "summary": "auto"},
        "store": True,
    }
    assert body.items() >= expected.items()


def test_thinking_that_is_off_is_not_summed_up() -> None:
    assert responses_body(ask(reasoning="off"))["reasoning"] == {"effort": "none"}


@pytest.mark.parametrize(("name", "value"), [("seed", 0), ("stop", ("x",))])
@on_farm_loop
async def test_a_parameter_it_has_no_word_for_is_refused_and_nothing_is_sent(
    provider: OpenAIProvider, double: OpenAIDouble, name: str, value: Any
) -> None:
    with pytest.raises(UnsupportedParameterError, match=f"cannot honour {name}:.*'chat'"):
        await drain(provider.stream(ask(**{name: value})))
    assert double.seen == []


def test_a_conversation_is_items_with_calls_and_results_of_their_own() -> None:
    call = ToolCall("call_7", "get_weather", '{"city": "Paris"}')
    turns = (
        ChatMessage("system", "Be brief."),
        ChatMessage("user", "What is it?", images=(PIXEL,)),
        ChatMessage("assistant", "Let me look.", tool_calls=(call,)),
        ChatMessage("tool", "22 degrees", tool_call_id="call_7"),
        ChatMessage("assistant", "", tool_calls=(call,)),
    )
    function = {"type": "function_call", "call_id": "call_7", "name": "get_weather"} | {
        "arguments": '{"city": "Paris"}'
    }
    assert responses_body(replace(ask(), messages=turns))["input"] == [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "input_image", "image_url": PIXEL.data_url, "detail": "auto"},
                {"type": "input_text", "text": "What is it?"},
            ],
        },
        {"role": "assistant", "content": "Let me look."},
        function,
        {"type": "function_call_output", "call_id": "call_7", "output": "22 degrees"},
        function,
    ]


@on_farm_loop
async def test_a_raw_prompt_is_a_response_to_one_message(
    provider: OpenAIProvider, double: OpenAIDouble
) -> None:
    assert (await provider.generate(ask("one two"))).text == "one two"
    assert double.seen[-1].path == "/v1/responses"


# What is read


@on_farm_loop
async def test_thoughts_are_kept_apart_with_their_paragraphs(provider: OpenAIProvider) -> None:
    reply = await provider.chat(ask("What is the capital of Japan?", reasoning="low"))
    assert reply.reasoning == "Let me think lowly.\n\n So."
    assert reply.text == "The capital of Japan is Tokyo."
    assert reply.usage.reasoning_tokens == 2


@on_farm_loop
async def test_a_call_comes_whole_and_its_result_is_answered(provider: OpenAIProvider) -> None:
    request = ask("Weather in Paris?", tools=(WEATHER,), tool_choice="required")
    reply = await provider.chat(request)
    assert reply.tool_calls == (ToolCall("call_0x", WEATHER.name, '{"city": "Paris"}'),)
    assert reply.finish_reason == "tool_calls"
    result = ChatMessage("tool", "22 degrees", tool_call_id="call_0x")
    turns = (*request.messages, reply.message, result)
    final = await provider.chat(replace(request, messages=turns, tool_choice=None))
    assert final.text == "The tool says: 22 degrees."


@on_farm_loop
async def test_images_and_schemas_are_answered(provider: OpenAIProvider) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    assert (await provider.chat(ask(schema=schema))).parsed == {"n": 2102650}
    looked = replace(ask(), messages=(ChatMessage("user", "What?", images=(PIXEL,)),))
    assert (await provider.chat(looked)).text.startswith("I see 1 pictures: data:image/png")


@on_farm_loop
async def test_a_limit_is_told_from_an_end(provider: OpenAIProvider) -> None:
    reply = await provider.chat(ask("one two three", max_tokens=2))
    assert (reply.text, reply.finish_reason, reply.usage.output_tokens) == ("one two", "length", 2)


@on_farm_loop
async def test_a_refusal_is_an_error_in_the_models_own_words(provider: OpenAIProvider) -> None:
    with pytest.raises(ContentRefusedError, match=r"I cannot help with that\."):
        await provider.chat(ask("Refuse."))


@pytest.mark.parametrize("prompt", ["What is the capital of Egypt?", "Refuse.", "Weather?"])
@on_farm_loop
async def test_an_answer_that_comes_whole_is_the_same(
    provider: OpenAIProvider, double: OpenAIDouble, prompt: str
) -> None:
    tools: dict[str, Any] = {"tools": (WEATHER,), "tool_choice": "required"} if prompt == "Weather?" else {}
    request = ask(prompt, reasoning="low", **tools)
    outcomes = []
    for stream in (True, False):
        try:
            reply = await provider.chat(replace(request, extra={"stream": stream}))
        except ContentRefusedError as error:
            outcomes.append(str(error))
        else:
            thoughts = reply.reasoning.replace("\n\n", "")
            outcomes.append(f"{reply.text} {thoughts} {reply.tool_calls} {reply.finish_reason} {reply.usage}")
    assert double.seen[-1].body["stream"] is False
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(
    ("events", "kind", "said"),
    [
        ([ended("failed", error={"code": "server_error", "message": "it broke"})], ProviderError, "it broke"),
        (
            [ended("failed", error={"code": "rate_limit_exceeded", "message": "slow down"})],
            RateLimitedError,
            "slow down",
        ),
        (
            [ended("failed", error={"code": "invalid_prompt", "message": "flagged"})],
            ContentRefusedError,
            "flagged",
        ),
        ([ended("failed", error=None)], ProviderError, "the response is 'failed'"),
        ([ended("incomplete", incomplete_details={"reason": "steered"})], ProviderError, "'steered'"),
        ([ended("incomplete", incomplete_details=None)], ProviderError, "None"),
        (
            [{"type": "error", "code": "context_length_exceeded", "message": "too long", "param": None}],
            ContextLengthError,
            "too long",
        ),
        ([{"type": "error", "error": {"message": "nested"}}], ProviderError, "nested"),
        ([{"error": {"message": "of a gateway"}}], ProviderError, "of a gateway"),
        ([{"type": "response.output_text.delta", "delta": "a"}], IncompleteStreamError, "response.completed"),
        ([{"type": "response.output_text.delta", "delta": 5}], ProviderError, "unknown shape"),
        ([{"type": "response.output_text.delta"}], ProviderError, "unknown shape"),
        ([{"type": "response.completed"}], ProviderError, "unknown shape"),
    ],
    ids=str,
)
@on_farm_loop
async def test_what_goes_wrong_inside_is_a_typed_error(
    provider: OpenAIProvider,
    double: OpenAIDouble,
    events: list[dict[str, Any]],
    kind: type[ProviderError],
    said: str,
) -> None:
    double.replies.append(Canned(events_of(*events)))
    with pytest.raises(kind) as caught:
        await drain(provider.stream(ask()))
    assert type(caught.value) is kind
    assert said in str(caught.value)


@on_farm_loop
async def test_a_filter_that_cuts_an_answer_is_its_finish_reason(
    provider: OpenAIProvider, double: OpenAIDouble
) -> None:
    cut = ended("incomplete", incomplete_details={"reason": "content_filter"})
    double.replies.append(Canned(events_of({"type": "response.output_text.delta", "delta": "Well"}, cut)))
    text, finished = await joined(provider.stream(ask()))
    assert (text, finished) == ("Well", Finished("content_filter"))


@on_farm_loop
async def test_raw_thoughts_of_open_models_are_thoughts_too(
    provider: OpenAIProvider, double: OpenAIDouble
) -> None:
    thought = {"type": "response.reasoning_text.delta", "delta": "hmm"}
    unknown = {"type": "response.something_new", "delta": "?"}
    double.replies.append(Canned(events_of(thought, unknown, ended("completed"))))
    events = [event async for event in provider.stream(ask())]
    assert events[1:] == [ReasoningDelta("hmm"), Finished("stop")]


@on_farm_loop
async def test_an_unknown_model_is_not_found_here_either(provider: OpenAIProvider) -> None:
    with pytest.raises(ModelNotFoundError, match="no-such-model"):
        await provider.chat(replace(ask(), ref=ModelRef("double", "no-such-model")))


@given(events=st.lists(JSON, max_size=4), whole=st.booleans())
async def test_no_json_whatever_raises_a_foreign_error(events: list[Any], whole: bool) -> None:
    content = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    if whole and events:
        content = json.dumps(events[0] if isinstance(events[0], dict) else {"output": events[0]}).encode()

    async def chunks() -> Any:
        yield content

    try:
        read = [event async for event in decode_responses(chunks(), REF)]
    except FarmError:
        return
    assert isinstance(read[-1], Finished)
    assert all(isinstance(event, TextDelta | ReasoningDelta | ToolCall) for event in read[:-1])
    calls = [event for event in read if isinstance(event, ToolCall)]
    assert all(isinstance(word, str) for call in calls for word in (call.id, call.name, call.arguments))
