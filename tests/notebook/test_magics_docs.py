"""What the magics can do stands in the documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from farm_notebook.notebook.cells import CELL_MAGICS
from farm_notebook.notebook.commands import COMMANDS
from farm_notebook.notebook.commands.panel import PANELS
from farm_notebook.notebook.defaults import CellDefaults

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "magics.md").read_text(encoding="utf-8")
CODE = re.findall("`[^`]+`", re.sub("```.*?```", "", PAGE, flags=re.DOTALL))
OPTIONS = {option for magic in CELL_MAGICS.values() for option in magic.parser().options()}


def quoted(word: str) -> bool:
    """Whether the page has a word in code, by itself."""
    return any(re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", code) for code in CODE)


@pytest.mark.parametrize("option", sorted(OPTIONS))
def test_every_option_is_in_the_table(option: str) -> None:
    assert quoted(option)


@pytest.mark.parametrize("word", [*CELL_MAGICS, *COMMANDS, *PANELS, *CellDefaults.class_traits(config=True)])
def test_every_magic_subcommand_panel_and_default_is_told(word: str) -> None:
    assert quoted(word)
