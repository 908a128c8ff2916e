"""A model's call is checked and made; whatever is wrong is told to the model in a line."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd  # type: ignore[import-untyped]
import pytest
from pydantic import BaseModel

from farm_notebook import loop
from farm_notebook.errors import InvalidRequestError
from farm_notebook.farm.toolbox import LONGEST_PROBLEM, LONGEST_RESULT, MOST_ROWS, Toolbox
from farm_notebook.tools import as_tool
from farm_notebook.types import ToolCall, ToolResult


class City(BaseModel):
    name: str
    founded: datetime.date


@dataclass
class Point:
    x: float
    y: float


def add(a: int, b: int = 1) -> int:
    """Add."""
    return a + b


async def later(a: int) -> int:
    return a * 2


def visit(city: City, points: list[Point]) -> str:
    assert isinstance(city, City)
    assert all(isinstance(point, Point) for point in points)
    return f"{city.name} {city.founded.year} {points[0].x}"


def any_names(**named: int) -> dict[str, int]:
    return named


class Counter:
    def __init__(self, start: int) -> None:
        self.start = start

    def plus(self, n: int) -> int:
        """Count on."""
        return self.start + n

    def __call__(self, n: int) -> int:
        """Count back."""
        return self.start - n


def called(source: Callable[..., Any], arguments: str, **options: Any) -> ToolResult:
    toolbox = Toolbox([source], **options)
    return loop.run_blocking(toolbox.call(ToolCall("1", as_tool(source).name, arguments)))


@pytest.mark.parametrize(
    ("source", "arguments", "text"),
    [
        (add, '{"a": 1, "b": 2}', "3"),
        (add, '{"a": "41"}', "42"),
        (later, '{"a": 2}', "4"),
        (Counter(10).plus, '{"n": 5}', "15"),
        (Counter(10), '{"n": 3}', "7"),
        (functools.partial(add, b=5), '{"a": 1}', "6"),
        (any_names, '{"x": 1}', '{"x":1}'),
        (Point, '{"x": 1, "y": 2}', '{"x":1.0,"y":2.0}'),
        (City, '{"name": "Rome", "founded": "0753-04-21"}', '{"name":"Rome","founded":"0753-04-21"}'),
        (
            visit,
            '{"city": {"name": "Rome", "founded": "0753-04-21"}, "points": [{"x": 1, "y": 2}]}',
            "Rome 753 1.0",
        ),
    ],
)
def test_a_call_is_made_with_what_its_annotations_make_of_the_arguments(
    source: Callable[..., Any], arguments: str, text: str
) -> None:
    result = called(source, arguments)
    assert (result.text, result.is_error) == (text, False)


def test_a_function_without_parameters_may_be_called_with_nothing() -> None:
    def now() -> str:
        return "noon"

    assert called(now, "").text == "noon"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ('{"a": "many"}', "a: Input should be a valid integer"),
        ("{}", "a: Missing required argument."),
        ('{"a": 1, "c": 2}', "c: Unexpected keyword argument (it is 2)."),
        ('{"a": 1', "The arguments are no JSON object"),
        ("[1]", "no JSON object"),
    ],
)
def test_arguments_that_do_not_fit_are_told_and_nothing_is_called(arguments: str, said: str) -> None:
    result = called(add, arguments)
    assert said in result.text
    assert "\n" not in result.text
    assert (result.is_error, result.took_s) == (True, 0.0)


def test_an_unknown_tool_is_told_the_known_ones() -> None:
    result = loop.run_blocking(Toolbox([add, later]).call(ToolCall("1", "multiply", "{}")))
    assert (result.text, result.is_error) == ("There is no tool 'multiply'. Valid: add, later.", True)


def test_what_a_function_raises_is_told_in_one_line() -> None:
    def fail() -> None:
        raise ValueError("no such row\nwith a long story")

    result = called(fail, "{}")
    assert (result.text, result.is_error) == ("ValueError: no such row", True)


def test_an_error_is_told_without_secrets_and_not_at_length() -> None:
    def fail() -> None:
        raise RuntimeError(f"401 for sk-secret {'x' * 9999}")

    text = called(fail, "{}", redact=lambda text: text.replace("sk-secret", "***")).text
    assert text.startswith("RuntimeError: 401 for *** xxx")
    assert len(text) < LONGEST_PROBLEM + 100


def test_an_interrupt_is_no_error_of_the_function() -> None:
    async def stop() -> None:
        raise SystemExit

    with pytest.raises(SystemExit):
        called(stop, "{}")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        (None, "null"),
        ({"when": datetime.date(2026, 5, 1)}, '{"when":"2026-05-01"}'),
        ([Point(1.5, 2)], '[{"x":1.5,"y":2}]'),
        (float("nan"), "NaN"),
        (pd.DataFrame({"a": [1, 2], "b": ["x", None]}), '[{"a":1,"b":"x"},{"a":2,"b":null}]'),
        (pd.Series([3, 1], ["x", "y"], name="n"), '[{"index":"x","n":3},{"index":"y","n":1}]'),
        (pd.Series([1, 2]), "[1,2]"),
        ({"mean": pd.Series([1, 2]).mean(), "n": pd.Series([1, 2]).sum()}, '{"mean":1.5,"n":3}'),
        (pd.Series([1, 2]).to_numpy(), "[1,2]"),
    ],
)
def test_a_result_is_told_as_text_as_json_or_as_records(value: object, text: str) -> None:
    assert called(lambda_of(value), "{}").text == text


def lambda_of(value: object) -> Callable[[], object]:
    def give() -> object:
        return value

    return give


def test_of_a_long_table_the_first_rows_are_told_and_how_many_there_are() -> None:
    text = called(lambda_of(pd.DataFrame({"a": range(1_000)})), "{}").text
    assert text.count("{") == MOST_ROWS
    assert text.endswith("(1,000 rows; these are the first 200)")


def test_what_json_cannot_say_is_rendered() -> None:
    assert called(lambda_of(object()), "{}", render=lambda value: type(value).__name__).text == "object"


def test_a_long_result_is_cut_and_half_characters_are_replaced() -> None:
    text = called(lambda_of("x" * 30_000), "{}").text
    assert text == f"{'x' * LONGEST_RESULT}… (10,000 more characters)"
    assert called(lambda_of("a\ud800"), "{}").text == "a?"


def test_a_refused_call_is_told_and_not_made() -> None:
    asked: list[ToolCall] = []

    def never() -> None:
        raise AssertionError("called")

    async def refuse(call: ToolCall) -> bool:
        asked.append(call)
        return False

    call = ToolCall("1", "never", "{}")
    result = loop.run_blocking(Toolbox([never]).call(call, refuse))
    assert (asked, result.text, result.is_error) == ([call], "The user does not allow this call.", True)


def test_nobody_is_asked_about_a_call_that_cannot_be_made() -> None:
    def ask(_: ToolCall) -> bool:
        raise AssertionError("asked")

    assert loop.run_blocking(Toolbox([add]).call(ToolCall("1", "add", "{}"), ask)).is_error


def test_what_is_only_described_cannot_be_called() -> None:
    with pytest.raises(InvalidRequestError, match=r"'add' is described, but there is no function"):
        Toolbox([as_tool(add)])
