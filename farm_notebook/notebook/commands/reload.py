"""``%farm reload``: have a model answer from its files as they are now."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from farm_notebook.notebook.line import LineParser
from farm_notebook.notebook.session import Session

if TYPE_CHECKING:
    from farm_notebook.types import ModelRef, ModelStatus

__all__ = ["add_arguments", "run"]


def add_arguments(parser: LineParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="as `%%farm loaded` lists it")
    parser.add_argument(
        "--now", action="store_true", help="end the old one's answers under way rather than let them end"
    )


def run(session: Session, arguments: argparse.Namespace) -> None:
    """Load it anew; where its files do not work, the old one goes on."""
    from farm_notebook.notebook.loading import follow

    ref = session.ref(arguments.model)
    try:
        follow(
            session.shell,
            str(ref),
            session.farm.models.reload(str(ref), drain_s=0 if arguments.now else None),
            outcome=lambda took_s: _outcome(ref, session.status(ref), session.took_s("reload", took_s)),
            left=lambda: session.what_is_left(ref),
        )
    finally:
        session.news.skip(ref)  # whatever came of it is told here


def _outcome(ref: ModelRef, now: ModelStatus | None, took_s: float) -> str:
    from farm_notebook.notebook.statuses import facts

    said = []
    if now is not None and now.generation is not None:
        said.append(f"generation {now.generation}")
    if now is not None and facts(now):
        said.append(facts(now))
    return f"{ref} is loaded anew{': ' * bool(said)}{', '.join(said)} ({took_s:.1f} s)."
