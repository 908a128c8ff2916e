"""A conversation for readers: nothing in it acts, and nothing of it is lost."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from farm_notebook.errors import InvalidRequestError
from farm_notebook.reply import Reply
from farm_notebook.threads import Exchange
from farm_notebook.types import ChatMessage, Image, ModelRef
from farm_notebook.widgets.chat import transcript
from farm_notebook.widgets.chat.export import write_notebook
from farm_notebook.widgets.chat.transcript import as_cells, as_html, as_markdown, as_notebook, as_text

ATTACK = '<img src=x onerror="alert(1)"><script>alert(1)</script>[x](javascript:alert(1))'
CODE = "Look:\n\n```python\nx = 1\n```\n\nDone."


def exchange(prompt: str, answer: str, *, images: int = 0) -> Exchange:
    picture = Image(b"\x89PNG\r\n\x1a\n", "image/png")
    said = ChatMessage("user", prompt, (picture,) * images)
    return Exchange(said, Reply(answer, ModelRef("toy", "m"), "stop"))


def test_the_html_has_questions_answers_and_figures() -> None:
    told = as_html([exchange("a < b?\nreally", "**Yes**\n\n| a |\n|---|\n| 1 |", images=2)])
    assert "[2 pictures]<br>a &lt; b?<br>really" in told
    assert "<strong>Yes</strong>" in told
    assert "<td>1</td>" in told
    assert "<small>toy:m</small>" in told


def test_an_attack_is_text_in_the_html() -> None:
    told = as_html([exchange(ATTACK, f"{ATTACK}\n\n{ATTACK}")])
    assert "<img" not in told
    assert "<script" not in told
    assert "href" not in told


def test_an_attack_is_text_in_cells() -> None:
    cells = as_cells([exchange(ATTACK, ATTACK)])
    notebook = as_notebook([exchange(ATTACK, ATTACK)])
    for source in (*cells, *(cell["source"] for cell in notebook["cells"])):
        assert "<img" not in source
        assert "](javascript" not in source


def test_code_becomes_code_cells_that_were_not_run() -> None:
    notebook = as_notebook([exchange("how?", CODE)])
    nbformat.validate(notebook)
    assert [(cell["cell_type"], cell["source"]) for cell in notebook["cells"]] == [
        ("markdown", "> **You:** how?"),
        ("markdown", "Look:"),
        ("code", "x = 1"),
        ("markdown", "Done."),
        ("markdown", "*toy:m*"),
    ]


def test_the_markdown_is_what_was_written() -> None:
    told = as_markdown([exchange("one\ntwo", CODE), exchange("three", "```\nopen")])
    assert told == f"> **You:** one\n> two\n\n{CODE}\n\n---\n\n> **You:** three\n\n```\nopen\n```"


def test_a_terminal_gets_no_control_characters() -> None:
    assert "\x1b" not in as_text([exchange("\x1b[2J", "\x1b]0;x\x07")])


def test_an_empty_conversation_says_so() -> None:
    assert as_text([]) == "Nothing was said yet."
    assert as_html([]) == "<p>Nothing was said yet.</p>"


def test_of_a_long_conversation_the_latest_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript, "LONGEST_SAVED", 100)
    told = as_text([exchange(f"question {n}", "x" * 60) for n in range(10)])
    assert told.startswith("(8 earlier questions are left out.)")
    assert "question 8" in told
    assert "question 7" not in told


def test_of_many_formulas_the_latest_are_typeset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript, "MOST_FORMULAS", 3)
    told = as_html([exchange(f"question {n}", "$a$ and $$b$$") for n in range(3)])
    *ignored, typeset = told.split("<hr>")
    assert all('class="mathjax_ignore' in each for each in ignored)
    assert "mathjax_ignore" not in typeset


def test_one_answer_is_saved_however_long_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript, "LONGEST_SAVED", 100)
    assert "left out" not in as_text([exchange("question", "x" * 1000)])


@pytest.mark.parametrize(
    ("thread", "name"),
    [("notebook", "chat-notebook"), ("../../etc", "chat-etc"), ("a b/c", "chat-a-b-c"), ("…", "chat-thread")],
)
def test_a_file_is_named_after_the_thread_and_stays_in_the_folder(
    tmp_path: Path, thread: str, name: str
) -> None:
    assert write_notebook(thread, [exchange("a", "b")], tmp_path) == tmp_path / f"{name}.ipynb"


def test_a_file_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    first = tmp_path / "chat-a.ipynb"
    first.write_text("mine")
    assert write_notebook("a", [exchange("a", "b")], tmp_path).name == "chat-a-2.ipynb"
    assert first.read_text() == "mine"


def test_a_folder_that_cannot_be_written_to_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="cannot be written"):
        write_notebook("a", [exchange("a", "b")], tmp_path / "nowhere")
