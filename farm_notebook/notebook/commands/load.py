"""``%farm load``: bring a model into memory, fetched first if need be."""

from __future__ import annotations

import argparse
import time
from contextlib import closing

from farm_notebook.notebook.commands.session import Session
from farm_notebook.notebook.line import LineParser

__all__ = ["add_arguments", "run"]


def add_arguments(parser: LineParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="as `%%farm models` lists it")


def run(session: Session, arguments: argparse.Namespace) -> None:
    """Load it, and say how far it is."""
    from farm_notebook.notebook.progress import describe_step
    from farm_notebook.notebook.status import StatusLine

    line, begun = StatusLine(session.shell), time.monotonic()
    try:
        with closing(session.farm.load(arguments.model)) as progress:
            for event in progress:
                line.show(describe_step(event) or "")
    except BaseException:
        line.discard()
        raise
    session.known.add([arguments.model])
    line.end(f"{arguments.model} is loaded ({time.monotonic() - begun:.1f} s).")
