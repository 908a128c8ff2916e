"""``%farm swap``: have one model take the place of another, in the memory that one of them needs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from farm_notebook.errors import InvalidRequestError
from farm_notebook.notebook.line import LineParser
from farm_notebook.notebook.session import Session

if TYPE_CHECKING:
    from farm_notebook.types import ModelRef

__all__ = ["add_arguments", "run"]


def add_arguments(parser: LineParser) -> None:
    parser.add_argument("leaving_model", metavar="LEAVING", help="waits in host memory, while there is room")
    parser.add_argument("coming_model", metavar="COMING", help="takes its place")


def run(session: Session, arguments: argparse.Namespace) -> None:
    """Swap them; where that fails or is stopped, the first is back."""
    from farm_notebook.notebook.loading import follow

    leaving, coming = session.ref(arguments.leaving_model), session.ref(arguments.coming_model)
    if leaving == coming:
        raise InvalidRequestError(
            f"{leaving} cannot take its own place. `%farm reload {leaving}` has it answer from its files as "
            "they are now."
        )
    follow(
        session.shell,
        str(coming),
        session.farm.models.swap(str(leaving), str(coming)),
        outcome=lambda took_s: _outcome(session, leaving, coming, session.took_s("swap", took_s)),
        left=lambda: session.what_is_left(leaving),
    )


def _outcome(session: Session, leaving: ModelRef, coming: ModelRef, took_s: float) -> str:
    from farm_notebook.notebook.statuses import facts

    came, left = session.status(coming), session.status(leaving)
    said = f": {facts(came)}" if came and facts(came) else ""
    goes = "waits in host memory" if left and left.state == "aside" else "is unloaded"
    return f"{coming} is loaded{said} ({took_s:.1f} s); {leaving} {goes}."
