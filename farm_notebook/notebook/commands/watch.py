"""``%farm watch``: load a model anew whenever its files change."""

from __future__ import annotations

import argparse

from farm_notebook.notebook.line import LineParser
from farm_notebook.notebook.session import Session
from farm_notebook.notebook.statuses import status_table
from farm_notebook.notebook.tables import Table
from farm_notebook.types import ModelStatus

__all__ = ["add_arguments", "run"]


def add_arguments(parser: LineParser) -> None:
    parser.add_argument("model", nargs="?", metavar="MODEL", help="without it, list those that are watched")


def run(session: Session, arguments: argparse.Namespace) -> Table[ModelStatus] | None:
    """Watch it from now on, or list those that are watched."""
    models = session.farm.models
    if arguments.model is None:
        known = {status.ref: status for status in models.loaded()}
        watched = (known.get(ref, ModelStatus(ref, "absent", is_watched=True)) for ref in models.watched())
        return status_table(watched, if_none="No model is watched.")
    ref = session.ref(arguments.model)
    is_new = models.watch(str(ref))
    session.known.add([str(ref)])
    once = "" if session.status(ref) else "once loaded, "
    print(f"{ref} is watched{'' if is_new else ' already'}: {once}it is loaded anew when its files change.")
    return None
