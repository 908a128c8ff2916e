"""``%farm replay``: give what was recorded instead of asking anyone."""

from __future__ import annotations

import argparse

from farm_notebook.notebook.commands.record import add_file, is_decided
from farm_notebook.notebook.line import LineParser
from farm_notebook.notebook.session import Session

__all__ = ["add_arguments", "run"]


def add_arguments(parser: LineParser) -> None:
    add_file(parser)
    parser.add_argument("--realtime", action="store_true", help="at the speed at which it was recorded")
    parser.add_argument(
        "--strict",
        action="store_true",
        help="fail in `%%farm cassette off` on what nobody asked for",
    )


def run(session: Session, arguments: argparse.Namespace) -> None:
    """Replay from now on, from the first take of each call."""
    if is_decided("replay"):
        return
    path = session.farm.use_cassette(
        "replay", arguments.file, realtime=arguments.realtime, strict=arguments.strict
    )
    assert path is not None, "it is off only where that is asked for"
    print(f"Answers come from {path.name} from now on; no model is asked. `%farm cassette off` ends that.")
