"""``%farm history``: what was asked, newest first."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from farm_notebook.errors import InvalidRequestError
from farm_notebook.notebook.commands.session import Session
from farm_notebook.notebook.line import LineParser

if TYPE_CHECKING:
    from farm_notebook.reports import HistoryReport

__all__ = ["add_arguments", "run"]


def add_arguments(parser: LineParser) -> None:
    parser.add_argument("search", nargs="*", metavar="SEARCH", help="words of the prompt or of the answer")
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="how many calls (default: 20)")
    parser.add_argument("-m", "--model", metavar="NAME", help="of this model only")
    parser.add_argument("--since", metavar="WHEN", help="a day, as in 2026-05-31, or an age, as in 7d")


def run(session: Session, arguments: argparse.Namespace) -> HistoryReport:
    """Show the calls that this user's kernels made."""
    if arguments.limit < 1:
        raise InvalidRequestError(f"--limit {arguments.limit} is out of range. Valid: 1 and up.")
    return session.farm.history(
        " ".join(arguments.search) or None,
        model=arguments.model,
        since=arguments.since,
        limit=arguments.limit,
    )
