"""What a caller passes becomes one validated request, or an error that quotes what is wrong with it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import pytest
from pydantic import BaseModel, TypeAdapter

from farm_notebook.config import FarmConfig, load_config
from farm_notebook.errors import InvalidRequestError
from farm_notebook.request import Options, build_request
from farm_notebook.router import look_up
from farm_notebook.types import ChatMessage, ChatRequest, Image, ModelRef, Route, Tool, ToolCall

OPTION_NAMES = {"model", "system", "temperature", "top_p", "max_tokens", "seed", "stop", "schema"}
OPTION_NAMES |= {"logprobs", "images", "tools", "tool_choice", "reasoning", "extra", "cache", "sample"}
PNG = b"\x89PNG\r\n\x1a\n"
PIXEL = Image(PNG, "image/png")
CALL = ToolCall("call_1", "get_weather", '{"city": "Paris"}')


def get_weather(city: str) -> str:
    """The weather in a city."""
    return city


WEATHER = Tool(
    "get_weather",
    "The weather in a city.",
    {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
)


@pytest.fixture
def config() -> FarmConfig:
    return load_config({"model": "scripted:echo"})


def message_of(prompt: Any, options: Any, config: FarmConfig, **kind: Any) -> str:
    """The error's message for what no type checker would let through."""
    with pytest.raises(InvalidRequestError) as caught:
        build_request(prompt, config, options, **kind)
    return str(caught.value)


def test_text_is_one_message_of_the_user_and_the_rest_is_left_to_the_provider(config: FarmConfig) -> None:
    request = build_request("hello", config, {})
    expected = ChatRequest(ModelRef("scripted", "echo"), (ChatMessage("user", "hello"),))
    assert replace(request, route=Route()) == expected
    assert request.parameters() == {}


def test_every_option_arrives_in_its_field(config: FarmConfig) -> None:
    options: Options = {
        "model": "count-3",
        "system": "Be brief.",
        "temperature": 0,
        "top_p": 0.5,
        "max_tokens": 7,
        "seed": 0,
        "stop": ["a", "b"],
        "logprobs": 0,
        "schema": {"type": "object"},
        "images": PNG,
        "tools": [get_weather],
        "tool_choice": "required",
        "reasoning": True,
        "extra": {"top_k": 3},
        "cache": "refresh",
        "sample": 2,
    }
    assert set(options) == OPTION_NAMES == set(Options.__annotations__)
    request = build_request("hello", config, options)
    assert request == ChatRequest(
        ref=ModelRef("scripted", "count-3"),
        messages=(ChatMessage("system", "Be brief."), ChatMessage("user", "hello", images=(PIXEL,))),
        temperature=0,
        top_p=0.5,
        max_tokens=7,
        seed=0,
        stop=("a", "b"),
        logprobs=0,
        schema={"type": "object"},
        tools=(WEATHER,),
        tool_choice="required",
        reasoning="on",
        extra={"top_k": 3},
        cache="refresh",
        sample=2,
        route=look_up("count-3", config).route,
    )
    assert request.parameters() == {
        "temperature": 0,
        "top_p": 0.5,
        "max_tokens": 7,
        "seed": 0,
        "stop": ["a", "b"],
        "logprobs": 0,
        "schema": {"type": "object"},
        "tools": [
            {"name": "get_weather", "description": WEATHER.description, "parameters": WEATHER.parameters}
        ],
        "tool_choice": "required",
        "reasoning": "on",
        "extra": {"top_k": 3},
    }


def test_an_option_that_is_none_is_as_if_it_were_absent(config: FarmConfig) -> None:
    options: Any = dict.fromkeys(OPTION_NAMES)
    assert build_request("hello", config, options) == build_request("hello", config, {})


def test_a_conversation_may_be_messages_or_mappings(config: FarmConfig) -> None:
    turns = (ChatMessage("user", "a"), ChatMessage("assistant", "b"), ChatMessage("user", "c"))
    mapped = [{"role": turn.role, "content": turn.content} for turn in turns]
    assert build_request(turns, config, {}).messages == turns
    assert build_request(mapped, config, {}).messages == turns
    assert build_request([turns[0], *mapped[1:]], config, {}).messages == turns


def test_one_stop_string_is_not_taken_for_its_letters(config: FarmConfig) -> None:
    assert build_request("hello", config, {"stop": "END"}).stop == ("END",)


def test_a_pydantic_model_is_a_schema(config: FarmConfig) -> None:
    class City(BaseModel):
        name: str

    assert build_request("hello", config, {"schema": City}).schema == City.model_json_schema()


def test_another_annotated_type_is_a_schema_too(config: FarmConfig) -> None:
    @dataclass
    class City:
        name: str

    assert schema_of(City, config) == TypeAdapter(City).json_schema()
    assert schema_of(list[City], config) == TypeAdapter(list[City]).json_schema()
    assert schema_of(int, config) == {"type": "integer"}
    assert schema_of(Literal["a", "b"], config) == {"type": "string", "enum": ["a", "b"]}


def schema_of(source: Any, config: FarmConfig) -> object:
    return build_request("hello", config, {"schema": source}).schema


def test_what_was_given_may_be_changed_afterwards(config: FarmConfig) -> None:
    given: dict[str, Any] = {"type": "object", "properties": {}}
    request = build_request("hello", config, {"schema": given, "extra": {"a": given}})
    given["properties"]["late"] = {}
    assert request.schema == {"type": "object", "properties": {}} == request.extra["a"]


def test_any_mapping_becomes_plain_json(config: FarmConfig) -> None:
    proxy = MappingProxyType({"type": "object", "properties": MappingProxyType({})})
    request = build_request("hello", config, {"schema": proxy, "extra": MappingProxyType({"a": proxy})})
    assert json.loads(json.dumps([request.schema, request.extra])) == [request.schema, request.extra]


def test_numbers_of_other_libraries_are_numbers(config: FarmConfig) -> None:
    request = build_request(
        "hello",
        config,
        {"seed": np.int64(3), "temperature": np.float32(0.5), "max_tokens": np.uint8(9)},  # type: ignore[typeddict-item]
    )
    assert (request.seed, request.temperature, request.max_tokens) == (3, 0.5, 9)
    assert [type(value) for value in (request.seed, request.temperature)] == [int, float]


def test_whole_and_decimal_numbers_are_one_request(config: FarmConfig) -> None:
    one, same = (build_request("hello", config, {"temperature": value, "top_p": value}) for value in (1, 1.0))
    assert one.fingerprint() == same.fingerprint()


def test_a_fingerprint_is_kept_for_its_digest_and_not_for_a_changed_request(config: FarmConfig) -> None:
    request = build_request("hello", config, {"temperature": 0})
    plain = request.fingerprint()
    assert request.fingerprint("digest") != plain == request.fingerprint()
    assert replace(request, seed=1).fingerprint() != plain
    assert replace(request, seed=None).fingerprint() == plain


# Aliases


PARAMETERS: dict[str, Any] = {
    "system": "Be brief.",
    "temperature": 0.5,
    "top_p": 0.9,
    "max_tokens": 7,
    "seed": 3,
    "stop": ["END"],
    "reasoning": "low",
    "extra": {"top_k": 3, "min_p": 0.1},
}


def with_alias() -> FarmConfig:
    alias = {"model": "count-3", "parameters": PARAMETERS, "fallback": ["echo"]}
    return load_config({"model": "scripted:echo", "aliases": {"careful": alias}})


def test_an_aliass_parameters_are_taken_where_the_caller_gives_none() -> None:
    config = with_alias()
    request = build_request("hello", config, {"model": "careful", "seed": None})
    assert request.ref == ModelRef("scripted", "count-3")
    assert request.route == look_up("careful", config).route
    assert request.route.alternates == (ModelRef("scripted", "echo"),)
    assert request.messages == (ChatMessage("system", "Be brief."), ChatMessage("user", "hello"))
    given = {name: value for name, value in PARAMETERS.items() if name != "system"}
    assert request.parameters() == given


def test_the_caller_wins_over_the_alias_in_every_parameter() -> None:
    options: Options = {
        "system": "Be long.",
        "temperature": 0,
        "top_p": 1,
        "max_tokens": 9,
        "seed": 0,
        "stop": [],
        "reasoning": False,
        "extra": {"top_k": 9},
    }
    assert set(options) == set(PARAMETERS)
    request = build_request("hello", with_alias(), {"model": "careful", **options})
    assert request.messages[0] == ChatMessage("system", "Be long.")
    assert request.parameters() == {
        "temperature": 0,
        "top_p": 1,
        "max_tokens": 9,
        "seed": 0,
        "reasoning": "off",
        "extra": {"top_k": 9, "min_p": 0.1},
    }


def test_an_aliass_system_message_goes_where_there_is_none_and_there_may_be_one() -> None:
    own = [ChatMessage("system", "Mine."), ChatMessage("user", "hello")]
    assert build_request(own, with_alias(), {"model": "careful"}).messages == tuple(own)
    raw = build_request("Once", with_alias(), {"model": "careful"}, kind="completion")
    assert raw.messages == (ChatMessage("user", "Once"),)


def test_what_is_wrong_with_the_callers_option_is_told_though_the_alias_has_a_good_one() -> None:
    for options in ({"temperature": -1}, {"extra": [1]}, {"reasoning": "hard"}):
        assert f"{next(iter(options))}=" in message_of("hello", {"model": "careful", **options}, with_alias())


# Images


def test_images_go_before_the_last_message_in_their_order(config: FarmConfig, tmp_path: Path) -> None:
    (tmp_path / "a.gif").write_bytes(b"GIF89a")
    turns = [ChatMessage("user", "a"), ChatMessage("assistant", "b"), ChatMessage("user", "c", (PIXEL,))]
    request = build_request(turns, config, {"images": [tmp_path / "a.gif", PNG]})
    gif = Image(b"GIF89a", "image/gif")
    assert [message.images for message in request.messages] == [(), (), (PIXEL, gif, PIXEL)]


def test_a_message_may_be_images_alone(config: FarmConfig) -> None:
    assert build_request("", config, {"images": PNG}).messages == (ChatMessage("user", "", (PIXEL,)),)


def test_the_images_of_a_message_may_be_whatever_images_are_made_of(
    config: FarmConfig, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    path: Any = str(tmp_path / "a.png")
    mapping = {"role": "user", "content": "x", "images": [path, PNG]}
    assert build_request([mapping], config, {}).messages[0].images == (PIXEL, PIXEL)
    assert build_request([ChatMessage("user", "x", (path,))], config, {}).messages[0].images == (PIXEL,)


# Tools


def test_tools_may_be_one_or_several_of_every_kind(config: FarmConfig) -> None:
    assert build_request("hello", config, {"tools": get_weather}).tools == (WEATHER,)
    other = {"name": "other"}
    tools = build_request("hello", config, {"tools": (get_weather, other)}).tools
    assert [tool.name for tool in tools] == ["get_weather", "other"]


@pytest.mark.parametrize("choice", ["auto", "none", "required", "get_weather"])
def test_a_choice_is_a_word_or_the_name_of_a_tool(choice: str, config: FarmConfig) -> None:
    options: Options = {"tools": get_weather, "tool_choice": choice}
    assert build_request("hello", config, options).tool_choice == choice


@pytest.mark.parametrize(
    "call",
    [
        CALL,
        {"id": "call_1", "name": "get_weather", "arguments": CALL.arguments},
        {
            "id": "call_1",
            "type": "function",
            "function": {"name": "get_weather", "arguments": CALL.arguments},
        },
    ],
)
@pytest.mark.parametrize("content", ["", None, "Let me look."])
def test_a_conversation_with_calls_may_be_mappings_as_openai_writes_them(
    call: Any, content: str | None, config: FarmConfig
) -> None:
    turns: list[Any] = [
        {"role": "user", "content": "What is the weather in Paris?"},
        {"role": "assistant", "content": content, "tool_calls": [call]},
        {"role": "tool", "content": "22 degrees", "tool_call_id": "call_1"},
    ]
    assert build_request(turns, config, {}).messages[1:] == (
        ChatMessage("assistant", content or "", tool_calls=(CALL,)),
        ChatMessage("tool", "22 degrees", tool_call_id="call_1"),
    )


def test_the_result_of_a_tool_may_be_empty(config: FarmConfig) -> None:
    turns = [
        ChatMessage("user", "Clean up."),
        ChatMessage("assistant", "", tool_calls=(CALL,)),
        ChatMessage("tool", "", tool_call_id="call_1"),
    ]
    assert build_request(turns, config, {}).messages == tuple(turns)


@pytest.mark.parametrize(("given", "effort"), [(True, "on"), (False, "off"), ("high", "high"), (None, None)])
def test_reasoning_is_a_word_or_yes_or_no(given: Any, effort: str | None, config: FarmConfig) -> None:
    assert build_request("hello", config, {"reasoning": given}).reasoning == effort


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"images": PNG}, "images"),
        ({"tools": get_weather}, "tools"),
        ({"tools": get_weather, "tool_choice": "required"}, "tools"),
    ],
)
def test_a_completion_takes_nothing_that_needs_a_chat_template(
    options: Any, what: str, config: FarmConfig
) -> None:
    message = message_of("Once upon", options, config, kind="completion")
    assert f"A completion takes no {what}" in message
    assert "Ask for a chat instead" in message


def test_a_completion_sends_the_prompt_raw(config: FarmConfig) -> None:
    request = build_request("Once upon", config, {}, kind="completion")
    assert (request.kind, request.messages[0].content) == ("completion", "Once upon")


@pytest.mark.parametrize(
    ("prompt", "options"),
    [
        ("hello", {"system": "Be brief."}),
        ([ChatMessage("user", "a"), ChatMessage("user", "b")], {}),
        ([ChatMessage("system", "a")], {}),
    ],
)
def test_a_completion_takes_no_conversation(prompt: Any, options: Any, config: FarmConfig) -> None:
    assert "A completion takes one prompt" in message_of(prompt, options, config, kind="completion")


@pytest.mark.parametrize("prompt", ["", "  \n", [], [ChatMessage("user", " ")]])
def test_an_empty_prompt_is_an_error(prompt: Any, config: FarmConfig) -> None:
    assert "The prompt is empty" in message_of(prompt, {}, config)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"temprature": 1}, ["'temprature'", *OPTION_NAMES]),
        ({"model": " "}, ["model's name is empty", "'scripted:echo'"]),
        ({"model": "scripted:"}, ["'scripted'", "'scripted:MODEL'"]),
        ({"temperature": -0.1}, ["temperature=-0.1", "at least 0"]),
        ({"temperature": "hot"}, ["temperature='hot'", "number"]),
        ({"temperature": True}, ["temperature=True", "number"]),
        ({"temperature": math.nan}, ["temperature=nan"]),
        ({"logprobs": 21}, ["logprobs=21", "at least 0", "at most 20"]),
        ({"logprobs": True}, ["logprobs=True", "whole number"]),
        ({"top_p": 1.5}, ["top_p=1.5", "1"]),
        ({"top_p": -1}, ["top_p=-1", "0"]),
        ({"top_p": "0.5"}, ["top_p='0.5'", "number"]),
        ({"max_tokens": 0}, ["max_tokens=0", "at least 1"]),
        ({"max_tokens": 1.5}, ["max_tokens=1.5", "whole number"]),
        ({"max_tokens": "9"}, ["max_tokens='9'", "whole number"]),
        ({"max_tokens": True}, ["max_tokens=True", "whole number"]),
        ({"seed": -1}, ["seed=-1", "at least 0"]),
        ({"seed": 0.0}, ["seed=0.0", "whole number"]),
        ({"stop": ""}, ["stop=''", "not empty"]),
        ({"stop": ["a", ""]}, ["stop=''", "not empty"]),
        ({"stop": ["a", 3]}, ["stop=3", "text"]),
        ({"schema": "object"}, ["'object'", "JSON schema", "pydantic model class"]),
        ({"schema": 3}, ["3 is not a schema", "JSON schema", "pydantic model class"]),
        ({"schema": np.ndarray}, ["<class 'numpy.ndarray'>", "cannot be told as a JSON schema"]),
        ({"schema": {"default": {1, 2}}}, ["schema={'default': {1, 2}}", "JSON: set is no JSON value"]),
        ({"schema": {"maximum": math.inf}}, ["schema={'maximum': inf}", "JSON"]),
        ({"temperature": 1 + 2j}, ["temperature=(1+2j)", "number"]),
        ({"images": 3}, ["int is no image", "path"]),
        ({"images": ["missing.png"]}, ["'missing.png'", "No such file"]),
        ({"tools": 3}, ["3 is no tool"]),
        ({"tools": [get_weather, WEATHER]}, ["Two tools are called 'get_weather'", "Rename"]),
        ({"tool_choice": "auto"}, ["tool_choice='auto'", "tools="]),
        (
            {"tools": get_weather, "tool_choice": "any"},
            ["tool_choice='any'", "'auto'", "'none'", "'required'", "'get_weather'"],
        ),
        ({"reasoning": "hard"}, ["reasoning='hard'", "True", "False", "'off'", "'low'", "'high'"]),
        ({"reasoning": 1}, ["reasoning=1 "]),
        ({"reasoning": ["on"]}, ["reasoning=['on']"]),
        ({"sample": -1}, ["sample=-1", "at least 0"]),
        ({"sample": "a"}, ["sample='a'", "whole number"]),
        ({"cache": "no"}, ["cache='no'", "'use'", "'refresh'", "'off'"]),
        ({"extra": [1]}, ["extra=[1]", "a mapping of parameters by name"]),
        ({"extra": {1: 2}}, ["extra={1: 2}", "by name"]),
        ({"extra": {"a": object}}, ["extra={'a': <class 'object'>}", "JSON: type is no JSON value"]),
    ],
)
def test_a_bad_option_is_quoted_with_what_is_valid(
    options: Any, words: list[str], config: FarmConfig
) -> None:
    message = message_of("hello", options, config)
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_a_temperature_is_finite(value: float, config: FarmConfig) -> None:
    assert "temperature=" in message_of("hello", {"temperature": value}, config)


def test_top_p_is_above_zero(config: FarmConfig) -> None:
    """As ``ChatRequest`` says: above 0 and at most 1."""
    assert "top_p=0" in message_of("hello", {"top_p": 0}, config)


def test_a_stop_that_is_no_text_at_all_is_an_error_of_ours(config: FarmConfig) -> None:
    assert "stop=3" in message_of("hello", {"stop": 3}, config)


def test_a_model_that_is_no_text_is_an_error_of_ours(config: FarmConfig) -> None:
    assert "3" in message_of("hello", {"model": 3}, config)


def test_a_system_message_is_text(config: FarmConfig) -> None:
    assert "text, not int" in message_of("hello", {"system": 3}, config)


@pytest.mark.parametrize("prompt", [None, 3])
def test_a_prompt_of_another_type_is_an_error_of_ours(prompt: Any, config: FarmConfig) -> None:
    assert repr(prompt) in message_of(prompt, {}, config)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"role": "robot", "content": "x"}, ["'robot'", "'system'", "'user'", "'assistant'", "'tool'"]),
        ({"role": "user"}, ["{'role': 'user'}", "'role' and 'content'"]),
        ({"role": "user", "content": "x", "name": "y"}, ["'name'", "'role' and 'content'"]),
        ("hello", ["'hello' is not a message", "ChatMessage(role, content)"]),
        ({"role": "user", "content": 3}, ["text, not int"]),
        (ChatMessage("robot", "x"), ["'robot'", "'user'"]),  # type: ignore[arg-type]  # that is the point
        ({"role": "user", "content": None}, ["text, not NoneType"]),
        ({"role": "user", "content": "\udcff"}, ["'\\udcff'", "half of a surrogate pair"]),
        ({"role": "assistant", "content": "x", "images": PNG}, ["Images", "not of 'assistant'"]),
        ({"role": "user", "content": "x", "images": 3}, ["int is no image"]),
        ({"role": "user", "content": "x", "tool_calls": [CALL]}, ["Tool calls", "not of 'user'"]),
        ({"role": "assistant", "content": "x", "tool_calls": 3}, ["3 is no tool call", "'arguments'"]),
        ({"role": "assistant", "content": "x", "tool_calls": [{"id": "1"}]}, ["name of a tool call", "''"]),
        (
            {
                "role": "assistant",
                "content": "",
                "tool_calls": {"id": "1", "name": "f", "arguments": {"a": 1}},
            },
            ["arguments of a tool call is text, not {'a': 1}"],
        ),
        (
            {"role": "assistant", "content": "", "tool_calls": {"name": "f", "arguments": ""}},
            ["id of a", "''"],
        ),
        ({"role": "tool", "content": "x"}, ["tool_call_id=None", "'tool'"]),
        ({"role": "tool", "content": "x", "tool_call_id": 3}, ["tool_call_id=3"]),
        ({"role": "user", "content": "x", "tool_call_id": "1"}, ["tool_call_id='1'", "'user'"]),
    ],
    ids=str,
)
def test_a_bad_message_is_quoted_with_what_is_valid(entry: Any, words: list[str], config: FarmConfig) -> None:
    message = message_of([entry], {}, config)
    assert [word for word in words if word not in message] == []
