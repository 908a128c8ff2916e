"""``%farm health``: whether each provider can answer, as a table that is a sequence of ``ProviderStatus``."""

from __future__ import annotations

import argparse

from farm_notebook.notebook.line import LineParser
from farm_notebook.notebook.session import Session
from farm_notebook.notebook.tables import Table
from farm_notebook.types import ProviderStatus

__all__ = ["add_arguments", "run"]


def add_arguments(parser: LineParser) -> None:
    parser.add_argument("--refresh", action="store_true", help="ask anew, whatever was found a moment ago")


def run(session: Session, arguments: argparse.Namespace) -> Table[ProviderStatus]:
    """Ask all providers at once."""
    found = session.farm.health(refresh=arguments.refresh)
    rows = ((each.name, "✓" if each.healthy else "✗", each.detail, each.fix or "") for each in found)
    return Table(("provider", "", "state", "fix"), tuple(rows), tuple(found))
