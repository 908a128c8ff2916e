"""A table is text in a terminal, Markdown in a notebook, and a sequence of values in Python."""

from __future__ import annotations

import re
import sys

import pytest
from markdown_it import MarkdownIt

from farm_notebook.notebook.tables import Table

HOSTILE = "<img src=x>\x1b[2J\n| a | `b` *c* [d](e:f)"


def test_columns_are_aligned_and_a_note_stands_below() -> None:
    table = Table(("name", "日本"), (("a", "1"), ("日本語", "2")), ("A", "B"), "And more.")
    assert str(table).splitlines() == ["name    日本", "a       1", "日本語  2", "", "And more."]
    assert repr(table) == str(table)


def test_it_is_a_sequence_of_its_values() -> None:
    table = Table(("n",), (("a",), ("b",), ("c",)), (1, 2, 3))
    assert (list(table), len(table), table[0], table[1:]) == ([1, 2, 3], 3, 1, (2, 3))
    assert 2 in table


def test_a_table_without_rows_still_has_its_columns() -> None:
    table: Table[int] = Table(("name", "size"), ())
    assert str(table) == "name  size"
    assert table._repr_mimebundle_()["text/markdown"] == "| name | size |\n|---|---|"


def test_what_a_server_said_is_text_in_one_cell() -> None:
    table: Table[int] = Table(("name", "state"), ((HOSTILE, "x"),), note=HOSTILE)
    data = table._repr_mimebundle_()
    page = MarkdownIt("commonmark", {"html": True}).enable("table").render(data["text/markdown"])
    assert set(re.findall(r"<(\w+)", page)) <= {"table", "thead", "tbody", "tr", "th", "td", "p", "small"}
    assert page.count("<tr>") == 2
    assert page.count("<td>") == 2
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", data["text/plain"])
    assert "<img src=x>[2J | a | `b` *c* [d](e:f)" in data["text/plain"]


def test_a_terminal_gets_lines_that_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    table: Table[int] = Table(("name", "state"), (("a", "word " * 40),))
    assert max(map(len, str(table).splitlines())) > 100
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    lines = str(table).splitlines()
    assert max(map(len, lines)) <= 50
    assert sum(line.count("word") for line in lines) == 40
