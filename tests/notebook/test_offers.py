"""Which names of a notebook fit an argument."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pytest
from PIL import Image

from farm_notebook.notebook.line import NameKind
from farm_notebook.notebook.offers import attribute_names, column_names, names_of_files, names_of_values


@dataclasses.dataclass
class City:
    name: str


def add(a: int, b: int) -> int:
    return a + b


NAMESPACE: dict[str, Any] = {
    "In": [],
    "Out": {},
    "_": 1,
    "_private": [],
    "City": City,
    "add": add,
    "math": math,
    "sqrt": math.sqrt,
    "city": City("Paris"),
    "docs": ["one", "two"],
    "pair": ("one", "two"),
    "by_name": {"a": "one"},
    "frame": pd.DataFrame({"review": ["good"], "stars": [5], 3: [1]}),
    "column": pd.Series(["good"]),
    "array": np.array(["one"]),
    "schema": {"type": "object", "properties": {}},
    "figure": matplotlib.figure.Figure(),
    "picture": Image.new("RGB", (1, 1)),
    "text": "Hello",
}


@pytest.mark.parametrize(
    ("kind", "fitting"),
    [
        ("callable", "add sqrt"),
        ("class", "City schema"),
        ("image", "figure picture"),
        ("texts", "array by_name column docs frame pair schema"),
        (
            "variable",
            "City add array by_name city column docs figure frame pair picture schema sqrt text",
        ),
        ("model", ""),
    ],
)
def test_a_variable_is_offered_where_it_fits(kind: NameKind, fitting: str) -> None:
    assert names_of_values(kind, NAMESPACE) == fitting.split()


def test_what_is_typed_so_far_narrows_the_names() -> None:
    assert names_of_values("variable", NAMESPACE, "ci") == ["city"]
    assert names_of_values("texts", NAMESPACE, "_p") == ["_private"], "private names, where one is begun"


def test_columns_are_those_called_by_texts() -> None:
    assert column_names(NAMESPACE["frame"]) == ["review", "stars"]
    assert column_names(NAMESPACE["docs"]) == column_names(None) == []


def test_attributes_are_public_ones_and_a_value_that_tells_none_has_none() -> None:
    class Mute:
        def __dir__(self) -> Any:
            raise RuntimeError

    assert "upper" in attribute_names("text")
    assert not any(name.startswith("_") for name in attribute_names("text"))
    assert attribute_names(Mute()) == attribute_names(None) == []


def test_files_are_completed_as_they_would_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cat.PNG", "notes.md", ".hidden.md"):
        (tmp_path / name).touch()
    (tmp_path / "nested").mkdir()
    (tmp_path / "nested" / "deep.md").touch()
    monkeypatch.chdir(tmp_path)
    assert names_of_files("") == ["nested/", "cat.PNG", "notes.md"]
    assert names_of_files("n") == ["nested/", "notes.md"]
    assert names_of_files("nested/") == ["nested/deep.md"]
    assert names_of_files(f"{tmp_path}/no") == [f"{tmp_path}/notes.md"]
    assert names_of_files("", (".png",)) == ["nested/", "cat.PNG"]
    assert names_of_files(".h") == [".hidden.md"]
    assert names_of_files("nowhere/at/all") == []
    monkeypatch.setenv("HOME", str(tmp_path))
    assert names_of_files("~/no") == ["~/notes.md"]
