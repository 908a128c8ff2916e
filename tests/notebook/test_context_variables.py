"""What is told of a variable, and which variables a text mentions."""

from __future__ import annotations

import fractions
import functools
import json
import math
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from farm_notebook.errors import InvalidRequestError
from farm_notebook.notebook.context.mentioned import imports_of, names_in_code, names_in_prose
from farm_notebook.notebook.context.variables import describe, read_variables

pd: Any = pytest.importorskip("pandas")
np: Any = pytest.importorskip("numpy")

FRAME = pd.DataFrame({"price": [1.5, 2.5], "city": ["Rome", "Oslo"]})


def area(radius: float) -> float:
    """Of a circle."""
    return math.pi * radius**2


class Plain:
    def __init__(self) -> None:
        self.rate = 0.5
        self.frame = FRAME
        self._secret = "hidden"


class Hostile:
    def __len__(self) -> int:
        raise RuntimeError("no")

    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_a_frame_is_told_by_its_columns_their_types_and_a_few_rows() -> None:
    text = describe(FRAME)
    assert text.startswith("DataFrame, 2 rows x 2 columns\ncolumns: price (float64), city (")
    assert "Rome" in text


@pytest.mark.parametrize(
    ("value", "start"),
    [
        ([1, 2, 3], "list, 3 items\n[1, 2, 3]"),
        ({"a": 1}, "dict, 1 items\n{'a': 1}"),
        ("some words", "str, 10 characters\nsome words"),
        (3.5, "float\n3.5"),
        (None, "NoneType\nNone"),
        (pd, f"module pandas, version {pd.__version__}"),
        (math, "module math"),
        (np.zeros((2, 3)), "ndarray, shape (2, 3), dtype float64\n"),
        (FRAME["price"], "Series 'price', 2 rows, dtype float64\n"),
        (ValueError("bad"), "ValueError: bad"),
    ],
)
def test_a_value_is_told_by_what_and_how_much_it_is(value: object, start: str) -> None:
    assert describe(value).startswith(start)


def test_a_function_of_the_user_is_told_by_its_source() -> None:
    assert describe(area) == (
        'def area(radius: float) -> float:\n    """Of a circle."""\n    return math.pi * radius**2'
    )


def test_a_function_of_a_library_is_told_by_its_signature_and_its_words() -> None:
    text = describe(functools.reduce)
    assert text.startswith("function _functools.reduce")
    assert "cumulatively" in describe(functools.reduce)
    assert describe(json.dumps).startswith("function json.dumps(obj, *, skipkeys=False")
    assert describe(json.JSONEncoder).startswith("class json.encoder.JSONEncoder(*, skipkeys=False")
    assert len(describe(pd.read_csv)) < 4_000


def test_an_object_without_a_text_is_told_by_its_attributes() -> None:
    text = describe(Plain())
    assert text.endswith("Plain object\n  .rate: 0.5\n  .frame: DataFrame, 2 rows x 2 columns")
    assert "hidden" not in text


def test_what_cannot_be_told_says_so() -> None:
    assert describe(Hostile()) == "<Hostile: its repr failed>"


NAMESPACE: Mapping[str, object] = {
    "df": FRAME,
    "cfg": SimpleNamespace(rate=2),
    "rows": [{"a": 5}],
    "pd": pd,
    "a": 1,
    "n": 3,
    "In": [],
    "_hidden": 1,
}


def test_a_variable_may_go_on_with_attributes_and_items() -> None:
    pieces = read_variables(["df.columns", 'rows[0]["a"]', "cfg.rate", "cfg.rate"], NAMESPACE)
    assert [piece.label for piece in pieces] == ["df.columns", 'rows[0]["a"]', "cfg.rate"]
    assert pieces[1].text == "int\n5"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("dff", "'dff' is no variable of this notebook. Did you mean df?"),
        ("zzz", "'zzz' is no variable of this notebook. Valid: a, cfg, df, n, pd, rows."),
        ("cfg.speed", "'cfg.speed' is nothing of this notebook: 'cfg.speed' cannot be read: AttributeError"),
        ("rows[7]", "'rows[7]' is nothing of this notebook: rows has no '[7]'"),
        ("df + 1", "'df + 1' is no variable"),
        ("__builtins__", "is no variable"),
    ],
)
def test_what_names_nothing_is_quoted_with_what_is_near(name: str, words: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read_variables([name], NAMESPACE)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Plot df by price with pd, a line for each row", ["df", "pd"]),
        ("use `a` and {n}", ["a", "n"]),
        ("pd.concat([df, df])", ["df", "pd"]),
        ("my.df is not df's", ["df"]),
        ("In _hidden words", []),
    ],
)
def test_a_prompt_mentions_variables_but_english_is_english(text: str, names: list[str]) -> None:
    assert names_in_prose(text, NAMESPACE, hidden={"In"}) == names


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("x = df.price + n  # rows\nprint('cfg')", ["df", "n"]),
        ("def f(q):\n    return cfg.rate", ["cfg"]),
        ("for a in rows: (", ["a", "rows"]),  # it does not compile
    ],
)
def test_code_uses_the_variables_it_names_and_no_words(source: str, names: list[str]) -> None:
    assert names_in_code(source, NAMESPACE) == names


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value, value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        list(range(100_000)),
        dict.fromkeys(range(100_000), "x"),
        set(range(100_000)),
        [["word"] * 50_000] * 3,
        nested(60),
        ["x" * 200_000] * 9,
    ],
    ids=["list", "dict", "set", "rows", "deep", "texts"],
)
def test_of_a_large_value_a_few_items_are_told(value: Any) -> None:
    text = describe(value)
    assert text.startswith(f"{type(value).__name__}, {len(value):,} items\n")
    assert "..." in text
    assert len(text) < 40_000


def test_a_property_of_a_value_is_not_asked_for_to_see_what_it_is() -> None:
    class Lazy:
        @property
        def columns(self) -> list[str]:
            raise AssertionError("this would take minutes")

        def __repr__(self) -> str:
            return "Lazy plan"

    assert describe(Lazy()) == "Lazy plan"


def test_of_a_very_long_text_the_first_part_is_told() -> None:
    text = describe("x" * 1_000_000)
    assert text.startswith("str, 1,000,000 characters\nxxx")
    assert text.endswith("... (the first 400,000)")


def run_as_notebook(source: str) -> object:
    """The one function that a cell defines."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    exec(source, namespace)
    return list(namespace.values())[-1]


def test_what_is_imported_is_told_as_it_would_be_imported() -> None:
    namespace = {
        "pd": pd,
        "fractions": fractions,
        "dumps": json.dumps,
        "loads": json.loads,
        "sqrt": math.sqrt,
        "own": run_as_notebook("def own(): ..."),
        "int": int,
        "alias": json.dump,
        "df": FRAME,
        "exit": math.exp,
        "_private": json,
    }
    assert imports_of(namespace, hidden={"exit"}) == [
        f"import pandas as pd  # {pd.__version__}",
        "import fractions",
        "from json import dumps, loads",
        "from math import sqrt",
    ]
