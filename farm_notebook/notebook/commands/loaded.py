"""``%farm loaded``: the models in memory, as a table that is a sequence of ``ModelStatus``; or their past."""

from __future__ import annotations

import argparse

from farm_notebook.errors import InvalidRequestError
from farm_notebook.notebook.line import LineParser
from farm_notebook.notebook.session import Session
from farm_notebook.notebook.statuses import event_table, status_table
from farm_notebook.notebook.tables import Table
from farm_notebook.types import ModelEvent, ModelStatus

__all__ = ["add_arguments", "run"]

DEFAULT_EVENTS = 20


def add_arguments(parser: LineParser) -> None:
    parser.add_argument(
        "--events",
        nargs="?",
        type=int,
        const=DEFAULT_EVENTS,
        metavar="N",
        help=f"what happened to them instead, the last N steps (default: {DEFAULT_EVENTS})",
    )


def run(session: Session, arguments: argparse.Namespace) -> Table[ModelStatus] | Table[ModelEvent]:
    """List them, or what happened to them."""
    models = session.farm.models
    if arguments.events is None:
        found = models.loaded()
        session.known.add(str(status.ref) for status in found)
        return status_table(
            found, if_none="No model is in memory. The first answer of one loads it; so does `%farm load`."
        )
    if arguments.events < 1:
        raise InvalidRequestError(f"--events {arguments.events} is out of range. Valid: 1 and up.")
    return event_table(models.events()[-arguments.events :], if_none="Nothing happened to any model yet.")
