"""``%farm record``: keep what every call asks, and what comes of it, in a file to be replayed from."""

from __future__ import annotations

import argparse

from farm_notebook.notebook.line import LineParser
from farm_notebook.notebook.session import Session

__all__ = ["add_arguments", "add_file", "run"]


def add_file(parser: LineParser) -> None:
    """The argument that names a cassette."""
    parser.add_argument(
        "file",
        nargs="?",
        metavar="FILE",
        help="the cassette (default: NAME.farm.jsonl beside the notebook NAME.ipynb)",
    )


def add_arguments(parser: LineParser) -> None:
    add_file(parser)
    parser.add_argument(
        "--missing",
        action="store_true",
        help="replay what is there already, and ask and record only the rest",
    )


def run(session: Session, arguments: argparse.Namespace) -> None:
    """Record from now on."""
    path = session.farm.use_cassette("auto" if arguments.missing else "record", arguments.file)
    assert path is not None, "it is off only where that is asked for"
    if arguments.missing:
        print(f"What {path.name} holds is replayed; other calls are made, and recorded there.")
    else:
        print(f"Calls are recorded in {path.name}. `%farm replay` replays them; first run all cells.")
