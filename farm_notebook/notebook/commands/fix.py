"""``%farm fix``: explain the last error, and put the corrected cell before the user. It is never run."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from farm_notebook.notebook.line import LineParser
from farm_notebook.notebook.options import add_help_options

if TYPE_CHECKING:
    from farm_notebook.notebook.asked import AskedTurn
    from farm_notebook.notebook.context.piece import Piece
    from farm_notebook.notebook.last_error import LastError
    from farm_notebook.notebook.session import Session
    from farm_notebook.reply import Reply

__all__ = ["add_arguments", "prepare"]

INSTRUCTION = (
    "You help the user of a Jupyter notebook whose cell raised an error. First say in a few plain sentences "
    "what went wrong and why, without code blocks. Then give the whole corrected cell in one fenced Python "
    "block. Change no more than the error needs. Where the mistake is in a function of another cell, put the "
    "corrected function above the cell's own lines."
)


def add_arguments(parser: LineParser) -> None:
    parser.add_argument("hint", nargs="*", metavar="HINT", help="what the model should know besides")
    add_help_options(parser)
    parser.add_argument(
        "--replace", action="store_true", help="put the corrected cell into this one, not into the next"
    )


def prepare(session: Session, arguments: argparse.Namespace, *, owns_cell: bool) -> AskedTurn | None:
    """Everything up to the request; ``None`` where there is no error, or nothing is to be sent."""
    from farm_notebook.notebook.code_cell import CodeCell, cell_of
    from farm_notebook.notebook.context.shell import source_as_python
    from farm_notebook.notebook.help import Help
    from farm_notebook.notebook.last_error import find_last_error

    error = find_last_error(session.shell)
    if error is None:
        print("There is no error to be fixed: no cell has raised one.")
        return None

    def cell(reply: Reply) -> CodeCell:
        return cell_of(
            reply.text, lambda text: source_as_python(session.shell, text), needs_fence=True, takes_last=True
        )

    def put(reply: Reply) -> None:
        if source := cell(reply).source:
            session.shell.set_next_input(source, replace=arguments.replace)

    where = f"{error.cell.label} raised" if error.cell else "My notebook raised"
    hint = " ".join(arguments.hint)
    prompt = f"{where} {error.line}\n\nExplain it, and correct the cell.{f' {hint}' if hint else ''}"
    return Help(session, arguments, INSTRUCTION, _told(session, error)).turn(
        prompt, owns_cell=owns_cell, then=put, remark=lambda reply: cell(reply).remark
    )


def _told(session: Session, error: LastError) -> list[Piece]:
    """The error, its cell, what was on its way, and the variables of the cell."""
    from farm_notebook.notebook.context.cells import piece_of
    from farm_notebook.notebook.context.piece import Piece
    from farm_notebook.notebook.context.variables import local_variables
    from farm_notebook.notebook.help import variables_of

    pieces = [Piece("the error", "error", error.traceback)]
    if error.cell is not None:
        pieces.append(piece_of(error.cell))
    pieces += map(piece_of, error.others)
    pieces += local_variables(error.variables, error.function)
    sources = [cell.source for cell in (error.cell, *error.others) if cell is not None]
    return pieces + variables_of(session, sources)
