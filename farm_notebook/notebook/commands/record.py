"""``%farm record``: keep what every call asks, and what comes of it, in a file to be replayed from."""

from __future__ import annotations

import argparse
import os
from typing import Literal

from farm_notebook.notebook.line import LineParser
from farm_notebook.notebook.session import Session

__all__ = ["add_arguments", "add_file", "is_decided", "run"]

VARIABLE = "FARM_CASSETTE"


def add_file(parser: LineParser) -> None:
    """The argument that names a cassette."""
    parser.add_argument(
        "file",
        nargs="?",
        metavar="FILE",
        help="the cassette (default: NAME.farm.jsonl beside the notebook NAME.ipynb)",
    )
    parser.suggest_names("file", "path")


def is_decided(mode: Literal["auto", "record", "replay", "off"]) -> bool:
    """Whether the environment wants something else than a cell; then it holds, and the user is told.

    Who runs a notebook with ``FARM_CASSETTE=replay`` relies on it that no model is asked.
    """
    told = os.environ.get(VARIABLE, "").strip()
    if told in ("", mode):
        return False
    print(f"{VARIABLE}={told} holds, whatever a cell says. Unset it, and this cell decides.")
    return True


def add_arguments(parser: LineParser) -> None:
    add_file(parser)
    parser.add_argument(
        "--missing",
        action="store_true",
        help="replay what is there already, and ask and record only the rest",
    )


def run(session: Session, arguments: argparse.Namespace) -> None:
    """Record from now on."""
    if is_decided("auto" if arguments.missing else "record"):
        return
    path = session.farm.use_cassette("auto" if arguments.missing else "record", arguments.file)
    assert path is not None, "it is off only where that is asked for"
    if arguments.missing:
        print(f"What {path.name} holds is replayed; other calls are made, and recorded there.")
    else:
        print(f"Calls are recorded in {path.name}. `%farm replay` replays them; first run all cells.")
