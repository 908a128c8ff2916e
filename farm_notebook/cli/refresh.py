"""``farm cassette refresh``: ask again what was recorded, and say which answers changed, and by how much."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from farm_notebook.cassettes import CassetteFile, Line, cassette_path, missing
from farm_notebook.cassettes.asks import summary
from farm_notebook.cassettes.comparing import drift
from farm_notebook.cassettes.requests import REQUESTS, request_of
from farm_notebook.cli.terminal import emit, note
from farm_notebook.errors import CassetteError, FarmError
from farm_notebook.farm import Farm

__all__ = ["refresh"]


def refresh(path: Path, *, only: Sequence[str]) -> bool:
    """Ask all recorded requests again, in the order in which they are in the file, and record what comes.

    Args:
        path: The cassette, or its notebook.
        only: Words, of which a request must have one in its model, its prompt or its id; none takes all.

    Returns:
        Whether every answer is what it was.

    Raises:
        CassetteError: It is not there, or cannot be read or written.
    """
    file = CassetteFile(cassette_path(path, lambda: None))
    if file.version is None:
        raise missing(file.path)
    before = file.read().lines
    chosen = [line for line in before if not only or _has_one(line, only)]
    farm = Farm()
    farm.use_cassette("record", file.path)
    for line in chosen:
        _ask(farm, line, file)
    after = {(line.id, line.take): line for line in file.read().lines}
    changed = 0
    for line in chosen:
        now = after.get((line.id, line.take))
        told = ("it is gone",) if now is None else tuple(drift(line, now))
        changed += bool(told)
        if told:
            emit(f"~ {summary(line.ask)}: {'; '.join(told)}", end="\n")
    asked = sum(line.ask["call"] in (*REQUESTS, "embed") for line in chosen)
    emit(f"{asked:,} asked again, {changed:,} changed, {len(before) - asked:,} left as they were", end="\n")
    return not changed


def _ask(farm: Farm, line: Line, file: CassetteFile) -> None:
    """Make a call again; what it raises is recorded as well."""
    try:
        if line.ask["call"] == "embed":
            farm.embed(line.ask["texts"], model=line.ask["model"])
        elif line.ask["call"] in REQUESTS:
            for _ in farm.events(request_of(line.ask, file.pictures)):
                pass
    except CassetteError as error:
        note(str(error))
    except FarmError as error:
        note(f"{summary(line.ask)}: {error}")


def _has_one(line: Line, words: Sequence[str]) -> bool:
    return any(word in f"{line.id} {summary(line.ask)}" for word in words)
