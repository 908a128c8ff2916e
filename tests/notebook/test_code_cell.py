"""A model's answer becomes a cell: which code, in which language, and what the user should know of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.inputtransformer2 import TransformerManager

from farm_notebook.notebook.code_cell import CodeCell, cell_of


def fenced(code: str, language: str = "python") -> str:
    return f"```{language}\n{code}\n```\n"


def as_python(source: str) -> str:
    manager: Any = TransformerManager
    return str(manager().transform_cell(source))


@pytest.mark.parametrize(
    "language", ["python", "py", "Python", "python3", "ipython", "", "python title=a.py"]
)
def test_a_block_of_python_is_the_cell(language: str) -> None:
    assert cell_of(f"Here:\n\n{fenced('x = 1', language)}\nDone.") == CodeCell("x = 1")


def test_several_blocks_are_joined() -> None:
    answer = f"First\n\n{fenced('x = 1')}\nthen\n\n{fenced('y = 2')}"
    assert cell_of(answer) == CodeCell("x = 1\n\ny = 2")


def test_an_answer_without_a_block_is_code_as_it_stands() -> None:
    assert cell_of("\nx = 1\n") == CodeCell("x = 1")


def test_words_are_no_code_where_a_block_is_needed() -> None:
    assert cell_of("Nothing is wrong.", needs_fence=True) == CodeCell("", remark="no code in the answer")


def test_a_block_that_was_not_closed_is_code() -> None:
    assert cell_of("```python\nx = 1\n") == CodeCell("x = 1")


def test_the_last_block_is_the_code_where_those_before_it_are_quoted() -> None:
    blocks = ("It fails:", fenced("1 / 0"), "better:", fenced("1 / 2"), "It prints", fenced("0.5", "text"))
    answer = "\n\n".join(blocks)
    assert cell_of(answer, takes_last=True) == CodeCell("1 / 2")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("if x = 3:\n    pass", "not valid Python: invalid syntax. Maybe you meant '==' or ':='"),
        ("x = (1,", "not valid Python: '(' was never closed, line 1"),
        ("Sure, I can help!", "not valid Python: invalid syntax, line 1"),
    ],
)
def test_what_is_no_python_is_put_there_all_the_same_and_said(code: str, words: str) -> None:
    cell = cell_of(code)
    assert cell.source == code
    assert words in cell.remark


@pytest.mark.parametrize(
    "code", ["%pip install x\nimport x", "await f()", "!ls\nfiles = !ls", ">>> x = 1", "%%time\nf()", "x?"]
)
def test_what_ipython_knows_besides_python_is_valid(code: str) -> None:
    assert cell_of(fenced(code), as_python) == CodeCell(code)


def test_commands_for_a_shell_among_python_become_lines_of_a_cell() -> None:
    answer = fenced("$ pip install pandas\n# then\nls -l", "bash") + "\n" + fenced("import pandas")
    assert cell_of(answer, as_python) == CodeCell("%pip install pandas\n!ls -l\n\nimport pandas")


@pytest.mark.parametrize(
    ("language", "code", "cell"),
    [
        ("bash", "ls -l", CodeCell("%%bash\nls -l", "bash")),
        ("console", "$ ls\n$ pwd", CodeCell("%%bash\nls\npwd", "bash")),
        ("html", "<b>x</b>", CodeCell("%%html\n<b>x</b>", "html")),
        ("js", "alert(1)", CodeCell("%%javascript\nalert(1)", "javascript")),
        ("sql", "SELECT 1", CodeCell("SELECT 1", "sql", "sql, not Python")),
        ("r", "x <- 1", CodeCell("x <- 1", "r", "r, not Python")),
    ],
)
def test_another_language_becomes_a_cell_of_its_magic_or_is_said(
    language: str, code: str, cell: CodeCell
) -> None:
    assert cell_of(fenced(code, language)) == cell


def test_other_languages_beside_python_are_left_out_and_said() -> None:
    answer = fenced("SELECT 1", "sql") + "\n" + fenced("x = 1") + "\n" + fenced("1", "text")
    assert cell_of(answer) == CodeCell("x = 1", remark="left out: sql")


@given(st.text())
def test_any_answer_makes_a_cell(answer: str) -> None:
    cell_of(answer, as_python)
    cell_of(answer, needs_fence=True, takes_last=True)


def test_what_a_terminal_would_obey_is_taken_out_of_a_cell() -> None:
    assert cell_of(fenced("x = 1\x1b\x08\nif x:\n\ty = 2")) == CodeCell("x = 1\nif x:\n\ty = 2")


def test_characters_that_reorder_what_is_shown_are_told_of() -> None:
    cell = cell_of(fenced("# \u202e } if admin"))
    assert cell.remark.startswith("careful: it holds characters that reorder what is shown")


def test_beside_python_a_block_without_a_language_is_what_it_prints() -> None:
    answer = "\n".join((fenced("print(4)"), "Output:", fenced("4", "")))
    assert cell_of(answer) == cell_of(answer, takes_last=True) == CodeCell("print(4)")
    assert cell_of(fenced("x = 1", "") + "\n" + fenced("y = 2", "")) == CodeCell("x = 1\n\ny = 2")
