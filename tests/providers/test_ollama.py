"""The Ollama provider against the double, which the official client finds true: what is sent and read."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from contract import PIXEL, WEATHER, drain, on_farm_loop
from ollama_bench import MakeOllama, ask
from ollama_double import OllamaDouble
from ollama_mind import ENDLESS, REGISTRY, SLOW, U2028

from farm_notebook.config import load_config
from farm_notebook.errors import (
    AuthenticationError,
    FarmError,
    IncompleteStreamError,
    InvalidRequestError,
    ProviderError,
    UnsupportedParameterError,
)
from farm_notebook.farm import Farm
from farm_notebook.providers.ollama.failure import ollama_error
from farm_notebook.providers.ollama.provider import OllamaProvider
from farm_notebook.providers.ollama.stream import decode_stream
from farm_notebook.types import (
    ChatMessage,
    ChatRequest,
    Event,
    Finished,
    LoadProgress,
    TextDelta,
    Tool,
    ToolCall,
    Usage,
)

KEY = "sk-very-secret-key"


async def events_of(ollama_provider: OllamaProvider, request: ChatRequest) -> list[Event]:
    return [event async for event in ollama_provider.stream(request) if not isinstance(event, LoadProgress)]


class TestWhatIsSent:
    @on_farm_loop
    async def test_every_parameter_in_ollamas_words(
        self, make_ollama: MakeOllama, ollama_double: OllamaDouble
    ) -> None:
        ollama_provider = make_ollama(keep_alive="10m", context_tokens=2048)
        schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
        request = ask(
            "thinker",
            ChatMessage("system", "Be brief."),
            "hello",
            temperature=0.5,
            top_p=0.9,
            max_tokens=7,
            seed=3,
            stop=("END",),
            schema=schema,
            reasoning="low",
        )
        await ollama_provider.chat(request)
        (body,) = ollama_double.asked_for("/api/chat")
        assert body == {
            "model": "thinker",
            "stream": True,
            "truncate": False,
            "keep_alive": "10m",
            "format": schema,
            "think": "low",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "hello"},
            ],
            "options": {
                "num_ctx": 2048,
                "temperature": 0.5,
                "top_p": 0.9,
                "seed": 3,
                "num_predict": 7,
                "stop": ["END"],
            },
        }

    @on_farm_loop
    async def test_nothing_that_was_not_asked_for(
        self, ollama_provider: OllamaProvider, ollama_double: OllamaDouble
    ) -> None:
        await ollama_provider.chat(ask("parrot", "hello"))
        assert ollama_double.asked_for("/api/chat")[0].keys() == {
            "model",
            "stream",
            "truncate",
            "messages",
            "options",
        }
        assert ollama_double.asked_for("/api/chat")[0]["options"] == {}

    @pytest.mark.parametrize(
        ("setting", "sent"), [("5m", "5m"), ("-1", -1), ("300", 300), ("1h30m", "1h30m")]
    )
    @on_farm_loop
    async def test_a_time_without_a_unit_is_a_number_of_seconds(
        self, make_ollama: MakeOllama, ollama_double: OllamaDouble, setting: str, sent: object
    ) -> None:
        await make_ollama(keep_alive=setting).chat(ask("parrot", "hello"))
        assert ollama_double.asked_for("/api/chat")[0]["keep_alive"] == sent

    def test_a_time_that_ollama_could_not_read_is_refused_as_a_setting(self) -> None:
        with pytest.raises(FarmError, match="'5m', '1h30m' or '300'"):
            load_config({"ollama": {"keep_alive": "five minutes"}})

    @on_farm_loop
    async def test_extra_finds_its_place_and_is_stronger(
        self, make_ollama: MakeOllama, ollama_double: OllamaDouble
    ) -> None:
        extra = {"top_k": 5, "num_ctx": 1024, "keep_alive": "1s", "think": False, "options": {"newer": 1}}
        request = ask("thinker", "hello", temperature=0.5, reasoning="on", extra=extra)
        await make_ollama(context_tokens=2048, keep_alive="5m").chat(request)
        (body,) = ollama_double.asked_for("/api/chat")
        assert body["options"] == {"top_k": 5, "num_ctx": 1024, "temperature": 0.5, "newer": 1}
        assert (body["keep_alive"], body["think"]) == ("1s", False)

    @pytest.mark.parametrize("name", ["num_cxt", "model", "stream", "raw", "template"])
    @on_farm_loop
    async def test_what_ollama_would_ignore_is_refused(
        self, ollama_provider: OllamaProvider, name: str
    ) -> None:
        with pytest.raises(UnsupportedParameterError, match=rf"no parameter '{name}'.*repeat_penalty"):
            await ollama_provider.chat(ask("parrot", "hello", extra={name: 1}))

    @on_farm_loop
    async def test_a_slip_of_the_pen_is_guessed(self, ollama_provider: OllamaProvider) -> None:
        with pytest.raises(UnsupportedParameterError, match="Did you mean 'num_ctx'"):
            await ollama_provider.chat(ask("parrot", "hello", extra={"num_cxt": 1}))

    @on_farm_loop
    async def test_a_completion_is_raw_and_is_not_searched_for_thoughts(
        self, ollama_provider: OllamaProvider, ollama_double: OllamaDouble
    ) -> None:
        reply = await ollama_provider.generate(ask("thinker", "once upon"))
        (body,) = (body for body in ollama_double.asked_for("/api/generate") if body.get("prompt"))
        assert (body["prompt"], body["raw"], body["think"]) == ("once upon", True, False)
        assert (reply.text, reply.reasoning) == ("once upon", "")
        await ollama_provider.generate(ask("thinker", "once", reasoning="on"))
        assert ollama_double.asked_for("/api/generate")[-1]["think"] is True

    @pytest.mark.parametrize("extra", [{"suffix": " end"}, {"template": "{{ .Prompt }}"}, {"raw": False}])
    @on_farm_loop
    async def test_a_completion_with_a_template_is_not_raw(
        self, ollama_provider: OllamaProvider, ollama_double: OllamaDouble, extra: Mapping[str, Any]
    ) -> None:
        await ollama_provider.generate(ask("parrot", "start", extra=extra))
        assert ollama_double.asked_for("/api/generate")[-1]["raw"] is False

    @pytest.mark.parametrize(
        ("options", "word"), [({"tools": (WEATHER,)}, "tools"), ({"messages": (PIXEL,)}, "images")]
    )
    @on_farm_loop
    async def test_a_completion_takes_no_tools_and_images(
        self, ollama_provider: OllamaProvider, options: dict[str, Any], word: str
    ) -> None:
        message = ChatMessage("user", "a", images=options.pop("messages", ()))
        with pytest.raises(UnsupportedParameterError, match=f"cannot honour {word} in a completion"):
            await ollama_provider.generate(ask("parrot", message, **options))

    @on_farm_loop
    async def test_images_go_as_base64(
        self, ollama_provider: OllamaProvider, ollama_double: OllamaDouble
    ) -> None:
        reply = await ollama_provider.chat(ask("parrot", ChatMessage("user", "What is it?", images=(PIXEL,))))
        assert reply.text == f"I see images of {len(PIXEL.data)} bytes"
        (sent,) = ollama_double.asked_for("/api/chat")[0]["messages"][0]["images"]
        assert base64.b64decode(sent) == PIXEL.data

    @on_farm_loop
    async def test_the_key_is_sent_and_never_told(
        self, ollama_provider: OllamaProvider, ollama_double: OllamaDouble, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ollama_double.key = KEY
        with pytest.raises(AuthenticationError, match="OLLAMA_API_KEY"):
            await ollama_provider.chat(ask("parrot", "hello"))
        monkeypatch.setenv("OLLAMA_API_KEY", f" {KEY}\n")
        assert (await ollama_provider.chat(ask("parrot", "hello"))).text == "hello"
        ollama_double.scripted["/api/chat"] = (400, json.dumps({"error": f"bad key {KEY}"}), {})
        with pytest.raises(InvalidRequestError, match="bad key") as caught:
            await ollama_provider.chat(ask("parrot", "hello"))
        assert KEY not in str(caught.value)
        monkeypatch.setenv("OLLAMA_API_KEY", "sk-\N{EN DASH}key")
        with pytest.raises(AuthenticationError, match="characters that no key has") as caught_too:
            await ollama_provider.chat(ask("parrot", "hello"))
        assert "sk-" not in str(caught_too.value)


class TestTools:
    @on_farm_loop
    async def test_a_call_and_its_result_go_back_with_the_tools_name(
        self, ollama_provider: OllamaProvider, ollama_double: OllamaDouble
    ) -> None:
        question = ask("parrot", "What is the weather in Paris?", tools=(WEATHER,))
        events = await events_of(ollama_provider, question)
        (call,) = (event for event in events if isinstance(event, ToolCall))
        assert (call.name, call.parsed) == ("get_weather", {"city": "Paris"})
        assert isinstance(events[-1], Finished)
        assert events[-1].reason == "tool_calls"
        turns = (
            ChatMessage("assistant", "", tool_calls=(call,)),
            ChatMessage("tool", "22 degrees", tool_call_id=call.id),
        )
        reply = await ollama_provider.chat(ask("parrot", *question.messages, *turns, tools=(WEATHER,)))
        assert reply.text == "The tool says: 22 degrees"
        assert ollama_double.asked_for("/api/chat")[-1]["messages"][1:] == [
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [
                    {"id": call.id, "function": {"name": "get_weather", "arguments": {"city": "Paris"}}}
                ],
            },
            {
                "role": "tool",
                "content": "22 degrees",
                "tool_call_id": call.id,
                "tool_name": "get_weather",
            },
        ]

    @on_farm_loop
    async def test_calls_without_an_id_get_one_that_the_conversation_does_not_have(
        self, ollama_provider: OllamaProvider, ollama_double: OllamaDouble
    ) -> None:
        ollama_double.is_old = True
        earlier = ChatMessage("assistant", "", tool_calls=(ToolCall("call_2", "get_weather", "{}"),))
        request = ask("parrot", earlier, "The weather in Rome and Oslo", tools=(WEATHER,))
        for turns in ((), request.messages):
            reply = await ollama_provider.chat(ask("parrot", *turns, "weather in Rome", tools=(WEATHER,)))
            assert [call.id for call in reply.tool_calls] == (["call_3"] if turns else ["call_1"])

    @on_farm_loop
    async def test_a_server_that_knows_no_logprobs_is_told_of(
        self, ollama_provider: OllamaProvider, ollama_double: OllamaDouble
    ) -> None:
        ollama_double.is_old = True
        with pytest.raises(UnsupportedParameterError, match="cannot honour logprobs"):
            await ollama_provider.chat(ask("parrot", "Say alpha", logprobs=2))
        (body,) = ollama_double.asked_for("/api/chat")
        assert (body["logprobs"], body["top_logprobs"]) == (True, 2)

    @on_farm_loop
    async def test_tools_are_offered_or_not_and_never_forced(
        self, ollama_provider: OllamaProvider, ollama_double: OllamaDouble
    ) -> None:
        for choice, is_called in ((None, True), ("auto", True), ("none", False)):
            request = ask("parrot", "the weather in Rome", tools=(WEATHER,), tool_choice=choice)
            assert bool((await ollama_provider.chat(request)).tool_calls) is is_called
        for choice in ("required", "get_weather"):
            request = ask("parrot", "the weather in Rome", tools=(WEATHER,), tool_choice=choice)
            with pytest.raises(UnsupportedParameterError, match=f"tool_choice='{choice}'.*'auto', 'none'"):
                await ollama_provider.chat(request)

    @on_farm_loop
    async def test_definitions_stand_where_they_are_referred_to_since_ollama_drops_references(
        self, ollama_provider: OllamaProvider, ollama_double: OllamaDouble
    ) -> None:
        node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}
        parameters = {
            "type": "object",
            "properties": {
                "place": {"$ref": "#/$defs/Place", "description": "where"},
                "nodes": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
            },
            "$defs": {"Place": {"type": "string", "enum": ["Rome"]}, "Node": node},
        }
        await ollama_provider.chat(ask("parrot", "hello", tools=(Tool("f", "", parameters),)))
        (sent,) = ollama_double.asked_for("/api/chat")[0]["tools"]
        assert sent["function"]["parameters"]["properties"] == {
            "place": {"type": "string", "enum": ["Rome"], "description": "where"},
            "nodes": {"type": "array", "items": node},
        }

    @on_farm_loop
    async def test_arguments_that_are_no_object_cannot_be_sent(self, ollama_provider: OllamaProvider) -> None:
        turn = ChatMessage("assistant", "", tool_calls=(ToolCall("c1", "get_weather", "[1"),))
        with pytest.raises(InvalidRequestError, match=r"get_weather \(c1\) are '\[1'"):
            await ollama_provider.chat(ask("parrot", turn, "go on"))


class TestWhatIsRead:
    @on_farm_loop
    async def test_thoughts_are_events_of_their_own(self, ollama_provider: OllamaProvider) -> None:
        reply = await ollama_provider.chat(ask("thinker", "hello"))
        assert (reply.reasoning, reply.text) == ("Let me think.", "hello")
        assert (await ollama_provider.chat(ask("thinker", "hello", reasoning="off"))).reasoning == ""

    @on_farm_loop
    async def test_usage_is_what_the_server_counted(self, ollama_provider: OllamaProvider) -> None:
        assert (await ollama_provider.chat(ask("parrot", "one two three"))).usage == Usage(3, 3)

    @pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
    @pytest.mark.parametrize("size", [1, 7, 10_000])
    @on_farm_loop
    async def test_an_answer_is_the_same_however_its_bytes_are_cut(
        self, ollama_provider: OllamaProvider, ollama_double: OllamaDouble, line_end: bytes, size: int
    ) -> None:
        lines = [
            {"message": {"content": U2028 + "é"}, "done": False},
            {"message": {"content": "b"}, "done": False},
        ]
        end = {"message": {"content": ""}, "done": True, "done_reason": "stop", "eval_count": 2}
        content = line_end.join(json.dumps(line, ensure_ascii=False).encode() for line in (*lines, end, ""))
        chunks = [content[start : start + size] for start in range(0, len(content), size)]
        events = [event async for event in decoded(chunks)]
        assert "".join(event.text for event in events if isinstance(event, TextDelta)) == U2028 + "éb"
        assert events[-1] == Finished("stop", Usage(None, 2))
        assert len(events) == (2 if size == 10_000 else 3), "what came in one read is one delta"

    @on_farm_loop
    async def test_a_last_line_that_a_proxy_trimmed_counts(self) -> None:
        events = [event async for event in decoded([b'{"response": "a", "done": true}'])]
        assert events == [TextDelta("a"), Finished("stop")]

    @pytest.mark.parametrize("cut", [b"", b'{"message": {"content": "b"}, "do'])
    @on_farm_loop
    async def test_an_end_that_was_not_announced_is_no_success(self, cut: bytes) -> None:
        events = decoded([b'{"message": {"content": "a"}, "done": false}\n', cut])
        assert await anext(events) == TextDelta("a")
        with pytest.raises(IncompleteStreamError):
            await anext(events)

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            (b"<html>", "not JSON"),
            (b"[1]", "unknown shape"),
            (b'{"status": "ok"}', "unknown shape"),
            (b'{"message": {"content": 7}, "done": false}', "unknown shape"),
            (
                b'{"message": {"tool_calls": [{"function": {"arguments": {}}}]}, "done": false}',
                "unknown shape",
            ),
            (
                b'{"message": {"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}, "done": 0}',
                "shape",
            ),
            (b'{"done": true, "eval_count": "many"}', "unknown shape"),
        ],
    )
    @on_farm_loop
    async def test_what_is_not_the_protocol_is_quoted(self, line: bytes, words: str) -> None:
        with pytest.raises(ProviderError, match=words) as caught:
            await drain(decoded([line + b"\n"]))
        assert repr(line)[:20] in str(caught.value)

    @on_farm_loop
    async def test_a_connection_serves_one_answer_after_the_other(
        self, ollama_provider: OllamaProvider, ollama_double: OllamaDouble
    ) -> None:
        for _ in range(3):
            await ollama_provider.chat(ask("parrot", "hello"))
        assert ollama_double.connections == 1

    @on_farm_loop
    async def test_closing_while_the_prompt_is_read_stops_the_server(
        self, ollama_provider: OllamaProvider, ollama_double: OllamaDouble
    ) -> None:
        chat = asyncio.create_task(ollama_provider.chat(ask("parrot", SLOW)))
        assert await asyncio.to_thread(ollama_double.began.wait, 3.0)
        chat.cancel()
        with pytest.raises(asyncio.CancelledError):
            await chat
        assert await asyncio.to_thread(ollama_double.is_idle, 3.0)


def decoded(chunks: list[bytes]) -> AsyncGenerator[Event, None]:
    async def reads() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    return decode_stream(reads(), ask("parrot", "a"), ollama_error)


def test_a_farm_answers_with_it_and_keeps_what_was_said(ollama_double: OllamaDouble, tmp_path: Path) -> None:
    farm = Farm(ollama={"url": ollama_double.url}, cache_dir=tmp_path)
    reply = farm.chat("hello there", model="ollama:parrot")
    assert (reply.text, reply.digest) == ("hello there", REGISTRY["parrot:latest"].digest)
    with pytest.raises(ProviderError) as caught:
        farm.chat("one two three", model="ollama:crasher")
    assert caught.value.partial_text == "one two"
    assert ENDLESS not in reply.text
    assert [status.healthy for status in farm.health() if status.name == "ollama"] == [True]
    farm.close()
