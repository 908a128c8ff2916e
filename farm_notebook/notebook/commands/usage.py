"""``%farm usage``: calls, tokens and cost, as a table and as a plot."""

from __future__ import annotations

import argparse
from typing import Any

from farm_notebook.notebook.commands.session import Session
from farm_notebook.notebook.line import LineParser

__all__ = ["add_arguments", "run"]


NO_PLOT = "A terminal shows no plot. `u = %farm usage`, then `u.plot().savefig('usage.png')` writes a file."


def add_arguments(parser: LineParser) -> None:
    parser.add_argument("--by", default="model", choices=("model", "day"), help="a row each (default: model)")
    parser.add_argument("--since", metavar="WHEN", help="a day, as in 2026-05-31, or an age, as in 7d")
    parser.add_argument("--plot", action="store_true", help="show a plot too")


def run(session: Session, arguments: argparse.Namespace) -> object:
    """Add up the calls that this user's kernels made."""
    report: Any = session.farm.usage(by=arguments.by, since=arguments.since)
    if arguments.plot:
        _show_plot(session, report)
    return report


def _show_plot(session: Session, report: Any) -> None:
    """The plot as one static picture, whichever of matplotlib's backends there is."""
    if not session.is_notebook:
        print(NO_PLOT)
        return
    from IPython.core.pylabtools import print_figure
    from IPython.display import Image, display

    figure = report.plot()
    display(Image(data=print_figure(figure, fmt="png"), format="png"))  # type: ignore[no-untyped-call]  # IPython's
