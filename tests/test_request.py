"""What a caller passes becomes one validated request, or an error that quotes what is wrong with it."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import BaseModel

from farm_notebook.config import FarmConfig, load_config
from farm_notebook.errors import InvalidRequestError
from farm_notebook.request import Options, build_request
from farm_notebook.types import ChatMessage, ChatRequest, ModelRef

OPTION_NAMES = {"model", "system", "temperature", "top_p", "max_tokens", "seed", "stop", "schema"}


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
    assert request == ChatRequest(ModelRef("scripted", "echo"), (ChatMessage("user", "hello"),))
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
        "schema": {"type": "object"},
    }
    assert set(options) == OPTION_NAMES
    request = build_request("hello", config, options)
    assert request == ChatRequest(
        ref=ModelRef("scripted", "count-3"),
        messages=(ChatMessage("system", "Be brief."), ChatMessage("user", "hello")),
        temperature=0,
        top_p=0.5,
        max_tokens=7,
        seed=0,
        stop=("a", "b"),
        schema={"type": "object"},
    )
    assert request.parameters() == {
        "temperature": 0,
        "top_p": 0.5,
        "max_tokens": 7,
        "seed": 0,
        "stop": ["a", "b"],
        "schema": {"type": "object"},
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


def test_a_completion_sends_the_prompt_raw(config: FarmConfig) -> None:
    request = build_request("Once upon", config, {}, kind="completion")
    assert (request.kind, request.messages[0].content) == ("completion", "Once upon")


@pytest.mark.parametrize(
    ("prompt", "options"),
    [
        ("hello", {"system": "Be brief."}),
        ([ChatMessage("user", "a"), ChatMessage("user", "b")], {}),
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
        ({"model": "scripted"}, ["'scripted'", "'scripted:MODEL'"]),
        ({"temperature": -0.1}, ["temperature=-0.1", "at least 0"]),
        ({"temperature": "hot"}, ["temperature='hot'", "number"]),
        ({"temperature": True}, ["temperature=True", "number"]),
        ({"temperature": math.nan}, ["temperature=nan"]),
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
    ],
    ids=str,
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
    ],
    ids=str,
)
def test_a_bad_message_is_quoted_with_what_is_valid(entry: Any, words: list[str], config: FarmConfig) -> None:
    message = message_of([entry], {}, config)
    assert [word for word in words if word not in message] == []
