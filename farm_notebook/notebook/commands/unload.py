"""``%farm unload``: give a model's memory back, or that of all."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence

from farm_notebook.notebook.line import LineParser
from farm_notebook.notebook.session import Session
from farm_notebook.types import ModelRef, ModelStatus

__all__ = ["ALL", "add_arguments", "run"]

ALL = "all"


def add_arguments(parser: LineParser) -> None:
    parser.add_argument("model", metavar="MODEL|all", help="as `%%farm loaded` lists it, or all of them")
    parser.suggest("model", (ALL,))
    parser.add_argument(
        "--now", action="store_true", help="end the answers under way rather than wait for them"
    )


def run(session: Session, arguments: argparse.Namespace) -> None:
    """Unload it, and say what memory that gave back."""
    from farm_notebook.notebook.status import StatusLine

    models, line = session.farm.models, StatusLine(session.shell)
    ref = None if arguments.model == ALL else session.ref(arguments.model)
    before = models.loaded()
    if not arguments.now and (busy := _busy(status for status in before if ref in (None, status.ref))):
        line.show(f"Waiting for {busy} to end; `--now` ends them …")
    try:
        if ref is None:
            unloaded: Sequence[ModelRef] = models.unload_all(interrupt=arguments.now)
        else:
            unloaded = [ref] * models.unload(str(ref), interrupt=arguments.now)
    except KeyboardInterrupt:
        line.discard()
        raise KeyboardInterrupt("You stopped it; what is still in use stays loaded.") from None
    except BaseException:
        line.discard()
        raise
    told = _outcome(unloaded, before, models.loaded(), models.held())
    line.end(told or ("Nothing was loaded." if ref is None else f"{ref} was not loaded."))


def _busy(statuses: Iterable[ModelStatus]) -> str:
    users = sum(status.users for status in statuses)
    return f"{users} answer{'s' * (users != 1)}" if users else ""


def _outcome(
    unloaded: Sequence[ModelRef],
    before: Sequence[ModelStatus],
    after: Sequence[ModelStatus],
    held: Mapping[str, int],
) -> str:
    """A line for each that is gone, which may be more than were asked for: adapters go with their base."""
    left = {(status.ref, status.generation) for status in after}
    gone = [
        status
        for status in before
        if status.state != "failed" and (status.ref, status.generation) not in left and unloaded
    ]
    lines = [_line(status, held.get(str(status.ref), 0)) for status in gone]
    untold = set(unloaded) - {status.ref for status in gone}  # by a provider that tells nothing of its models
    return "\n".join(lines + [f"{ref} is unloaded." for ref in sorted(untold, key=str)])


def _line(status: ModelStatus, held_bytes: int) -> str:
    from rich.filesize import decimal

    from farm_notebook.notebook.statuses import where

    if held_bytes:
        return (
            f"{status.ref} is unloaded, but {decimal(held_bytes)} of it are still held: "
            "`%farm free` tells by whom."
        )
    return f"{status.ref} is unloaded{f': {memory} given back' if (memory := where(status)) else ''}."
