"""Which cells of a notebook are put before a prompt, and what is told of each."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from farm_notebook.errors import InvalidRequestError
from farm_notebook.notebook.context.budget import fit
from farm_notebook.notebook.context.cells import NotebookCell, chosen_cells, story, told_cells
from farm_notebook.notebook.context.gather import Wanted, budget_of, gather
from farm_notebook.notebook.context.piece import Piece

CELLS = [NotebookCell(number, f"x = {number}") for number in (1, 2, 4, 5)]


def output(kind: str, **bundle: Any) -> Any:
    return SimpleNamespace(output_type=kind, bundle=bundle)


def test_a_cell_is_told_with_what_it_printed_displayed_gave_and_raised() -> None:
    (cell,) = told_cells(
        ["", "", "f(x)\n"],
        {2: 42},
        {
            2: [
                output("out_stream", stream=["one\n", "two\n"]),
                output("display_data", **{"text/plain": "<Figure>"}),
                output("execute_result", **{"text/plain": "42"}),
            ]
        },
        {2: {"ename": "ValueError", "evalue": "bad"}},
    )
    assert cell == NotebookCell(2, "f(x)", "one\ntwo\n<Figure>\n42\nValueError: bad")
    assert cell.label == "In[2]"


def test_of_much_that_was_printed_the_end_is_told() -> None:
    (cell,) = told_cells(["", "f()"], {}, {1: [output("out_stream", stream=["x" * 9_000 + "end"])]}, {})
    assert cell.output.startswith("(5,003 characters before)\nxxx")
    assert cell.output.endswith("end")


@pytest.mark.parametrize(
    ("specs", "numbers"),
    [
        (["2"], [2]),
        (["-1"], [5]),
        (["-2", "1"], [1, 4]),
        (["2-5"], [2, 4, 5]),
        (["1,4-5"], [1, 4, 5]),
        (["-3--1"], [2, 4, 5]),
        (["In[4]", "4"], [4]),
        (["In[1]-In[3]"], [1, 2]),
    ],
)
def test_cells_are_named_by_number_from_the_end_or_by_range(specs: list[str], numbers: list[int]) -> None:
    assert [cell.number for cell in chosen_cells(specs, CELLS)] == numbers


@pytest.mark.parametrize("spec", ["3", "9", "-5", "0", "x", "6-9", "5-4", "1.5"])
def test_what_names_no_cell_is_quoted_with_what_is_valid(spec: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        chosen_cells([spec], CELLS)
    assert repr(spec) in str(caught.value)
    assert "Valid: 1 to 5; -1 for the last; a range, as in 3-5." in str(caught.value)


def test_where_no_cell_was_run_that_is_said() -> None:
    with pytest.raises(InvalidRequestError, match="No cell was run yet"):
        chosen_cells(["-1"], [])


def test_the_story_has_each_cell_once_as_it_was_run_last_and_no_questions_to_models() -> None:
    cells = [
        NotebookCell(1, "x = 1"),
        NotebookCell(2, "%%farm_chat\nHi"),
        NotebookCell(3, "y = 2"),
        NotebookCell(4, "x = 1"),
        NotebookCell(5, "%farm models"),
    ]
    assert [cell.number for cell in story(cells)] == [3, 4]


def run_gather(wanted: Wanted, **options: Any) -> Any:
    return gather(
        wanted,
        {"df": [1, 2], "key": "hunter22-hunter22"},
        lambda: CELLS,
        budget_tokens=1_000,
        mask=lambda text: text.replace("hunter22-hunter22", "***"),
        **options,
    )


def test_all_that_is_wanted_is_gathered_in_its_order() -> None:
    context = run_gather(
        Wanted(names=("df",), cells=("4",), notebook=True), first=[Piece("last error", "error", "ValueError")]
    )
    assert [piece.label for piece in context.pieces] == [
        "In[1]",
        "In[2]",
        "In[5]",
        "last error",
        "In[4]",
        "df",
    ]


def test_secrets_are_taken_out_of_all_of_it() -> None:
    context = run_gather(
        Wanted(names=("key",)), first=[Piece("In[9]", "cell", "x", "it is hunter22-hunter22")]
    )
    assert "hunter22" not in context.text
    assert context.text.count("***") == 2


def test_cells_are_not_read_where_nobody_asks_for_them() -> None:
    def no_cells() -> list[NotebookCell]:
        raise AssertionError

    gather(Wanted(names=("x",)), {"x": 1}, no_cells, budget_tokens=100, mask=str)


def test_what_is_named_twice_is_told_once() -> None:
    context = run_gather(Wanted(names=("df",)), first=[Piece("df", "variable", "mine")])
    assert [(piece.label, piece.text) for piece in context.pieces] == [("df", "mine")]


@pytest.mark.parametrize(("window", "tokens"), [(None, 4_000), (8_192, 4_096), (1_000_000, 16_000), (1, 1)])
def test_a_context_may_take_half_of_a_window_and_not_too_much(window: int | None, tokens: int) -> None:
    assert budget_of(window) == tokens
    assert fit([Piece("a", "file", "x" * 99)], [], budget_tokens=tokens).tokens <= tokens
