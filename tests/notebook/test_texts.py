"""The texts of a value, each with where it stands."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pytest

from farm_notebook.errors import InvalidRequestError
from farm_notebook.notebook.texts import read_texts, texts_of

FRAME = pd.DataFrame({"text": ["a", None, "b"], "stars": [5, 4, 3]}, index=["x", "y", "z"])


@pytest.mark.parametrize(
    ("value", "texts", "labels"),
    [
        (["a", "b"], ("a", "b"), (0, 1)),
        (("a", "b"), ("a", "b"), (0, 1)),
        ({"k": "a", 7: "b"}, ("a", "b"), ("k", 7)),
        ("one text\nof two lines", ("one text\nof two lines",), (0,)),
        (pd.Series(["a", "b"], index=[10, 20]), ("a", "b"), (10, 20)),
        (pd.Index(["a", "b"]), ("a", "b"), (0, 1)),
        (pd.Series(["a", "b"], dtype="category"), ("a", "b"), (0, 1)),
        (np.array(["a", "b"]), ("a", "b"), (0, 1)),
        ([1, 2.5, "a"], ("1", "2.5", "a"), (0, 1, 2)),
        (FRAME, ("a", "b"), ("x", "z")),
    ],
)
def test_texts_come_with_what_they_are_called(value: Any, texts: tuple[str, ...], labels: Any) -> None:
    found = texts_of(value)
    assert (found.texts, found.labels) == (texts, labels)


@pytest.mark.parametrize(
    "missing", [None, "", "  \n", float("nan"), np.nan, pd.NA, pd.NaT, np.float32("nan")]
)
def test_what_is_empty_or_missing_is_told_and_left_out(missing: Any) -> None:
    found = texts_of(["a", missing, "b"])
    assert (found.texts, found.places, found.empty) == (("a", "b"), (0, 2), (1,))
    column = texts_of(pd.Series(["a", missing, "b"], dtype=object, index=list("xyz")))
    assert (column.places, column.labels, column.empty) == ((0, 2), ("x", "z"), ("y",))


def test_a_column_keeps_its_frame() -> None:
    found = texts_of(FRAME, "df", "stars")
    assert found.texts == ("5", "4", "3")
    assert found.frame is FRAME
    assert texts_of(["a"]).frame is None


@pytest.mark.parametrize(
    ("value", "column", "words"),
    [
        (["a", {"b": 1}], None, r"docs\[1\] is a dict, and no text"),
        (np.zeros((2, 2)), None, r"docs\[0\] is a list, and no text"),
        ({"a", "b"}, None, "docs is a set, and holds no texts in an order"),
        (iter(["a"]), None, r"`list\(docs\)` may be one"),
        (b"bytes", None, "docs is a bytes"),
        (42, None, "docs is an int"),
        (None, None, "docs is a NoneType"),
        ([], None, "docs holds no text."),
        (["", None], None, "docs holds no text: all are empty"),
        (["a"], "text", "--column 'text': docs is no data frame, but a list"),
        (FRAME, "tetx", "docs has no column 'tetx'. Did you mean text?"),
        (FRAME[["stars"]], None, "name one of its columns, as in --column NAME. Valid: stars."),
        (pd.DataFrame({"a": ["x"], "b": ["y"]}), None, "Valid: a, b."),
        (pd.DataFrame({"a": [["x"]]}), "a", r"docs\['a'\]\[0\] is a list"),
    ],
)
def test_what_holds_no_texts_is_told_by_its_kind(value: Any, column: str | None, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        texts_of(value, "docs", column)


def test_a_name_is_a_variable_or_what_it_holds_or_else_a_file(tmp_path: Path) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("first\n\nthird\n", encoding="utf-8")
    namespace = {"docs": ["a"], "page": SimpleNamespace(rows=[["b"]])}
    assert read_texts("docs", namespace).texts == ("a",)
    assert read_texts("page.rows[0]", namespace).texts == ("b",)
    found = read_texts(str(lines), namespace)
    assert (found.texts, found.labels, found.empty) == (("first", "third"), (0, 2), (1,))
    with pytest.raises(InvalidRequestError, match=r"is neither a variable nor a file\. Did you mean docs\?"):
        read_texts("dosc", namespace)
    with pytest.raises(InvalidRequestError, match="A list, a column or a dict of texts would do"):
        read_texts("dosc", {})
    with pytest.raises(InvalidRequestError, match="whose lines are the texts"):
        read_texts(str(lines), namespace, "text")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidRequestError, match=r"x.bin is no file of text \(UTF-8\)"):
        read_texts(str(tmp_path / "x.bin"), {})


class Column:
    """As polars has it: no index, and ``to_list``."""

    def to_list(self) -> list[str | None]:
        return ["a", None]


def test_a_column_of_another_library_is_read_by_what_it_can_do() -> None:
    assert texts_of(Column()).texts == ("a",)
    assert "polars" not in sys.modules
