"""What an answer is to be is told as a JSON schema, and an answer is checked against it."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import jsonschema
import pytest
from pydantic import BaseModel, Field, RootModel
from typing_extensions import TypedDict

from farm_notebook.errors import InvalidRequestError, MissingExtraError
from farm_notebook.schemas import as_schema, as_shape


class City(BaseModel):
    name: str
    founded: date = Field(description="When it began.")


@dataclass
class Point:
    x: float


class Named(TypedDict):
    name: str


Cities = RootModel[list[City]]
RAW = {"title": "Place", "type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}


@pytest.mark.parametrize(
    ("source", "text", "value"),
    [
        (City, '{"name": "Rome", "founded": "0753-04-21"}', City(name="Rome", founded=date(753, 4, 21))),
        (Point, '{"x": 1}', Point(1.0)),
        (Named, '{"name": "a"}', {"name": "a"}),
        (list[Point], '{"items": [{"x": 1}]}', [Point(1.0)]),
        (list[Point], '[{"x": 1}]', [Point(1.0)]),
        (dict[str, int], '{"a": 1}', {"a": 1}),
        (int, '{"value": 3}', 3),
        (Literal["a", "b"], '{"value": "b"}', "b"),
        (Point | None, '{"value": null}', None),
        (RAW, '{"x": 3}', {"x": 3}),
    ],
)
def test_an_answer_becomes_what_the_source_says(source: Any, text: str, value: object) -> None:
    shape = as_shape(source)
    assert shape.parse(text) == value
    sent: dict[str, Any] = dict(shape.schema)
    jsonschema.Draft202012Validator.check_schema(sent)
    assert sent["type"] == "object"


def test_a_root_model_of_a_list_is_wrapped_as_a_list_is() -> None:
    assert as_shape(Cities).parse('{"items": []}') == Cities([])


@pytest.mark.parametrize(
    "text",
    [
        '{"x": 1}',
        '  {"x": 1}\n',
        'Here it is:\n```json\n{"x": 1}\n```\nAnything else?',
        'The point (as asked) is {"x": 1}, I think.',
    ],
)
def test_a_value_is_found_between_words_and_in_a_code_block(text: str) -> None:
    assert as_shape(Point).parse(text) == Point(1.0)


@pytest.mark.parametrize(
    ("source", "text", "said"),
    [
        (Point, "I do not know", "it is no JSON: 'I do not know'"),
        (
            Point,
            '{"x": "far"}',
            "x: Input should be a valid number, unable to parse string as a number (it is 'far')",
        ),
        (Point, "{}", "x: Field required"),
        (list[Point], '[{"x": 1}, {"x": ', """it is no JSON: '[{"x": 1}, {"x": '"""),
        (list[Named], '[{"name": "a"}, {"name": "b', """it is no JSON: '[{"name": "a"}, {"name": "b'"""),
        (list[Point], '[{"x": 1}, {"x": null}]', "1.x: Input should be a valid number (it is None)"),
        (RAW, '{"x": "far"}', "$.x: 'far' is not of type 'integer'"),
        (RAW, "{}", "$: 'x' is a required property"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(source: Any, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        as_shape(source).parse(text)


def test_of_many_problems_the_first_are_told_and_how_many_there_are() -> None:
    with pytest.raises(ValueError, match=r"; and 15 more$"):
        as_shape(list[Point]).parse(str(["far"] * 20).replace("'", '"'))


def test_a_value_is_plain_json_again() -> None:
    assert as_shape(list[City]).plain([City(name="Rome", founded=date(753, 4, 21))]) == [
        {"name": "Rome", "founded": "0753-04-21"}
    ]
    assert as_shape(RAW).plain({"x": 1}) == {"x": 1}


def test_a_json_schema_without_its_checker_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    with pytest.raises(MissingExtraError, match=r'pip install "farm-notebook\[schema\]"'):
        as_shape(RAW)
    assert as_schema(RAW) == RAW


@pytest.mark.parametrize("schema", [{"type": "nothing"}, {"properties": 3}])
def test_what_is_no_json_schema_is_refused_before_anything_is_asked(schema: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match="no JSON schema"):
        as_shape(schema)


def test_a_reference_is_never_fetched() -> None:
    shape = as_shape({"$ref": "http://127.0.0.1:9/schema.json"})
    with pytest.raises(InvalidRequestError, match="refers to what is not in it"):
        shape.parse("{}")


def test_thousands_of_brackets_take_no_time() -> None:
    with pytest.raises(ValueError, match="no JSON"):
        as_shape(Point).parse("[" * 100_000)
