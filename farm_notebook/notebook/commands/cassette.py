"""``%farm cassette``: whether calls are recorded or replayed, what of it was asked for, and the end of it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from farm_notebook.notebook.commands.record import is_decided
from farm_notebook.notebook.line import LineParser
from farm_notebook.notebook.session import Session
from farm_notebook.notebook.tables import Table

if TYPE_CHECKING:
    from farm_notebook.cassettes import Cassette, Line, Tape

__all__ = ["add_arguments", "run"]

ACTIONS = ("status", "check", "prune", "off")
_MODES = {
    "auto": "replays what is recorded, records the rest",
    "record": "records",
    "replay": "replays; no model is asked",
}


def add_arguments(parser: LineParser) -> None:
    parser.add_word(
        "action",
        ACTIONS,
        help="how it is used; fail on recorded calls that nobody asked for; take these out; end it",
        optional=True,
    )


def run(session: Session, arguments: argparse.Namespace) -> Table[Line] | None:
    """Do it; the table of the status is a sequence of the recorded calls that nobody has asked for."""
    from farm_notebook.loop import run_blocking

    farm = session.farm
    tape = farm.core.tape
    if arguments.action == "off":
        if is_decided("off"):
            return None
        farm.use_cassette("off")
        print("Calls are neither recorded nor replayed." if tape.cassette else "No cassette is in use.")
        return None
    cassette = tape.cassette
    if cassette is None:
        print("No cassette is in use. `%farm record` and `%farm replay` begin with one.")
        return None
    run_blocking(cassette.open())
    match arguments.action:
        case "check":
            tape.check(always=True)
            print(f"All that {cassette.file.path.name} holds was asked for.")
        case "prune":
            count = run_blocking(cassette.drop_unasked())
            print(f"{count:,} call{'s' * (count != 1)} taken out of {cassette.file.path.name}.")
        case _:
            return Table(
                ("cassette", _MODES[cassette.mode]), tuple(_facts(tape, cassette)), cassette.unasked()
            )
    return None


def _facts(tape: Tape, cassette: Cassette) -> Iterator[tuple[str, str]]:
    path = cassette.file.path
    yield "file", str(path)
    yield "calls", f"{len(cassette.file.read().lines):,}"
    if cassette.mode != "replay":
        yield "recorded in this session", f"{cassette.recorded:,}"
    yield "not asked for so far", f"{len(cassette.unasked()):,}"
    if cassette.repeated:
        yield "given once more", f"{cassette.repeated:,} times, as all takes had been given"
    if tape.settings.realtime:
        yield "speed", "as it was recorded"
