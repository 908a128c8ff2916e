"""``%farm route``: who would answer, and why."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from farm_notebook.notebook.line import LineParser
from farm_notebook.notebook.session import Session

if TYPE_CHECKING:
    from farm_notebook.router import RouteDecision

__all__ = ["add_arguments", "run"]


def add_arguments(parser: LineParser) -> None:
    parser.add_argument("model", nargs="?", metavar="NAME", help="a model or alias; without it, the default")


def run(session: Session, arguments: argparse.Namespace) -> RouteDecision:
    """Explain the decision; nothing is sent to a model."""
    decision = session.farm.route(arguments.model)
    if arguments.model is not None:
        session.tell_doubt(arguments.model)
    return decision
