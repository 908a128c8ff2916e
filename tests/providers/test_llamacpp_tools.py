"""Tools, reasoning and extra parameters of the embedded provider, with several chat templates."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from gguf_files import copy_with_template
from hypothesis import given
from hypothesis import strategies as st

from farm_notebook import loop
from farm_notebook.errors import InvalidRequestError, UnsupportedParameterError
from farm_notebook.farm import AsyncFarm
from farm_notebook.providers.llamacpp.abilities import Abilities
from farm_notebook.providers.llamacpp.dialect import body_of, longest
from farm_notebook.providers.llamacpp.tool_calls import in_words, whole_answer_as_call, with_calls
from farm_notebook.types import (
    ChatMessage,
    ChatRequest,
    Event,
    Finished,
    Image,
    ModelRef,
    ReasoningDelta,
    ReasoningEffort,
    TextDelta,
    Tool,
    ToolCall,
)

REF = ModelRef("llamacpp", "smollm2:135m")
QUESTION = "What is the weather in Paris?"
WEATHER = Tool(
    "get_weather",
    "The weather in a city.",
    {"type": "object", "properties": {"city": {"type": "string", "maxLength": 20}}, "required": ["city"]},
)
TIME = Tool(
    "get_time",
    "The time in a zone.",
    {"type": "object", "properties": {"zone": {"type": "string", "maxLength": 20}}, "required": ["zone"]},
)
TURNS = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
END = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
WITH_SWITCH = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.reasoning_content %}<think>\n{{ m.reasoning_content }}\n</think>\n\n{% endif %}"
    "{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is not defined or enable_thinking %}<think>\n"
    "{% else %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
WITH_TOOLS = (
    "{% if tools %}<|im_start|>system\n{% for t in tools %}{{ t | tojson }}\n{% endfor %}"
    '<tool_call>\n{"name": NAME, "arguments": {}}\n</tool_call><|im_end|>\n{% endif %}'
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    '{% for c in m.tool_calls or [] %}<tool_call>\n{"name": "{{ c.function.name }}", '
    '"arguments": {{ c.function.arguments | tojson }}}\n</tool_call>{% endfor %}<|im_end|>\n{% endfor %}'
    + END
)


@pytest_asyncio.fixture
async def farm(embedded_model: str, no_leaks: None) -> AsyncIterator[AsyncFarm]:
    farm = AsyncFarm(model=embedded_model, llamacpp={"context_tokens": 1024})
    yield farm
    await farm.aclose()


def request(*messages: ChatMessage, **options: Any) -> ChatRequest:
    return ChatRequest(REF, messages or (ChatMessage("user", QUESTION),), **options)


# Calls in text


async def stream_of(*events: Event | str) -> AsyncGenerator[Event, None]:
    for event in events:
        yield TextDelta(event) if isinstance(event, str) else event


async def seen(events: AsyncGenerator[Event, None]) -> tuple[str, list[tuple[str, str]], str]:
    """The text of a stream, its calls, and its finish reason."""
    text, calls, reason = "", [], ""
    async for event in events:
        match event:
            case TextDelta():
                assert event.text
                text += event.text
            case ToolCall():
                calls.append((event.name, event.arguments))
            case Finished():
                reason = event.reason
    return text, calls, reason


CALL = '<tool_call>{"name": "get_weather", "arguments": {"city": "Rome"}}</tool_call>'
ROME = ("get_weather", '{"city": "Rome"}')


@pytest.mark.parametrize(
    ("text", "expected", "calls"),
    [
        ("It is sunny.", "It is sunny.", []),
        (CALL, "", [ROME]),
        (f"Let me see. {CALL}", "Let me see. ", [ROME]),
        (f"{CALL}{CALL} So.", " So.", [ROME, ROME]),
        ('<tool_call>{"name": "unknown", "arguments": {}}</tool_call>', None, []),
        ('<tool_call>{"name": "get_weather", "arguments": "Rome"}</tool_call>', None, []),
        ("<tool_call>get_weather(Rome)</tool_call>", None, []),
        ("1 < 2 and <tool", None, []),
        ('<tool_call>{"name": "get_weather", "arguments": {"city": "Ro', None, []),
        (CALL.removesuffix("</tool_call>"), "", [ROME]),
    ],
)
@given(cuts=st.sets(st.integers(1, 150)))
def test_calls_are_found_in_text_however_it_is_cut(
    text: str, expected: str | None, calls: list[tuple[str, str]], cuts: set[int]
) -> None:
    places = [0, *sorted(cut for cut in cuts if cut < len(text)), len(text)]
    pieces = [text[a:b] for a, b in itertools.pairwise(places)]
    events = with_calls(stream_of(*pieces, Finished("stop")), [WEATHER])
    outcome = loop.run_blocking(seen(events))
    assert outcome == (text if expected is None else expected, calls, "tool_calls" if calls else "stop")


async def test_text_that_can_be_no_call_is_passed_on_at_once() -> None:
    events = with_calls(stream_of("a <b", "> c <tool", "box>", Finished("stop")), [WEATHER])
    texts = [event.text async for event in events if isinstance(event, TextDelta)]
    assert texts == ["a <b", "> c ", "<toolbox>"]


@pytest.mark.parametrize(
    ("text", "reason", "expected"),
    [
        ('{ "name": "get_weather",\n "arguments": {"city": "Rome"}}', "stop", ("", [ROME], "tool_calls")),
        (
            '{"name": "get_weather", "arguments": {"city": "Ro',
            "length",
            ("", [("get_weather", '{"city": "Ro')], "length"),
        ),
        ('{"na', "length", ('{"na', [], "length")),
        ("", "length", ("", [], "length")),
    ],
)
async def test_a_whole_answer_is_one_call(text: str, reason: Any, expected: Any) -> None:
    assert await seen(whole_answer_as_call(stream_of(*text, Finished(reason)))) == expected


def test_tools_calls_and_results_are_put_in_words() -> None:
    call = ToolCall("call_1", "get_weather", '{"city": "Rome"}')
    told = in_words(
        request(
            ChatMessage("system", "Be brief."),
            ChatMessage("user", "And in Rome?"),
            ChatMessage("assistant", "", tool_calls=(call,)),
            ChatMessage("tool", "22 degrees", tool_call_id="call_1"),
            ChatMessage("tool", "sunny", tool_call_id="call_2"),
            ChatMessage("user", "So?"),
            tools=(WEATHER,),
        )
    )
    assert (told.tools, told.tool_choice) == ((), None)
    assert [message.role for message in told.messages] == ["system", "user", "assistant", "user"]
    system, _, assistant, user = (message.content for message in told.messages)
    assert system.startswith("Be brief.\n\n")
    assert json.dumps(dict(WEATHER.parameters)) in system
    assert assistant == CALL
    assert user.endswith("sunny\n</tool_response>\nSo?")


def test_without_a_system_turn_the_tools_stand_before_the_first_question() -> None:
    image = Image(b"", "image/png")
    (turn,) = in_words(request(ChatMessage("user", QUESTION, images=(image,)), tools=(WEATHER,))).messages
    assert turn.content.endswith(f"\n\n{QUESTION}")
    assert "get_weather" in turn.content
    assert turn.images == (image,)
    plain = request(tools=(WEATHER,), tool_choice="none")
    assert in_words(plain).messages == plain.messages


# What a model can do


def abilities(template: str, *, knows_tools: bool = False) -> Abilities:
    settings = {"n_ctx": 512, "params": {"min_p": 0.1, "top_k": 40, "stream": False, "seed": 1}}
    caps = {"supports_tools": knows_tools}
    return Abilities.of(
        {"default_generation_settings": settings, "chat_template": template, "chat_template_caps": caps}
    )


@pytest.mark.parametrize(
    ("template", "efforts"),
    [
        (TURNS + END, {"off"}),
        ("{{ 'You are thinking and enable_thinking.' }}", {"off"}),
        (WITH_SWITCH, {"off", "on"}),
        ("{% if thinking %}<think>{% endif %}", {"off", "on"}),
        ("{{ reasoning_effort }}<|channel|>analysis", {"on", "low", "medium", "high"}),
        ("<|im_start|>assistant\n<think>\n", {"on"}),
    ],
)
def test_how_hard_a_model_can_think_is_read_from_its_template(
    template: str, efforts: set[ReasoningEffort]
) -> None:
    able = abilities(template)
    assert able.efforts == efforts
    assert ("reasoning" in able.capabilities) == (efforts != {"off"})
    every: tuple[ReasoningEffort, ...] = ("off", "on", "low", "medium", "high")
    for effort in every:
        if effort in efforts:
            able.require(request(reasoning=effort))
        else:
            with pytest.raises(UnsupportedParameterError, match=f"reasoning='{effort}'"):
                able.require(request(reasoning=effort))


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"extra": {"n_probs": 3}}, UnsupportedParameterError, "'n_probs'.* use logprobs instead"),
        ({"extra": {"min_pp": 0.1}}, UnsupportedParameterError, "'min_pp'.* mean 'min_p'.*top_k"),
        ({"extra": {"stream": False}}, UnsupportedParameterError, "'stream'"),
        ({"extra": {"return_progress": False}}, UnsupportedParameterError, "'return_progress'"),
        ({"extra": {"seed": 4}}, UnsupportedParameterError, "'seed'.*use seed instead"),
        ({"extra": {"n_predict": 4}}, UnsupportedParameterError, "use max_tokens instead"),
        ({"tools": (WEATHER,), "schema": {}}, UnsupportedParameterError, "tool_choice"),
        ({"tools": (WEATHER,), "kind": "completion"}, UnsupportedParameterError, "completion.*use chat"),
        ({"tool_choice": "required"}, InvalidRequestError, "no tools"),
        ({"tools": (WEATHER,), "tool_choice": "get_time"}, InvalidRequestError, "'get_time'.*get_weather"),
    ],
)
def test_what_would_be_dropped_in_silence_is_refused(
    options: dict[str, Any], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        abilities(TURNS).require(request(**options))
    abilities(TURNS).require(request(extra={"min_p": 0.1, "chat_template_kwargs": {}}))


def test_logprobs_are_refused_beside_tools_that_llamacpp_reads_itself() -> None:
    asked = request(tools=(WEATHER,), logprobs=1)
    abilities(TURNS).require(asked)
    with pytest.raises(UnsupportedParameterError, match="logprobs beside tools"):
        replace(abilities(TURNS), knows_tools=True).require(asked)


# The real model


@pytest_asyncio.fixture(params=["no place for tools", "a place for tools"])
async def model(request: pytest.FixtureRequest, embedded_file: Path, tmp_path: Path) -> str:
    """The embedded model with its own template, or with one that knows tools."""
    if request.param == "no place for tools":
        return str(REF)
    return f"llamacpp:{copy_with_template(embedded_file, tmp_path / 'tools.gguf', WITH_TOOLS)}"


@pytest.mark.model
async def test_the_tool_that_is_named_is_called(farm: AsyncFarm, model: str) -> None:
    for choice, names in (("get_time", {"get_time"}), ("required", {"get_time", "get_weather"})):
        reply = await farm.chat(
            QUESTION, model=model, tools=[WEATHER, TIME], tool_choice=choice, temperature=0, max_tokens=100
        )
        (call,) = reply.tool_calls
        assert call.name in names
        assert set(call.parsed) == {"zone" if call.name == "get_time" else "city"}
        assert (reply.text, reply.finish_reason) == ("", "tool_calls")


@pytest.mark.model
async def test_a_model_is_told_of_its_tools_unless_none_may_be_called(farm: AsyncFarm, model: str) -> None:
    async def tokens(**options: Any) -> int:
        usage = (await farm.chat(QUESTION, model=model, max_tokens=1, **options)).usage
        return usage.input_tokens or 0

    plain = await tokens()
    assert await tokens(tools=[WEATHER]) > plain + 30
    assert await tokens(tools=[WEATHER], tool_choice="required") > plain + 30
    assert await tokens(tools=[WEATHER], tool_choice="none") >= plain


@pytest.mark.model
async def test_a_call_that_the_model_writes_of_its_own_accord_is_a_call(farm: AsyncFarm) -> None:
    grammar = f"root ::= {json.dumps(CALL)}"
    reply = await farm.chat(
        QUESTION, tools=[WEATHER], temperature=0, max_tokens=60, extra={"grammar": grammar}
    )
    assert [(call.name, call.arguments) for call in reply.tool_calls] == [ROME]
    assert (reply.text, reply.finish_reason) == ("", "tool_calls")


@pytest.mark.model
async def test_thinking_is_switched_and_kept_apart(
    farm: AsyncFarm, embedded_file: Path, tmp_path: Path
) -> None:
    model = f"llamacpp:{copy_with_template(embedded_file, tmp_path / 'thinks.gguf', WITH_SWITCH)}"

    async def kinds(reasoning: ReasoningEffort) -> set[type[Event]]:
        asked = farm.request(QUESTION, model=model, reasoning=reasoning, temperature=0, max_tokens=12)
        return {type(event) async for event in farm.events(asked)} & {TextDelta, ReasoningDelta}

    assert await kinds("on") == {ReasoningDelta}
    assert await kinds("off") == {TextDelta}
    with pytest.raises(UnsupportedParameterError, match="takes only off, on"):
        await kinds("high")


@pytest.mark.model
async def test_a_model_that_does_not_think_is_not_asked_to(farm: AsyncFarm) -> None:
    with pytest.raises(UnsupportedParameterError, match="does not think"):
        await farm.chat(QUESTION, reasoning="on")
    assert (await farm.chat(QUESTION, reasoning="off", max_tokens=3)).text


@pytest.mark.model
async def test_extra_parameters_reach_the_model(farm: AsyncFarm) -> None:
    async def texts(**extra: Any) -> set[str]:
        return {
            (await farm.chat(QUESTION, temperature=2.0, seed=seed, max_tokens=8, extra=extra)).text
            for seed in range(3)
        }

    assert len(await texts()) == 3
    assert len(await texts(top_k=1)) == 1


@pytest.mark.model
async def test_a_completion_follows_a_schema(farm: AsyncFarm) -> None:
    schema = {"type": "string", "enum": ["red", "green"]}
    reply = await farm.generate("My favourite colour is", schema=schema, temperature=0, max_tokens=20)
    assert reply.parsed in schema["enum"]


# The body


def test_what_the_server_needs_of_every_request_is_in_its_body() -> None:
    asked = request(seed=3, reasoning="off", extra={"min_p": 0.2, "chat_template_kwargs": {"lang": "fr"}})
    body = body_of(asked, abilities(TURNS), max_tokens=99)
    assert body["stream"] is body["return_progress"] is True
    assert body["cache_prompt"] is False
    assert (body["max_tokens"], body["min_p"]) == (99, 0.2)
    assert body["chat_template_kwargs"] == {"enable_thinking": False, "thinking": False, "lang": "fr"}
    plain = body_of(request(max_tokens=5), abilities(TURNS), max_tokens=99)
    assert (plain["max_tokens"], plain["cache_prompt"]) == (5, True)
    assert "chat_template_kwargs" not in plain


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"max_tokens": 50}, range(50 + len(QUESTION), 250)),
        ({}, [512]),  # the longest answer alone is more than the model's context
        ({"max_tokens": 50, "seed": 1}, [None]),
        ({"max_tokens": 50, "kind": "completion"}, range(50 + len(QUESTION), 250)),
        ({"max_tokens": 50, "tools": (WEATHER,)}, [512]),  # their description alone is more than its context
    ],
)
def test_what_a_request_can_come_to_need_is_never_counted_too_low(options: Any, expected: Any) -> None:
    asked, able = request(**options), abilities(TURNS)
    assert longest(asked, body_of(asked, able, max_tokens=2048), able) in expected


def test_how_many_tokens_an_image_takes_is_not_known_before() -> None:
    asked = request(ChatMessage("user", QUESTION, images=(Image(b"", "image/png"),)), max_tokens=5)
    able = abilities(TURNS)
    assert longest(asked, body_of(asked, able, max_tokens=9), able) is None
