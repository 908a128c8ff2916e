"""Which files are put before a prompt, and how their bytes become text."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm_notebook.errors import InvalidRequestError
from farm_notebook.notebook.context import files
from farm_notebook.notebook.context.encodings import as_string
from farm_notebook.notebook.context.files import read_files

UMLAUTS = "Grüße aus Köln: 5 €\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def text_of(name: str) -> str:
    (piece,) = read_files([name])
    return piece.text


def message_of(*names: str) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        read_files(names)
    return str(caught.value)


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be", "cp1252"]
)
def test_text_is_read_in_the_encoding_it_is_in(encoding: str, here: Path) -> None:
    (here / "a.txt").write_bytes((UMLAUTS * 20).encode(encoding))
    assert text_of("a.txt") == (UMLAUTS * 20).strip("\n")


def test_a_python_file_says_itself_which_encoding_it_is_in(here: Path) -> None:
    source = "# -*- coding: iso-8859-5 -*-\nname = 'Привет'\n"
    (here / "a.py").write_bytes(source.encode("iso-8859-5"))
    assert text_of("a.py") == source.strip("\n")


@given(st.text(st.characters(exclude_characters="\0")))
def test_utf8_is_itself(text: str) -> None:
    read = as_string(text.encode())
    if read is not None:
        assert read == text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


@given(st.binary())
def test_any_bytes_are_text_or_none(data: bytes) -> None:
    as_string(data)
    as_string(data, is_python=True)


def test_a_character_that_is_cut_at_the_end_is_left_out() -> None:
    assert as_string("naïve é".encode()[:-1]) == "naïve "


def test_line_ends_become_newlines(here: Path) -> None:
    (here / "a.txt").write_bytes(b"one\r\ntwo\rthree\n")
    assert text_of("a.txt") == "one\ntwo\nthree"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"%PDF-1.7\nplain enough", "It is a PDF"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "give it with --image"),
        (b"RIFF\x00\x01\x02\x03WEBPVP8 " + bytes(range(32)), "give it with --image"),
        (b"PK\x03\x04 a workbook", "give that with -c NAME"),
        (bytes(range(256)) * 8, "give that with -c NAME"),
    ],
)
def test_what_is_no_text_is_refused_with_what_to_do(data: bytes, words: str, here: Path) -> None:
    (here / "thing").write_bytes(data)
    message = message_of("thing")
    assert "'thing' is no text" in message
    assert words in message


def test_a_pattern_names_the_texts_in_order_and_passes_over_the_rest(here: Path) -> None:
    (here / "src" / "deep").mkdir(parents=True)
    for name in ("src/b.py", "src/a.py", "src/deep/c.py", "src/.hidden.py"):
        (here / name).write_text(f"# {name}\n")
    (here / "src" / "data.py").write_bytes(bytes(range(256)))
    labels = [piece.label for piece in read_files(["src/**/*.py", "src/a.py"])]
    assert labels == [os.path.join("src", *name.split("/")) for name in ("a.py", "b.py", "deep/c.py")]


def test_a_file_is_told_once_however_often_it_is_named(here: Path) -> None:
    (here / "a.txt").write_text("x")
    assert len(read_files(["a.txt", "./a.txt", str(here / "a.txt"), "*.txt"])) == 1


def test_a_name_with_the_characters_of_a_pattern_is_a_name_where_there_is_such_a_file(here: Path) -> None:
    (here / "a[1].txt").write_text("brackets")
    assert text_of("a[1].txt") == "brackets"


def test_a_path_may_begin_at_home(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(here))
    (here / "a.txt").write_text("at home")
    assert text_of("~/a.txt") == "at home"


def test_what_is_not_there_is_quoted_with_where_that_is(here: Path) -> None:
    assert "'gone.txt' cannot be read: No such file" in message_of("gone.txt")
    assert repr(str(here)) in message_of("gone.txt")
    assert "No file is called as --file '*.md' says" in message_of("*.md")
    assert "cannot be read" in message_of("a\0b")


def test_a_folder_and_a_device_are_refused(here: Path) -> None:
    (here / "src").mkdir()
    assert "'src' is a folder. Name a file, or a pattern" in message_of("src")
    os.mkfifo(here / "pipe")
    assert "'pipe' is no file, but a device or a pipe" in message_of("pipe")


def test_of_a_huge_file_the_first_bytes_are_read(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_BYTES", 10)
    (here / "a.txt").write_text("0123456789abcdef")
    (piece,) = read_files(["a.txt"])
    assert piece.text == "0123456789\n... (the first 10 of 16 bytes)"
    assert piece.is_cut


def test_too_many_files_are_refused(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_FILES", 2)
    for name in "abc":
        (here / f"{name}.txt").write_text(name)
    assert "names 3 files; at most 2" in message_of("*.txt")


NOTEBOOK = {
    "nbformat": 4,
    "cells": [
        {"cell_type": "markdown", "source": ["# Title\n", "Words."]},
        {
            "cell_type": "code",
            "execution_count": 3,
            "source": "1 / 0",
            "outputs": [
                {"output_type": "stream", "text": ["printed\n"]},
                {"output_type": "display_data", "data": {"text/plain": "<Figure>", "image/png": "AAAA"}},
                {"output_type": "error", "ename": "ZeroDivisionError", "evalue": "division by zero"},
            ],
        },
        {"cell_type": "code", "execution_count": None, "source": "", "outputs": []},
    ],
}


def test_a_notebook_is_read_as_its_cells(here: Path) -> None:
    (here / "a.ipynb").write_text(json.dumps(NOTEBOOK))
    assert text_of("a.ipynb") == (
        "# Title\nWords.\n\nIn[3]:\n1 / 0\n\nOut:\nprinted\n<Figure>\nZeroDivisionError: division by zero"
    )


@pytest.mark.parametrize("text", ["{}", "[1]", '{"cells": 3}', '{"cells": [{}]}', "no JSON"])
def test_what_only_is_called_a_notebook_is_read_as_text(text: str, here: Path) -> None:
    (here / "a.ipynb").write_text(text)
    assert text_of("a.ipynb") == text
