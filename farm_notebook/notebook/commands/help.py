"""``%farm help``: what there is."""

from __future__ import annotations

import argparse

from farm_notebook.notebook.commands import COMMANDS, find_command, overview
from farm_notebook.notebook.line import LineParser
from farm_notebook.notebook.session import Session

__all__ = ["add_arguments", "run"]


def add_arguments(parser: LineParser) -> None:
    parser.add_word(
        "subcommand",
        tuple(COMMANDS),
        metavar="SUBCOMMAND",
        optional=True,
        help="which one; without it, all of them",
    )


def run(session: Session, arguments: argparse.Namespace) -> None:
    """Print the help of one subcommand, or of all."""
    if arguments.subcommand is None:
        print(overview())
    else:
        print(find_command(arguments.subcommand).parser().format_help().rstrip())
