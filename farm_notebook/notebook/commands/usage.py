"""``%farm usage``: calls, tokens and cost, as a table and as a plot."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, get_args

from farm_notebook.notebook.line import LineParser, one_of
from farm_notebook.notebook.session import Session
from farm_notebook.stores.calls import UsageBy

if TYPE_CHECKING:
    from farm_notebook.reports import UsageReport

__all__ = ["add_arguments", "run"]

NO_PLOT = "A terminal shows no plot. `u = %farm usage`, then `u.plot().savefig('usage.png')` writes a file."


def add_arguments(parser: LineParser) -> None:
    parser.add_argument(
        "--by",
        default="model",
        choices=get_args(UsageBy),
        type=one_of(get_args(UsageBy)),
        help="what a row is of (default: model)",
    )
    parser.add_argument("--since", metavar="WHEN", help="a day, as in 2026-05-31, or an age, as in 7d")
    parser.add_argument("--plot", action="store_true", help="show a plot too")


def run(session: Session, arguments: argparse.Namespace) -> UsageReport:
    """Add up the calls that this user's kernels made."""
    report = session.farm.usage(by=arguments.by, since=arguments.since)
    if arguments.plot and session.is_notebook:
        from IPython.display import display

        display(report.plot())  # type: ignore[no-untyped-call]  # IPython's
    elif arguments.plot:
        print(NO_PLOT)
    return report
