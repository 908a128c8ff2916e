"""``%farm free``: give back all memory that nobody uses, and tell what holds the rest."""

from __future__ import annotations

import argparse

from farm_notebook.farm.freeing import FreeReport
from farm_notebook.notebook.line import LineParser
from farm_notebook.notebook.session import Session

__all__ = ["add_arguments", "run"]


def add_arguments(parser: LineParser) -> None:
    parser.add_argument(
        "--force",
        action="store_true",
        help="also clear what IPython itself keeps of unloaded models: outputs, the last error",
    )


def run(session: Session, arguments: argparse.Namespace) -> None:
    """Free it, and say what came of it."""
    from farm_notebook.notebook.kept import clear_kept, namespaces_of

    models, namespaces = session.farm.models, namespaces_of(session.shell)
    report: FreeReport = models.free(namespaces)
    if arguments.force and report.held:
        for cleared in clear_kept(session.shell, models.leftovers()):
            print(f"{cleared} is cleared.")
        rest = models.free(namespaces)
        report = FreeReport(report.unloaded, report.kept, rest.held, report.before, rest.after)
    print(report)
