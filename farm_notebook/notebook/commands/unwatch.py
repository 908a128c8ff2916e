"""``%farm unwatch``: leave a model as it is loaded, whatever becomes of its files."""

from __future__ import annotations

import argparse

from farm_notebook.notebook.commands.unload import ALL
from farm_notebook.notebook.line import LineParser
from farm_notebook.notebook.session import Session

__all__ = ["add_arguments", "run"]


def add_arguments(parser: LineParser) -> None:
    parser.add_argument("model", metavar="MODEL|all", help="as `%%farm watch` lists it, or all of them")
    parser.suggest("model", (ALL,))


def run(session: Session, arguments: argparse.Namespace) -> None:
    """Watch it no more."""
    models = session.farm.models
    refs = models.watched() if arguments.model == ALL else (session.ref(arguments.model),)
    for ref in refs:
        was_watched = models.unwatch(str(ref))
        print(f"{ref} {'is watched no more' if was_watched else 'was not watched'}.")
    if not refs:
        print("No model is watched.")
