"""``%farm unload``: give a model's memory back."""

from __future__ import annotations

import argparse

from farm_notebook.notebook.commands.session import Session
from farm_notebook.notebook.line import LineParser

__all__ = ["add_arguments", "run"]


def add_arguments(parser: LineParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="as `%%farm models` lists it")


def run(session: Session, arguments: argparse.Namespace) -> None:
    """Unload it, and say whether it was loaded."""
    was_loaded = session.farm.unload(arguments.model)
    print(f"{arguments.model} {'is unloaded' if was_loaded else 'was not loaded'}.")
