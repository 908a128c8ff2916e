"""The ``openai`` provider and its named endpoints: what is sent, what is read, what goes wrong."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import math
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest
from contract import PIXEL, WEATHER, drain, joined, on_farm_loop
from openai_double import CHAT_MODEL, KEY, MODEL, Canned, OpenAIDouble, running

from farm_notebook import loop
from farm_notebook.config import EndpointConfig, load_config
from farm_notebook.errors import (
    AuthenticationError,
    ContentRefusedError,
    ContextLengthError,
    FarmError,
    IncompleteStreamError,
    InvalidRequestError,
    MissingExtraError,
    ModelNotFoundError,
    ProviderConnectionError,
    ProviderError,
    QuotaExceededError,
    RateLimitedError,
    UnsupportedParameterError,
)
from farm_notebook.farm import Farm
from farm_notebook.providers import make_provider
from farm_notebook.providers.openai import provider as provider_module
from farm_notebook.providers.openai.dialect import asks
from farm_notebook.providers.openai.provider import OpenAIProvider
from farm_notebook.types import (
    ChatMessage,
    ChatRequest,
    Event,
    Finished,
    ModelRef,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCall,
    Usage,
)

NAME = "double"
KEY_ENV = "DOUBLE_API_KEY"
Make = Callable[..., OpenAIProvider]


@pytest.fixture(scope="module")
def server() -> Iterator[OpenAIDouble]:
    with running() as double:
        yield double


@pytest.fixture
def double(server: OpenAIDouble, monkeypatch: pytest.MonkeyPatch) -> OpenAIDouble:
    """The server with nothing seen and nothing prepared, its key in the variable."""
    server.seen.clear()
    server.replies.clear()
    server.gate = None
    monkeypatch.setenv(KEY_ENV, KEY)
    return server


@pytest.fixture
def make(double: OpenAIDouble, no_leaks: None) -> Iterator[Make]:
    """A function that makes a provider of an endpoint at the double, with settings of it."""
    made = []

    def make(**endpoint: Any) -> OpenAIProvider:
        settings = {"base_url": double.url, "api_key_env": KEY_ENV} | endpoint
        made.append(OpenAIProvider(load_config({"endpoints": {NAME: settings}}), NAME))
        return made[-1]

    yield make
    for provider in made:
        loop.run_blocking(provider.aclose())


def ask(prompt: str = "hello there", model: str = MODEL, **fields: Any) -> ChatRequest:
    return ChatRequest(ModelRef(NAME, model), (ChatMessage("user", prompt),), **fields)


async def sent(provider: OpenAIProvider, double: OpenAIDouble, request: ChatRequest) -> dict[str, Any]:
    """The body that a request becomes."""
    await drain(provider.stream(request))
    body: dict[str, Any] = double.seen[-1].body
    return body


async def keep_texts(events: AsyncGenerator[Event, None], pieces: list[str]) -> None:
    """Read a stream to its end or its failure, keeping its texts."""
    async for event in events:
        if isinstance(event, TextDelta):
            pieces.append(event.text)


# What is sent


@on_farm_loop
async def test_a_chat_is_one_streamed_request(make: Make, double: OpenAIDouble) -> None:
    events = [event async for event in make().stream(ask())]
    (seen,) = double.seen
    assert (seen.method, seen.path, seen.query) == ("POST", "/v1/chat/completions", {})
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert seen.headers["content-type"] == "application/json"
    assert not {"openai-organization", "openai-project"} & seen.headers.keys()
    assert seen.body == {
        "model": MODEL,
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "user", "content": "hello there"}],
    }
    assert isinstance(events[0], Started)
    assert events[-1] == Finished("stop", Usage(7, 2, cached_tokens=2, reasoning_tokens=0))


@on_farm_loop
async def test_every_parameter_is_sent_under_the_servers_name_of_it(make: Make, double: OpenAIDouble) -> None:
    body = await sent(
        make(),
        double,
        ask(
            temperature=0.0,
            top_p=0.5,
            max_tokens=7,
            seed=0,
            stop=("x", "y"),
            tools=(WEATHER,),
            tool_choice="get_weather",
            reasoning="off",
            extra={"logit_bias": {"50256": -100}},
        ),
    )
    function = {"name": WEATHER.name, "description": WEATHER.description, "parameters": WEATHER.parameters}
    expected = {
        "temperature": 0.0,
        "top_p": 0.5,
        "max_tokens": 7,
        "seed": 0,
        "stop": ["x", "y"],
        "tools": [{"type": "function", "function": function}],
        "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
        "reasoning_effort": "none",
        "logit_bias": {"50256": -100},
    }
    assert body.items() >= expected.items()


@pytest.mark.parametrize(
    ("base_url", "name"),
    [
        ("https://api.openai.com/v1", "max_completion_tokens"),
        ("https://eu.api.openai.com/v1", "max_completion_tokens"),
        ("https://mine.openai.azure.com/openai/v1", "max_completion_tokens"),
        ("https://api.groq.com/openai/v1", "max_tokens"),
        ("http://localhost:8000/v1", "max_tokens"),
    ],
)
def test_openai_itself_has_another_word_for_the_limit_of_a_chat(base_url: str, name: str) -> None:
    endpoint = EndpointConfig(base_url=base_url)
    (chat,) = asks(ask(max_tokens=3), endpoint, has_completions=None)
    assert {key: value for key, value in chat.body.items() if key.startswith("max_")} == {name: 3}
    raw, _ = asks(ask(max_tokens=3, kind="completion"), endpoint, has_completions=None)
    assert raw.body["max_tokens"] == 3


@pytest.mark.parametrize(
    ("effort", "word"),
    [("off", "none"), ("on", "medium"), ("low", "low"), ("medium", "medium"), ("high", "high")],
)
@on_farm_loop
async def test_reasoning_is_an_effort_and_its_words_are_kept_apart(
    make: Make, double: OpenAIDouble, effort: Any, word: str
) -> None:
    provider = make()
    assert (await sent(provider, double, ask(reasoning=effort)))["reasoning_effort"] == word
    events = [event async for event in provider.stream(ask(reasoning=effort))]
    thought = "".join(event.text for event in events if isinstance(event, ReasoningDelta))
    assert thought == ("" if effort == "off" else f"Let me think {word}ly. So.")
    assert (await provider.chat(ask(reasoning=effort))).text == "hello there"


@on_farm_loop
async def test_extra_parameters_win_over_our_words(make: Make, double: OpenAIDouble) -> None:
    extra = {"reasoning_effort": "minimal", "stream_options": None, "model": "double-chat"}
    body = await sent(make(), double, ask(reasoning="high", extra=extra))
    assert body["reasoning_effort"] == "minimal"
    assert body["stream_options"] is None
    assert body["model"] == "double-chat"


@on_farm_loop
async def test_images_are_data_urls_before_the_text(make: Make, double: OpenAIDouble) -> None:
    request = replace(ask(), messages=(ChatMessage("user", "What is it?", images=(PIXEL, PIXEL)),))
    reply = await make().chat(request)
    content = double.seen[-1].body["messages"][0]["content"]
    assert [part["type"] for part in content] == ["image_url", "image_url", "text"]
    assert content[0]["image_url"]["url"] == PIXEL.data_url
    assert reply.text.startswith("I see 2 pictures: data:image/png;base64")


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        ({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}, True),
        ({"type": "object", "properties": {"a": {"type": "string"}}}, False),
    ],
    ids=["all required", "one optional"],
)
@on_farm_loop
async def test_a_schema_is_strict_where_it_can_be_and_followed_either_way(
    make: Make, double: OpenAIDouble, schema: dict[str, Any], strict: bool
) -> None:
    reply = await make().chat(ask(schema=schema))
    sent = double.seen[-1].body["response_format"]["json_schema"]
    assert sent["strict"] is strict
    assert sent["schema"] == (schema | {"additionalProperties": False} if strict else schema)
    assert reply.parsed == {"a": "Paris"}


@on_farm_loop
async def test_an_endpoint_gets_its_own_headers_and_query(make: Make, double: OpenAIDouble) -> None:
    provider = make(
        api_key_header="api-key",
        organization="org-1",
        project="proj-1",
        headers={"X-Title": "farm"},
        query={"api-version": "2026-01-01"},
    )
    await drain(provider.stream(ask()))
    seen = double.seen[-1]
    assert seen.query == {"api-version": "2026-01-01"}
    expected = {
        "api-key": KEY,
        "openai-organization": "org-1",
        "openai-project": "proj-1",
        "x-title": "farm",
    }
    assert seen.headers.items() >= expected.items()
    assert "authorization" not in seen.headers


@on_farm_loop
async def test_nothing_that_is_meant_for_openai_goes_to_another_endpoint(
    make: Make, double: OpenAIDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("API_KEY", "ADMIN_KEY", "ORG_ID", "PROJECT_ID"):
        monkeypatch.setenv(f"OPENAI_{name}", "for-openai-only")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Internal: for-openai-only\nX-Other: for-openai-only")
    provider = make(headers={"X-Other": "mine"}, api_key_env=None)
    with pytest.raises(AuthenticationError):
        await drain(provider.stream(ask()))
    await drain(make().stream(ask()))
    for seen in double.seen:
        assert "for-openai-only" not in str(seen.headers)
    assert double.seen[0].headers["x-other"] == "mine"
    assert "authorization" not in double.seen[0].headers


@pytest.mark.parametrize("tail", ["", "/", "//"])
@on_farm_loop
async def test_a_base_url_may_end_in_slashes(make: Make, double: OpenAIDouble, tail: str) -> None:
    assert (await make(base_url=double.url + tail).chat(ask())).text == "hello there"
    assert double.seen[-1].path == "/v1/chat/completions"


@on_farm_loop
async def test_a_base_url_without_its_version_is_told_from_a_missing_model(
    make: Make, double: OpenAIDouble
) -> None:
    provider = make(base_url=double.url.removesuffix("/v1") + "/api")
    with pytest.raises(ProviderError, match=r"endpoints\.double\.base_url.*most servers want.*/v1") as caught:
        await drain(provider.stream(ask()))
    assert f"{double.url.removesuffix('/v1')}/api/chat/completions" in str(caught.value)
    assert caught.value.status == 404


@on_farm_loop
async def test_a_redirect_is_not_followed_with_the_key(make: Make, double: OpenAIDouble) -> None:
    double.replies.append(Canned(status=307, headers={"location": "https://elsewhere.test/v1?token=x"}))
    with pytest.raises(ProviderError, match=r"redirects to https://elsewhere\.test/v1\. ") as caught:
        await drain(make().stream(ask()))
    assert len(double.seen) == 1
    assert "endpoints.double.base_url" in str(caught.value)


@on_farm_loop
async def test_half_a_character_is_no_prompt(make: Make) -> None:
    with pytest.raises(InvalidRequestError, match=r"\\ud83d"):
        await drain(make().stream(ask("a \ud83d")))


# Keys


@on_farm_loop
async def test_without_its_key_nothing_is_sent_and_the_error_says_what_to_do(
    make: Make, double: OpenAIDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = make()
    monkeypatch.delenv(KEY_ENV)
    for call in (
        lambda: drain(provider.stream(ask())),
        lambda: provider.embed(["a"], MODEL),
        lambda: drain(provider.load_model(MODEL)),
    ):
        with pytest.raises(AuthenticationError, match=f"{KEY_ENV} is not set") as caught:
            await call()
    assert f"`farm config set-key {KEY_ENV}`" in str(caught.value)
    assert "api_key_env" in str(caught.value)
    assert double.seen == []


@on_farm_loop
async def test_a_key_set_after_a_failure_counts_at_once(
    make: Make, double: OpenAIDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = make()
    monkeypatch.setenv(KEY_ENV, "sk-of-yesterday-0000")
    with pytest.raises(AuthenticationError, match=f"read from the variable {KEY_ENV}"):
        await provider.chat(ask())
    monkeypatch.setenv(KEY_ENV, f"  {KEY}\n")
    assert (await provider.chat(ask())).text == "hello there"


@pytest.mark.parametrize("key", ["sk-döuble-0123456789", "sk-double\r\nX-Evil: 1"])
@on_farm_loop
async def test_what_can_be_no_key_is_not_sent_and_not_shown(
    make: Make, double: OpenAIDouble, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv(KEY_ENV, key)
    with pytest.raises(AuthenticationError, match=KEY_ENV) as caught:
        await make().chat(ask())
    assert key[:8] not in str(caught.value)
    assert (await make().health_check()).fix == f"set {KEY_ENV} to a valid key"
    assert double.seen == []


@on_farm_loop
async def test_a_server_without_keys_gets_none(make: Make, double: OpenAIDouble) -> None:
    double.replies.append(Canned({"error": {"message": "Who are you?"}}, status=401))
    with pytest.raises(AuthenticationError, match=r"Who are you\?.*endpoints\.double\.api_key_env"):
        await make(api_key_env=None).chat(ask())
    assert not {"authorization", "api-key"} & double.seen[-1].headers.keys()


@on_farm_loop
async def test_the_key_is_in_no_error_log_or_repr(
    make: Make, double: OpenAIDouble, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    provider = make(query={"api-version": "1"})
    await provider.chat(ask())
    shown = [repr(provider), str(vars(provider)), str(vars(provider._client))]
    for canned in (
        Canned({"error": {"message": f"Incorrect key {KEY}.", "code": "invalid_api_key"}}, status=401),
        Canned({"error": {"message": f"You sent {KEY}."}}, status=400),
        Canned(f"<html>{KEY}</html>", status=502),
        Canned(f"<html>{KEY}</html>"),
        Canned(f'data: {{"error": {{"message": "no {KEY}"}}}}\n\n'),
        Canned(f"data: {KEY}\n\n"),
        Canned({"choices": KEY}),
    ):
        double.replies.append(canned)
        with pytest.raises(FarmError) as caught:
            await provider.chat(ask())
        assert "***" in str(caught.value), "or the message was lost, and this shows nothing"
        error: BaseException | None = caught.value
        while error is not None:
            shown += [str(error), repr(error)]
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    assert caplog.records
    shown += [record.getMessage() for record in caplog.records]
    assert not [text for text in shown if KEY in text]


# Raw prompts


@on_farm_loop
async def test_a_raw_prompt_is_completed_where_there_are_completions(
    make: Make, double: OpenAIDouble
) -> None:
    reply = await make().generate(ask("one two three", max_tokens=2, stop=("four",), seed=1))
    assert (reply.text, reply.finish_reason, reply.usage.output_tokens) == ("one two", "length", 2)
    (seen,) = double.seen
    assert seen.path == "/v1/completions"
    assert seen.body["prompt"] == "one two three"


@pytest.mark.parametrize(
    "canned",
    [
        None,
        Canned({"error": {"message": "Unknown request URL"}}, status=404),
        Canned("Method Not Allowed", status=405),
        Canned({"object": "error", "message": "The model does not support Completions API"}, status=400),
        Canned(
            {"error": {"code": "OperationNotSupported", "message": "The completion operation does not work"}},
            status=400,
        ),
    ],
    ids=["OpenAI's chat model", "no such path", "no such method", "vLLM", "Azure"],
)
@on_farm_loop
async def test_where_there_are_none_a_chat_answers_and_that_is_remembered(
    make: Make, double: OpenAIDouble, canned: Canned | None
) -> None:
    provider = make()
    if canned:
        double.replies.append(canned)
    for _ in range(2):
        events = [e async for e in provider.stream(ask("one two", CHAT_MODEL, kind="completion"))]
        assert [type(event) for event in events].count(Started) == 1
        assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "one two"
    paths = [seen.path.removeprefix("/v1") for seen in double.seen]
    assert paths == ["/completions", "/chat/completions", "/chat/completions"]
    assert double.seen[-1].body["messages"] == [{"role": "user", "content": "one two"}]
    await drain(provider.stream(ask(kind="completion")))
    assert double.seen[-1].path == "/v1/completions", "another model may have them"


@on_farm_loop
async def test_whether_there_are_completions_can_be_configured(make: Make, double: OpenAIDouble) -> None:
    request = ask("one", CHAT_MODEL, kind="completion")
    await drain(make(has_completions=False).stream(request))
    assert [seen.path for seen in double.seen] == ["/v1/chat/completions"]
    with pytest.raises(ProviderError, match="This is a chat model"):
        await drain(make(has_completions=True).stream(request))


@on_farm_loop
async def test_a_raw_prompt_drops_no_parameter_in_silence(make: Make, double: OpenAIDouble) -> None:
    provider = make()
    unspeakable: dict[str, Any] = {"schema": {"type": "object"}, "tools": (WEATHER,), "reasoning": "on"}
    for name, value in unspeakable.items():
        with pytest.raises(UnsupportedParameterError, match=f"cannot honour {name} for a raw prompt"):
            await drain(provider.stream(ask(kind="completion", **{name: value})))
    assert double.seen == []
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    reply = await make(has_completions=False).generate(ask(schema=schema))
    assert reply.parsed == {"a": 2102650}


@on_farm_loop
async def test_what_a_server_would_ignore_is_refused_and_not_sent(make: Make, double: OpenAIDouble) -> None:
    provider = make(lacks=["schema", "tool_choice"])
    with pytest.raises(UnsupportedParameterError, match=r"cannot honour schema, tool_choice\. .* takes: "):
        await drain(provider.answer(ask(schema={}, tools=(WEATHER,), tool_choice="required")))
    assert double.seen == []
    assert (await provider.chat(ask("one", seed=7))).text
    assert "schema" in make().honours


# What is read


def events_of(*chunks: Any) -> bytes:
    lines = [chunk if isinstance(chunk, str) else json.dumps(chunk) for chunk in chunks]
    return "".join(f"data: {line}\n\n" for line in lines).encode()


def delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


STREAM = events_of(delta(content="Hel"), delta(content="lo"), delta("stop"), "[DONE]")
WHOLE = {
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1},
}


@pytest.mark.parametrize(
    "canned",
    [
        Canned(STREAM, headers={"content-type": "text/event-stream"}),
        Canned(STREAM, headers={"content-type": "text/html"}),
        Canned(STREAM, headers={"content-type": "application/json"}),
        Canned(gzip.compress(STREAM), headers={"content-encoding": "gzip"}),
        Canned(b"\xef\xbb\xbf\r\n: ping\r\n\r\n" + STREAM),
        Canned(b"\xef\xbb\xbf" + STREAM),
        Canned(STREAM.replace(b"\n", b"\r\n")),
        Canned(WHOLE),
        Canned(WHOLE, headers={"content-type": "text/event-stream"}),
        Canned(b"\n  " + json.dumps(WHOLE, indent=2).encode()),
        Canned(gzip.compress(json.dumps(WHOLE).encode()), headers={"content-encoding": "gzip"}),
    ],
    ids=[
        *("stream", "as HTML", "as JSON", "gzip", "mark and ping", "mark", "CRLF"),
        *("whole", "whole as events", "whole and spaced", "whole in gzip"),
    ],
)
@on_farm_loop
async def test_the_bytes_tell_what_they_are(make: Make, double: OpenAIDouble, canned: Canned) -> None:
    double.replies.append(canned)
    text, finished = await joined(make().stream(ask()))
    assert (text, finished.reason) == ("Hello", "stop")


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        ("<!doctype html><title>Sign in</title>", ProviderError, "<!doctype html>"),
        ("upstream is asleep", ProviderError, "upstream is asleep"),
        ('{"choices": [', ProviderError, "not JSON"),
        ('{"status": "ok"}', ProviderError, '{"status": "ok"}'),
        ('{"error": {"message": "the GPU fell off"}}', ProviderError, "the GPU fell off"),
        ("", IncompleteStreamError, "without a finish reason"),
        (" \n \n", IncompleteStreamError, "without a finish reason"),
        ('data: {"choices"', IncompleteStreamError, "without a finish reason"),
        ('{"choices": []}', IncompleteStreamError, "without a finish reason"),
        ('{"choices": [{"message": {"content": "a"}}]}', IncompleteStreamError, "without a finish reason"),
    ],
)
@on_farm_loop
async def test_what_is_no_answer_is_quoted(
    make: Make, double: OpenAIDouble, content: str, kind: type[ProviderError], said: str
) -> None:
    double.replies.append(Canned(content))
    with pytest.raises(kind) as caught:
        await drain(make().stream(ask()))
    assert type(caught.value) is kind
    assert said in str(caught.value)
    assert f"{NAME}:{MODEL}" in str(caught.value)


@pytest.mark.parametrize("said", ["one two STOP", "one two STOP and more", "one two ", "one two ST"])
@on_farm_loop
async def test_a_stop_string_that_the_server_leaves_in_is_taken_out(
    make: Make, double: OpenAIDouble, said: str
) -> None:
    letters = [delta(content=letter) for letter in said]
    double.replies.append(Canned(events_of(*letters, delta("stop"), "[DONE]")))
    reply = await make().chat(ask(stop=("STOP", "two hundred")))
    assert reply.text == said.partition("STOP")[0]
    broken = events_of(*letters, {"error": {"message": "broke"}})
    double.replies.append(Canned(broken))
    events = make().stream(ask(stop=("STOP",)))
    pieces: list[str] = []
    with pytest.raises(ProviderError, match="broke"):
        await keep_texts(events, pieces)
    assert "".join(pieces) == said.partition("STOP")[0]


@on_farm_loop
async def test_a_forced_call_says_that_it_ends_with_one(make: Make, double: OpenAIDouble) -> None:
    request = ask("Weather in Paris?", tools=(WEATHER,), tool_choice=WEATHER.name)
    *_, call, finished = [event async for event in make().stream(request)]
    assert call == ToolCall("call_0x", WEATHER.name, '{"city": "Paris"}')
    assert isinstance(finished, Finished)
    assert finished.reason == "tool_calls"


@on_farm_loop
async def test_a_conversation_with_a_call_is_sent_as_the_server_knows_it(
    make: Make, double: OpenAIDouble
) -> None:
    call = ToolCall("call_7", WEATHER.name, '{"city": "Paris"}')
    turns = (
        ChatMessage("system", "Be brief."),
        ChatMessage("user", "Weather in Paris?"),
        ChatMessage("assistant", "", tool_calls=(call,)),
        ChatMessage("tool", "22 degrees", tool_call_id="call_7"),
    )
    reply = await make().chat(replace(ask(tools=(WEATHER,)), messages=turns))
    function = {"name": WEATHER.name, "arguments": '{"city": "Paris"}'}
    assert double.seen[-1].body["messages"][2:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_7", "type": "function", "function": function}],
        },
        {"role": "tool", "content": "22 degrees", "tool_call_id": "call_7"},
    ]
    assert reply.text == "The tool says: 22 degrees."


@on_farm_loop
async def test_a_refusal_is_an_error_in_the_models_own_words(make: Make) -> None:
    with pytest.raises(ContentRefusedError, match=r"double:double-1 refused .* I cannot help with that\."):
        await make().chat(ask("Refuse."))


@on_farm_loop
async def test_an_answer_cut_by_a_filter_is_an_answer_that_says_so(make: Make, double: OpenAIDouble) -> None:
    double.replies.append(Canned(events_of(delta(content="Well, "), delta("content_filter"), "[DONE]")))
    reply = await make().chat(ask())
    assert (reply.text, reply.finish_reason) == ("Well, ", "content_filter")


# What goes wrong


def openai_error(message: str, code: Any = None, type_: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": type_, "param": None, "code": code}}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, openai_error("bad"), InvalidRequestError),
        (401, openai_error("no", "invalid_api_key"), AuthenticationError),
        (403, openai_error("not in your country"), AuthenticationError),
        (404, openai_error("The model `x` does not exist", "model_not_found"), ModelNotFoundError),
        (408, openai_error("slow"), ProviderError),
        (409, openai_error("busy"), ProviderError),
        (413, openai_error("too much"), ContextLengthError),
        (429, openai_error("slow down", "rate_limit_exceeded", "requests"), RateLimitedError),
        (429, openai_error("pay first", "insufficient_quota"), QuotaExceededError),
        (402, openai_error("Insufficient credits"), QuotaExceededError),
        (500, openai_error("oops"), ProviderError),
        (503, "upstream connect error", ProviderError),
        (529, openai_error("overloaded"), ProviderError),
    ],
)
@pytest.mark.parametrize("call", ["stream", "embed"])
@on_farm_loop
async def test_a_status_is_a_typed_error(
    make: Make, double: OpenAIDouble, status: int, body: Any, kind: type[FarmError], call: str
) -> None:
    double.replies.append(Canned(body, status=status))
    provider = make()
    with pytest.raises(kind) as caught:
        await (drain(provider.stream(ask())) if call == "stream" else provider.embed(["a"], MODEL))
    assert type(caught.value) is kind
    assert str(caught.value).startswith(f"{NAME}:{MODEL}: ")
    if isinstance(caught.value, ProviderError):
        assert (caught.value.status, caught.value.provider) == (status, NAME)
    assert len(double.seen) == 1, "retries are not the SDK's business"


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [({"retry-after": "7"}, 7.0), ({"retry-after-ms": "250", "retry-after": "1"}, 0.25), ({}, None)],
)
@on_farm_loop
async def test_how_long_to_wait_is_passed_on(
    make: Make, double: OpenAIDouble, headers: dict[str, str], wait_s: float | None
) -> None:
    double.replies.append(Canned(openai_error("slow down"), status=429, headers=headers))
    with pytest.raises(RateLimitedError) as caught:
        await make().chat(ask())
    assert caught.value.retry_after_s == wait_s


@on_farm_loop
async def test_where_nothing_listens_the_setting_is_named(make: Make) -> None:
    provider = make(base_url="http://127.0.0.1:9/v1")
    with pytest.raises(ProviderConnectionError, match=r"127\.0\.0\.1:9/v1/chat.*endpoints\.double\.base_url"):
        await provider.chat(ask())
    status = await provider.health_check()
    assert not status.healthy
    assert status.fix
    assert "endpoints.double.base_url" in status.fix


@on_farm_loop
async def test_without_the_sdk_the_extra_is_named(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    provider = make()
    with pytest.raises(MissingExtraError, match=r'pip install "farm-notebook\[openai\]"'):
        await provider.chat(ask())
    monkeypatch.delenv(KEY_ENV)  # a key alone would not help
    status = await provider.health_check()
    assert (status.detail, status.fix) == ("openai is not installed", 'pip install "farm-notebook[openai]"')


# Letting go


@pytest.mark.parametrize("call", ["stream", "chat", "embed", "list_models", "load_model"])
@on_farm_loop
async def test_a_cancel_while_the_server_thinks_closes_the_connection(
    make: Make, double: OpenAIDouble, call: str
) -> None:
    double.gate = threading.Event()
    double.waiting.clear()
    double.left.clear()
    provider = make()
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "stream": lambda: drain(provider.stream(ask())),
        "chat": lambda: provider.chat(ask()),
        "embed": lambda: provider.embed(["a"], MODEL),
        "list_models": provider.list_models,
        "load_model": lambda: drain(provider.load_model(MODEL)),
    }
    task = asyncio.ensure_future(calls[call]())
    assert await asyncio.to_thread(double.waiting.wait, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(double.left.wait, 3)


@on_farm_loop
async def test_a_stream_closed_early_leaves_the_provider_usable(make: Make, double: OpenAIDouble) -> None:
    provider = make()
    for _ in range(3):
        async with aclosing(provider.stream(ask("Never end."))) as events:
            while not isinstance(await anext(events), TextDelta):
                pass
        assert await asyncio.to_thread(double.left.wait, 3)
    assert double.open_streams == 0
    assert (await provider.chat(ask())).text == "hello there"


@on_farm_loop
async def test_a_closed_provider_opens_again_when_it_is_asked(make: Make) -> None:
    provider = make()
    await provider.aclose()
    for _ in range(2):
        assert (await provider.chat(ask())).text == "hello there"
        await provider.aclose()


@on_farm_loop
async def test_a_provider_closed_under_a_request_says_so(make: Make) -> None:
    provider = make()
    events = provider.stream(ask("Never end."))
    async with aclosing(events):
        assert isinstance(await anext(events), Started)
        sdk = await provider._client.ready()
        await sdk.close()
        with pytest.raises(ProviderError, match="was closed before double:double-1 was asked"):
            await anext(events)
    await provider.aclose()
    assert (await provider.chat(ask())).text == "hello there"


# Embeddings


@on_farm_loop
async def test_many_texts_are_sent_in_batches_and_come_back_in_order(
    make: Make, double: OpenAIDouble
) -> None:
    texts = [f"text {number}" for number in range(provider_module.EMBEDDING_BATCH_TEXTS + 3)]
    provider = make()
    embeddings = await provider.embed(texts, MODEL)
    assert [len(seen.body["input"]) for seen in double.seen] == [provider_module.EMBEDDING_BATCH_TEXTS, 3]
    assert {seen.body["encoding_format"] for seen in double.seen} == {"float"}
    assert embeddings.usage == Usage(input_tokens=2 * len(texts))
    assert all(math.hypot(*vector) == pytest.approx(1.0) for vector in embeddings.vectors)
    (alone,) = (await provider.embed([texts[-1]], MODEL)).vectors
    assert embeddings.vectors[-1] == pytest.approx(alone)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("<html>", "<html>"),
        ("[]", "no embeddings"),
        ({"data": [{"index": 0}]}, "no embeddings"),
        ({"data": [{"index": 0, "embedding": "AAAA"}]}, "no embeddings"),
        ({"data": []}, "0 vectors for 1 texts"),
        ({"error": {"message": "not today"}}, "not today"),
    ],
)
@on_farm_loop
async def test_what_are_no_embeddings_is_quoted(
    make: Make, double: OpenAIDouble, content: Any, said: str
) -> None:
    double.replies.append(Canned(content))
    with pytest.raises(ProviderError, match=said):
        await make().embed(["a"], MODEL)


@on_farm_loop
async def test_a_vector_of_zeros_stays_one(make: Make, double: OpenAIDouble) -> None:
    double.replies.append(Canned({"data": [{"index": 0, "embedding": [0, 0.0]}]}))
    embeddings = await make().embed([""], MODEL)
    assert embeddings.vectors == ((0.0, 0.0),)
    assert embeddings.usage == Usage()


# Models and health


LISTINGS = [
    ({"data": [{"id": "m", "max_model_len": 4096}]}, 4096, None),
    ({"data": [{"id": "m", "context_window": 8192, "active": True}]}, 8192, None),
    ({"data": [{"id": "m", "meta": {"n_ctx": 512, "n_ctx_train": 2048, "size": 9}}]}, 512, None),
    ([{"id": "m", "context_length": 32768, "type": "chat", "license": "mit"}], 32768, {"chat"}),
    (
        {
            "data": [
                {
                    "id": "m",
                    "context_length": 128000,
                    "architecture": {"input_modalities": ["text", "image"]},
                    "supported_parameters": ["tools", "reasoning", "seed"],
                }
            ]
        },
        128000,
        {"chat", "tools", "reasoning", "vision"},
    ),
    (
        {
            "data": [
                {
                    "id": "m",
                    "max_context_length": 131072,
                    "capabilities": {"completion_chat": True, "vision": False},
                }
            ]
        },
        131072,
        {"chat"},
    ),
    ({"data": [{"id": "m", "context_length": "big", "capabilities": ["x"], "meta": 5}]}, None, None),
]


@pytest.mark.parametrize(
    ("listing", "context", "abilities"),
    LISTINGS,
    ids=["vLLM", "Groq", "llama.cpp", "Together", "OpenRouter", "Mistral", "odd"],
)
@on_farm_loop
async def test_what_a_server_tells_of_its_models_is_kept(
    make: Make, double: OpenAIDouble, listing: Any, context: int | None, abilities: set[str] | None
) -> None:
    double.replies.append(Canned(listing))
    (info,) = await make().list_models()
    assert info.ref == ModelRef(NAME, "m")
    assert info.available
    assert (info.context_tokens, info.capabilities) == (context, abilities)


@pytest.mark.parametrize("listing", [{}, {"data": None}, [], 5, {"data": [None, {"id": 7}]}], ids=str)
@on_farm_loop
async def test_a_listing_of_no_models_lists_none(make: Make, double: OpenAIDouble, listing: Any) -> None:
    double.replies.append(Canned(json.dumps(listing)))
    assert await make().list_models() == []


@on_farm_loop
async def test_without_a_key_no_models_are_listed_and_health_says_why(
    make: Make, double: OpenAIDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY_ENV)
    provider = make()
    assert await provider.list_models() == []
    status = await provider.health_check()
    assert (status.healthy, status.detail) == (False, f"{KEY_ENV} is not set")
    assert status.fix == f"set {KEY_ENV} to your key"
    assert double.seen == []


@pytest.mark.parametrize(
    ("canned", "fix"),
    [
        (Canned({"error": {"message": "no"}}, status=401), f"set {KEY_ENV} to a valid key"),
        (Canned("nothing here", status=404), "endpoints.double.base_url"),
        (Canned("<html>"), "endpoints.double.base_url"),
        (Canned("asleep", status=503), "endpoints.double.base_url"),
    ],
)
@on_farm_loop
async def test_an_unhealthy_endpoint_says_what_to_do(
    make: Make, double: OpenAIDouble, canned: Canned, fix: str
) -> None:
    double.replies.append(canned)
    status = await make().health_check()
    assert not status.healthy
    assert status.detail
    assert status.fix
    assert fix in status.fix


@on_farm_loop
async def test_a_silent_endpoint_is_unhealthy_after_a_moment(
    make: Make, double: OpenAIDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider_module, "HEALTH_S", 0.05)
    double.gate = threading.Event()
    status = await make().health_check()
    double.gate.set()
    assert not status.healthy
    assert "did not answer within 0.05 s" in status.detail


@on_farm_loop
async def test_a_model_that_is_not_listed_is_quoted_with_its_neighbours(make: Make) -> None:
    with pytest.raises(ModelNotFoundError, match=r"'double-2'.*double-1, double-chat\. Did you mean"):
        await make().unload_model("double-2")


@pytest.mark.parametrize("canned", [Canned("no", status=404), Canned({"data": []})], ids=["404", "empty"])
@on_farm_loop
async def test_where_nothing_is_listed_any_model_may_be_there(
    make: Make, double: OpenAIDouble, canned: Canned
) -> None:
    double.replies.append(canned)
    await drain(make().load_model("whatever"))


# In the house


def test_openai_and_every_endpoint_are_providers() -> None:
    config = load_config({"endpoints": {"groq": {"base_url": "http://localhost:1/v1"}}})
    assert isinstance(make_provider("openai", config), OpenAIProvider)
    assert make_provider("openai", config).name == "openai"
    assert make_provider("groq", config).name == "groq"


def test_making_a_provider_does_not_load_the_sdk() -> None:
    program = (
        "import sys; from farm_notebook.config import load_config; "
        "from farm_notebook.providers import make_provider; "
        "print(make_provider('openai', load_config()).name, 'openai' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["openai", "False"]


def test_openai_itself_reads_its_own_variables(double: OpenAIDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"BASE_URL": double.url, "API_KEY": KEY, "ORG_ID": "org-1", "PROJECT_ID": "p"}.items():
        monkeypatch.setenv(f"OPENAI_{name}", value)
    farm = Farm(model=f"openai:{MODEL}")
    assert farm.chat("What is the capital of Russia?").text == "The capital of Russia is Moscow."
    assert double.seen[-1].headers["openai-organization"] == "org-1"
    farm.close()


def test_a_farm_answers_through_an_endpoint_whole_and_in_pieces(double: OpenAIDouble, no_leaks: None) -> None:
    farm = Farm(
        model=f"{NAME}:{MODEL}",
        endpoints={NAME: {"base_url": double.url, "api_key_env": KEY_ENV}},
    )
    reply = farm.chat("What is the capital of Japan?", temperature=0)
    assert reply.text == "".join(farm.stream("What is the capital of Japan?"))
    assert (str(reply.ref), reply.usage.output_tokens) == (f"{NAME}:{MODEL}", 6)
    assert farm.generate("one two").text == "one two"
    assert len(farm.embed("a").vectors) == 1
    assert f"{NAME}:{MODEL}" in [str(info.ref) for info in farm.list_models()]
    assert f"{NAME}" in [status.name for status in farm.health() if status.healthy]
    double.replies.append(Canned(events_of(delta(content="Half"), {"error": {"message": "broke"}})))
    with pytest.raises(ProviderError) as caught:
        farm.chat("hello")
    assert caught.value.partial_text == "Half"
    farm.close()
