"""An answer that is a value is shown as a table or as JSON, and given as what the line wants."""

from __future__ import annotations

import json
import sys
from datetime import date
from typing import Any

import pandas as pd  # type: ignore[import-untyped]
import pytest
from markdown_it import MarkdownIt
from pydantic import BaseModel

from farm_notebook.errors import MissingExtraError
from farm_notebook.notebook.structured import MOST_ROWS, StructuredFormat, as_wanted, check_wanted
from farm_notebook.reply import Reply
from farm_notebook.schemas import as_shape
from farm_notebook.types import ModelRef


class City(BaseModel):
    name: str
    population: int


class Trip(BaseModel):
    day: date
    city: City


class Country(BaseModel):
    name: str
    cities: list[City]


ROME, OSLO = City(name="Rome", population=3), City(name="Oslo", population=1)


def final(schema: Any, value: Any) -> dict[str, Any]:
    text = value if isinstance(value, str) else json.dumps(value)
    reply = Reply(text, ModelRef("scripted", "echo"), "stop")
    return StructuredFormat(as_shape(schema)).final(reply)


def table_of(markdown: str) -> str:
    return str(MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown))


def test_an_object_is_shown_as_json_with_the_footer() -> None:
    data = final(City, {"name": "Rome", "population": 3})
    assert data["text/markdown"] == (
        '```json\n{\n  "name": "Rome",\n  "population": 3\n}\n```\n\n<small>scripted:echo</small>'
    )
    assert data["text/plain"].startswith('{\n  "name": "Rome"')


def test_a_list_of_flat_objects_is_shown_as_a_table() -> None:
    data = final(list[City], {"items": [ROME.model_dump(), OSLO.model_dump()]})
    page = table_of(data["text/markdown"])
    assert page.count("<tr>") == 3
    assert "<td>Oslo</td>" in page
    assert "scripted:echo" in page


def test_a_list_of_deep_objects_is_shown_as_json() -> None:
    data = final(list[Trip], [{"day": "2026-05-01", "city": ROME.model_dump()}])
    assert data["text/markdown"].startswith("```json\n[")


def test_of_a_long_table_the_first_rows_are_shown_and_how_many_more_there_are() -> None:
    markdown = final(list[City], [ROME.model_dump()] * (MOST_ROWS + 5))["text/markdown"]
    assert table_of(markdown).count("<tr>") == MOST_ROWS + 1
    assert "and 5 more" in markdown


def test_what_does_not_fit_is_shown_as_it_stands() -> None:
    data = final(City, "I do not know.")
    assert data["text/markdown"].startswith("```\nI do not know.\n```")


@pytest.mark.parametrize(
    "payload", ["<script>alert(1)</script>", "a|b", "![x](http://e.example)", "```\n<b>"]
)
def test_a_hostile_value_is_shown_as_text(payload: str) -> None:
    for value in ([{"name": payload, "population": 1}], [{"name": f"`{payload}", "population": 1}]):
        page = table_of(final(list[City], value)["text/markdown"])
        assert page.count("<td>") == 2
        assert not {"<script>", "<img", "<b>"} & set(page.split())
    page = table_of(final(City, {"name": payload, "population": 1})["text/markdown"])
    assert "<script>" not in page
    assert "<img" not in page


@pytest.mark.parametrize(
    ("schema", "value", "plain"),
    [
        (City, ROME, {"name": "Rome", "population": 3}),
        (Trip, Trip(day=date(2026, 5, 1), city=ROME), {"day": "2026-05-01", "city": ROME.model_dump()}),
    ],
)
def test_a_value_is_given_as_it_is_or_as_json(schema: Any, value: Any, plain: Any) -> None:
    shape = as_shape(schema)
    assert as_wanted(value, shape, "object") is value
    assert as_wanted(value, shape, "json") == plain


@pytest.mark.parametrize(
    ("schema", "value", "records"),
    [
        (list[City], [ROME, OSLO], [{"name": "Rome", "population": 3}, {"name": "Oslo", "population": 1}]),
        (Country, Country(name="I", cities=[ROME]), [{"name": "Rome", "population": 3}]),
        (City, ROME, [{"name": "Rome", "population": 3}]),
        (
            list[Trip],
            [Trip(day=date(2026, 5, 1), city=ROME)],
            [{"day": "2026-05-01", "city.name": "Rome", "city.population": 3}],
        ),
        (list[int], [1, 2], [{"value": 1}, {"value": 2}]),
        (int, 3, [{"value": 3}]),
    ],
)
def test_a_data_frame_has_a_row_for_each_object(schema: Any, value: Any, records: list[Any]) -> None:
    frame = as_wanted(value, as_shape(schema), "df")
    assert isinstance(frame, pd.DataFrame)
    assert frame.to_dict("records") == records


@pytest.mark.parametrize(
    ("schema", "value", "columns"),
    [
        (list[City], [], ["name", "population"]),
        (Country, Country(name="I", cities=[]), ["name", "population"]),
        (list[int], [], ["value"]),
        ({"type": "array", "items": {"properties": {"x": {}}}}, [], ["x"]),
        ({"type": "array"}, [], ["value"]),
    ],
)
def test_a_data_frame_without_rows_has_its_columns(schema: Any, value: Any, columns: list[str]) -> None:
    frame = as_wanted(value, as_shape(schema), "df")
    assert isinstance(frame, pd.DataFrame)
    assert (len(frame), list(frame.columns)) == (0, columns)


def test_without_pandas_the_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    check_wanted("object")
    with pytest.raises(MissingExtraError, match="pip install pandas"):
        check_wanted("df")
