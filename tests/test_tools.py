"""A Python function becomes a tool that a model may ask to be called, or an error that says why not."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from farm_notebook.errors import InvalidRequestError
from farm_notebook.tools import as_tool
from farm_notebook.types import Tool

EMPTY = {"type": "object", "properties": {}}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


class Place(BaseModel):
    city: str
    zone: int = 0


@dataclass
class Point:
    """Where something is."""

    x: float
    y: float


def get_weather(city: str, days: int = 3, unit: Literal["C", "F"] = "C") -> str:
    """The weather in a city.

    More of it.
    """
    return f"{city}{days}{unit}"


async def fetch(url: Annotated[str, Field(description="Where it is.")]) -> None:
    """Fetch a page."""


def untold(a, b=None):  # type: ignore[no-untyped-def]  # that is the point
    pass


def of_models(place: Place, points: list[Point]) -> None: ...


def with_defaults_that_json_cannot_say(kind: str = object()) -> None: ...  # type: ignore[assignment]  # as above


def with_any_more(city: str, **more: int) -> None: ...


class Station:
    def read(self, sensor: str) -> float:
        """Read a sensor."""
        return 0.0

    @staticmethod
    def reset() -> None: ...

    def __call__(self, city: str) -> str:
        """Ask the station."""
        return city


def message_of(source: Any) -> str:
    """The error's message for what no type checker would let through."""
    with pytest.raises(InvalidRequestError) as caught:
        as_tool(source)
    return str(caught.value)


def test_a_functions_name_docstring_and_signature_become_a_tool() -> None:
    assert as_tool(get_weather) == Tool(
        "get_weather",
        "The weather in a city.\n\nMore of it.",
        {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer", "default": 3},
                "unit": {"type": "string", "enum": ["C", "F"], "default": "C"},
            },
            "required": ["city"],
            "additionalProperties": False,
        },
    )


@pytest.mark.parametrize(
    ("source", "name", "description", "properties"),
    [
        (fetch, "fetch", "Fetch a page.", {"url": {"type": "string", "description": "Where it is."}}),
        (Station().read, "read", "Read a sensor.", {"sensor": {"type": "string"}}),
        (Station.reset, "reset", "", {}),
        (Station(), "Station", "Ask the station.", {"city": {"type": "string"}}),
        (
            functools.partial(get_weather, days=1, unit="F"),
            "get_weather",
            "The weather in a city.\n\nMore of it.",
            {
                "city": {"type": "string"},
                "days": {"type": "integer", "default": 1},
                "unit": {"type": "string", "enum": ["C", "F"], "default": "F"},
            },
        ),
        (untold, "untold", "", {"a": {}, "b": {"default": None}}),
        (
            with_defaults_that_json_cannot_say,
            "with_defaults_that_json_cannot_say",
            "",
            {"kind": {"type": "string"}},
        ),
        (Point, "Point", "Where something is.", {"x": {"type": "number"}, "y": {"type": "number"}}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_kind_of_callable_is_a_tool(
    source: Callable[..., Any], name: str, description: str, properties: dict[str, Any]
) -> None:
    tool = as_tool(source)
    assert (tool.name, tool.description, tool.parameters["properties"]) == (name, description, properties)


def test_parameters_without_annotations_may_be_anything_and_are_asked_for() -> None:
    assert as_tool(untold).parameters["required"] == ["a"]


def test_a_default_that_json_cannot_say_still_makes_its_parameter_optional() -> None:
    assert "required" not in as_tool(with_defaults_that_json_cannot_say).parameters


def test_models_as_parameters_are_told_whole() -> None:
    parameters = as_tool(of_models).parameters
    assert parameters["properties"] == {
        "place": {"$ref": "#/$defs/Place"},
        "points": {"type": "array", "items": {"$ref": "#/$defs/Point"}},
    }
    assert parameters["$defs"]["Place"]["required"] == ["city"]
    assert parameters["$defs"]["Point"]["description"] == "Where something is."


def test_further_keyword_arguments_are_allowed() -> None:
    assert as_tool(with_any_more).parameters["additionalProperties"] == {"type": "integer"}


@pytest.mark.parametrize(
    "mapping",
    [
        {"name": "f", "description": "d", "parameters": CITY},
        {"type": "function", "function": {"name": "f", "description": "d", "parameters": CITY}},
        MappingProxyType({"name": "f", "description": "d", "parameters": MappingProxyType(CITY)}),
        {"type": "function", "name": "f", "description": "d", "parameters": CITY, "strict": True},
    ],
)
def test_a_mapping_as_openai_writes_tools_is_one(mapping: Any) -> None:
    assert as_tool(mapping) == Tool("f", "d", CITY)


@pytest.mark.parametrize("mapping", [{"name": "f"}, {"name": "f", "description": None, "parameters": None}])
def test_a_mapping_may_leave_out_what_there_is_not(mapping: dict[str, Any]) -> None:
    assert as_tool(mapping) == Tool("f", "", EMPTY)


def test_a_tools_parameters_are_its_own() -> None:
    mine: dict[str, Any] = {"type": "object", "properties": {}}
    tool = as_tool(Tool("f", "d", mine))
    mine["properties"]["late"] = {"type": "string"}
    assert tool == Tool("f", "d", EMPTY)


def of_nothing_known(thing: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821, UP037


def of_a_station(station: Station) -> None: ...


def of_a_callback(callback: Callable[[int], int]) -> None: ...


def positional(a: int, /, b: int) -> None: ...


def many(*values: int) -> None: ...


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (3, ["3 is no tool", "a function with annotated parameters"]),
        (lambda city: city, ["A lambda has no name", "def"]),
        (of_nothing_known, ["'of_nothing_known'", "'Nowhere'", "as a mapping"]),
        (of_a_station, ["'of_a_station'", "Station", "Annotate them with simple types"]),
        (of_a_callback, ["'of_a_callback'", "Callable"]),
        (positional, ["'positional'", "(a, /)", "by name only"]),
        (many, ["'many'", "(*values)", "by name only"]),
        (Station.read, ["'read'", "method of no object", "my_object.read"]),
        (print, ["'print'"]),
        (int, ["'int'", "by name only"]),
        (functools.partial(int, base=2), ["'int'", "no signature found"]),
        ({"description": "d"}, ["{'description': 'd'}", "no name"]),
        ({"function": "f"}, ["no name"]),
        ({"name": 3}, ["3 is no name of a tool"]),
        ({"name": ""}, ["'' is no name of a tool", "64"]),
        ({"name": "get weather"}, ["'get weather'", "letters, digits"]),
        ({"name": "f" * 65}, ["no name of a tool"]),
        (Tool("wéather", "", EMPTY), ["'wéather'"]),
        ({"name": "f", "parameters": 3}, ["'f'", "no JSON schema", "3"]),
        ({"name": "f", "parameters": {"type": "string"}}, ["'f'", "type 'object'", "'string'"]),
        ({"name": "f", "parameters": {**EMPTY, "default": object()}}, ["'f'", "cannot be sent as JSON"]),
        ({"name": "f", "parameters": {**EMPTY, "maxProperties": float("nan")}}, ["'f'", "JSON"]),
    ],
    ids=lambda value: getattr(value, "__name__", str(value))[:40] if not isinstance(value, list) else "",
)
def test_what_is_no_tool_is_quoted_with_the_reason(source: Any, words: list[str]) -> None:
    message = message_of(source)
    assert [word for word in words if word not in message] == []
    assert "\n" not in message
