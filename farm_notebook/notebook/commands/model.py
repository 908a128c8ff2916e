"""``%farm model``: the model that answers when none is named."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from farm_notebook.notebook.line import LineParser
from farm_notebook.notebook.session import Session

if TYPE_CHECKING:
    from farm_notebook.router import RouteDecision

__all__ = ["add_arguments", "run"]


def add_arguments(parser: LineParser) -> None:
    parser.add_argument(
        "model",
        nargs="?",
        metavar="NAME",
        help="a model or alias, for the rest of this session; without it, tell which one it is",
    )


def run(session: Session, arguments: argparse.Namespace) -> RouteDecision | None:
    """Tell who answers, or have another model answer from now on."""
    farm = session.farm
    if arguments.model is None:
        return farm.route()
    name = farm.use(arguments.model)
    session.known.add([name])
    print(f"{name} answers from now on, where a cell names no model.")
    session.tell_doubt(arguments.model)
    return None
