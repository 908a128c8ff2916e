"""Tab in JupyterLab: on the first line of a cell with its prompt below, and behind an open brace in there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import pytest

from .lab import NotebookPage

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]

OpenNotebook: TypeAlias = Callable[[Sequence[str]], NotebookPage]

SETTING_UP = (
    "%load_ext farm_notebook\ncity = 'Paris'\n%farm alias fast scripted:count-2\n%farm model scripted:echo"
)


def complete(notebook: NotebookPage, expected: Sequence[str]) -> None:
    """Press Tab, see what the completer's box lists, and take the first."""
    notebook.press("Tab")
    items = notebook.page.locator(".jp-Completer .jp-Completer-match")
    items.first.wait_for()
    assert items.all_inner_texts() == list(expected)
    notebook.press("Enter")
    items.first.wait_for(state="hidden")


def test_tab_offers_options_models_and_variables_in_a_cell_with_a_body(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook([SETTING_UP, "%%farm_chat \nTell me of {ci"])
    notebook.run(0)

    notebook.select(1)
    notebook.press("Control+Home")
    notebook.press("End")
    notebook.page.keyboard.type("--no-h")
    complete(notebook, ["--no-history"])
    notebook.page.keyboard.type(" -m fas")
    complete(notebook, ["fast"])
    notebook.press("Control+End")
    complete(notebook, ["city"])
    notebook.page.keyboard.type("}")
    lines = notebook.cells.nth(1).locator(".cm-line").all_inner_texts()
    assert lines == ["%%farm_chat --no-history -m fast", "Tell me of {city}"]

    notebook.press("Shift+Enter")
    notebook.wait_until_done(1)
    assert "word0 word1" in notebook.text(1)
