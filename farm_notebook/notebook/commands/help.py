"""``%farm help``: what there is."""

from __future__ import annotations

import argparse

from farm_notebook.notebook.cells import CELL_MAGICS
from farm_notebook.notebook.commands import COMMANDS, find_command, overview
from farm_notebook.notebook.line import LineParser
from farm_notebook.notebook.session import Session

__all__ = ["add_arguments", "run"]


def add_arguments(parser: LineParser) -> None:
    parser.add_word(
        "subcommand",
        (*COMMANDS, *CELL_MAGICS),
        metavar="SUBCOMMAND",
        optional=True,
        help="which one, or a magic such as farm_chat; without it, all of them",
    )


def run(session: Session, arguments: argparse.Namespace) -> None:
    """Print the help of one subcommand or magic, or of all."""
    name = arguments.subcommand
    if name is None:
        print(overview())
        return
    parser = (CELL_MAGICS[name] if name in CELL_MAGICS else find_command(name)).parser()
    print(parser.format_help().rstrip())
