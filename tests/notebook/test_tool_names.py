"""What stands behind ``--tool`` and ``--schema`` is found in the notebook, or the closest is named."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from farm_notebook.errors import InvalidRequestError
from farm_notebook.notebook.tool_names import named_functions, named_schema


@dataclass
class City:
    name: str


class Station:
    def weather(self, city: str) -> str:
        return city


def weather(city: str) -> str:
    return city


STATION = Station()
RAW = {"type": "object", "properties": {}}
NAMESPACE: dict[str, Any] = {
    "City": City,
    "RAW": RAW,
    "station": STATION,
    "weather": weather,
    "number": 3,
    "geo": SimpleNamespace(City=City),
}


@pytest.mark.parametrize("name", ["weather", "{weather}"])
def test_a_function_is_found_by_its_name(name: str) -> None:
    assert named_functions([name], NAMESPACE) == (weather,)


def test_a_method_is_found_behind_its_object() -> None:
    assert named_functions(["station.weather", "weather"], NAMESPACE) == (STATION.weather, weather)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("wether", "--tool 'wether' is not in this notebook. Did you mean weather?"),
        ("station.wether", "--tool 'station.wether' has no such attribute."),
        ("number", "--tool 'number' is 'int', and no function. Valid: weather."),
        ("weather()", "--tool 'weather()' is not in this notebook."),
    ],
)
def test_what_is_no_function_is_quoted_with_the_closest(name: str, said: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        named_functions([name], NAMESPACE)
    assert str(caught.value).startswith(said)


def test_a_notebook_without_functions_says_so() -> None:
    with pytest.raises(InvalidRequestError, match="There is no function in it yet"):
        named_functions(["weather"], {})


@pytest.mark.parametrize(
    ("source", "schema"),
    [
        ("City", City),
        ("{City}", City),
        ("geo.City", City),
        ("list[City]", list[City]),
        ("dict[str, City]", dict[str, City]),
        ("City | None", City | None),
        ("int", int),
        ("RAW", RAW),
        ('{"type": "object"}', {"type": "object"}),
    ],
)
def test_a_schema_is_a_class_a_type_of_some_or_json(source: str, schema: object) -> None:
    assert named_schema(source, NAMESPACE) == schema


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("Citty", "'Citty' is not defined in this notebook. Did you mean City?"),
        ("list[Citty]", "'Citty' is not defined"),
        ("open('x')", "is more than a type"),
        ("City.__init__", "is more than a type"),
        ("[c for c in RAW]", "is more than a type"),
        ("list[", "is no type"),
        ('{"type": ', "is no JSON"),
        ("number[0]", "cannot be read: TypeError"),
        ("geo.Town", "cannot be read: AttributeError"),
    ],
)
def test_what_is_no_schema_is_quoted_and_nothing_is_run(source: str, said: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        named_schema(source, NAMESPACE)
    assert said in str(caught.value)
