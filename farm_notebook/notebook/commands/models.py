"""``%farm models``: the models there are, as a table that is a sequence of ``ModelInfo``."""

from __future__ import annotations

import argparse

from farm_notebook.notebook.line import LineParser
from farm_notebook.notebook.session import Session
from farm_notebook.notebook.tables import Table
from farm_notebook.types import ModelInfo

__all__ = ["add_arguments", "run"]

UNKNOWN = "-"


def add_arguments(parser: LineParser) -> None:
    parser.add_argument("provider", nargs="?", metavar="PROVIDER", help="list the models of this one only")


def run(session: Session, arguments: argparse.Namespace) -> Table[ModelInfo]:
    """List the models of every provider that can be reached."""
    infos = session.farm.list_models()
    session.known.add(str(info.ref) for info in infos)
    chosen = [info for info in infos if arguments.provider in (None, info.ref.provider)]
    return Table(
        ("model", "size", "context", "state", "licence"),
        tuple(_row(info) for info in chosen),
        tuple(chosen),
        "" if chosen else "No provider that can be reached has a model. `%farm health` tells why.",
    )


def _row(info: ModelInfo) -> tuple[str, ...]:
    from rich.filesize import decimal

    return (
        str(info.ref),
        UNKNOWN if info.size_bytes is None else decimal(info.size_bytes),
        UNKNOWN if info.context_tokens is None else f"{info.context_tokens:,}",
        "loaded" if info.loaded else "available" if info.available else "not fetched",
        info.license or UNKNOWN,
    )
