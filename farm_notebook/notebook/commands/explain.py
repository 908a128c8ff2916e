"""``%farm explain``: have a model explain a cell, a function or a variable."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from farm_notebook.errors import InvalidRequestError
from farm_notebook.notebook.line import LineParser
from farm_notebook.notebook.options import add_help_options

if TYPE_CHECKING:
    from farm_notebook.notebook.asked import AskedTurn
    from farm_notebook.notebook.context.cells import NotebookCell
    from farm_notebook.notebook.context.piece import Piece
    from farm_notebook.notebook.session import Session

__all__ = ["add_arguments", "prepare"]

INSTRUCTION = (
    "You explain to the user of a Jupyter notebook what stands in the context, in plain words: first what it "
    "does as a whole, then what is not obvious of it, and what is likely to be a mistake. Do not rewrite it."
)
_OF_A_CELL = re.compile(r"(?:In)?\[?-?\d.*")


def add_arguments(parser: LineParser) -> None:
    parser.add_argument(
        "target",
        nargs="*",
        metavar="CELL_OR_NAME",
        help="a cell, as In[3], 3, -1 or 3-5, or a variable or function; without it, the previous cell. What "
        "follows is said to the model, too",
    )
    parser.suggest_names("target", "variable")
    add_help_options(parser)


def prepare(session: Session, arguments: argparse.Namespace, *, owns_cell: bool) -> AskedTurn | None:
    """Everything up to the request; ``None`` where nothing is to be sent."""
    from farm_notebook.notebook.help import Help

    words = arguments.target
    what, pieces = _target(session, [words[0].removesuffix("?")] if words else [])
    hint = " ".join(words[1:])
    prompt = f"Explain {what} {hint}" if hint else f"Explain {what}."
    return Help(session, arguments, INSTRUCTION, pieces).turn(prompt, owns_cell=owns_cell)


def _target(session: Session, words: list[str]) -> tuple[str, list[Piece]]:
    """What is to be explained, in words and in full, with the variables it uses."""
    from farm_notebook.notebook.context.cells import chosen_cells, piece_of
    from farm_notebook.notebook.context.shell import cells_of
    from farm_notebook.notebook.context.variables import read_variables
    from farm_notebook.notebook.help import variables_of

    cells = cells_of(session.shell, session.printed.of)
    if words and not _OF_A_CELL.fullmatch(words[0]):
        name = words[0].strip("`{}")
        return name, read_variables([name], session.namespace())
    chosen = chosen_cells(words, cells) if words else _previous(cells)
    labels = ", ".join(cell.label for cell in chosen)
    return labels, [*map(piece_of, chosen), *variables_of(session, [cell.source for cell in chosen])]


def _previous(cells: list[NotebookCell]) -> list[NotebookCell]:
    """The last cell that is no question to a model."""
    from farm_notebook.notebook.context.cells import is_ours

    own = [cell for cell in cells if not is_ours(cell.source)]
    if not own:
        raise InvalidRequestError("There is nothing to be explained yet: no cell was run before this one.")
    return own[-1:]
