"""``%farm help``: what there is, and what an error means."""

from __future__ import annotations

import argparse
import inspect

from farm_notebook import errors
from farm_notebook.notebook.cells import CELL_MAGICS
from farm_notebook.notebook.commands import COMMANDS, find_command, overview
from farm_notebook.notebook.line import LineParser
from farm_notebook.notebook.session import Session

__all__ = ["add_arguments", "run"]

ERRORS: dict[str, type[errors.FarmError]] = {
    name: kind for name in errors.__all__ if isinstance(kind := getattr(errors, name), type)
}


def add_arguments(parser: LineParser) -> None:
    parser.add_word(
        "subcommand",
        (*COMMANDS, *CELL_MAGICS, *ERRORS),
        metavar="SUBCOMMAND",
        optional=True,
        help="which one, a magic such as farm_chat, or an error; without it, all of them",
    )


def run(session: Session, arguments: argparse.Namespace) -> None:
    """Print the help of one subcommand or magic, or of all; or what an error means."""
    name = arguments.subcommand
    if name is None:
        print(overview())
        return
    if kind := ERRORS.get(name):
        print(f"{inspect.getdoc(kind)}\n\n{kind.docs_url}")
        return
    parser = (CELL_MAGICS[name] if name in CELL_MAGICS else find_command(name)).parser()
    print(parser.format_help().rstrip())
