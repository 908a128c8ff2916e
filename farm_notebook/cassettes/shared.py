"""Which cassette is meant, and the ones that are in use: all who use a file in one way share one."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from farm_notebook import loop
from farm_notebook.cassettes.asks import Ask, summary
from farm_notebook.cassettes.cassette import MODES, Cassette, Mode
from farm_notebook.cassettes.difference import differences, nearest
from farm_notebook.cassettes.file import SUFFIX, CassetteFile, default_path
from farm_notebook.cassettes.lines import Line
from farm_notebook.errors import CassetteError, NotRecordedError

__all__ = ["cassette_path", "missing", "never_asked", "not_recorded", "rewind", "shared_cassette"]

MOST_NAMED = 10
PRUNE = "`%farm cassette prune`, once the whole notebook has run, takes them out."

_cassettes: dict[tuple[Path, Mode], Cassette] = {}


def cassette_path(named: Path | None, notebook: Callable[[], Path | None]) -> Path:
    """The file of a cassette: the one that is named, or the one beside the notebook.

    Args:
        named: As a user writes it; an ``.ipynb`` means the one beside it.
        notebook: Finds the notebook's file.

    Raises:
        CassetteError: None is named, and the notebook's name cannot be known.
    """
    if named is not None:
        return default_path(named) if named.suffix == ".ipynb" else named
    if (found := notebook()) is not None:
        return default_path(found)
    raise CassetteError(
        "Which file? What runs this does not tell the notebook's name, or that was changed since its kernel "
        "was started. Restart it, or name the cassette: "
        f"`%farm record NAME{SUFFIX}`, or the variable FARM_CASSETTE_FILE."
    )


def shared_cassette(path: Path, mode: Mode) -> Cassette:
    """The cassette of a file and a mode; all who use both have the same.

    Args:
        path: The file, absolute and without links.
        mode: How it is used.
    """
    key = path, mode
    if key not in _cassettes:
        _cassettes[key] = Cassette(CassetteFile(path), mode)
        if mode != "replay":
            loop.at_shutdown(_cassettes[key].save)
    return _cassettes[key]


def rewind(path: Path) -> None:
    """Begin anew with a file: each recorded call is given from its first take on, and is recorded anew."""
    for mode in MODES:
        if (cassette := _cassettes.pop((path.expanduser().resolve(), mode), None)) is not None:
            loop.not_at_shutdown(cassette.save)


def missing(path: Path, command: str | None = None) -> CassetteError:
    """The error of a cassette that is to be replayed and is not there.

    Args:
        path: The file.
        command: What records it, as of ``CassetteConfig.record_command``.
    """
    how = (
        f"`{command}` records it."
        if command
        else "`%farm record` before the first call records one, and so does FARM_CASSETTE=record."
    )
    return CassetteError(f"There is no cassette {str(path)!r} to replay. {how}")


def never_asked(path: Path, lines: Sequence[Line], fix: str = PRUNE) -> CassetteError:
    """The error of a cassette of which some was never asked for.

    Args:
        path: The file.
        lines: What was not.
        fix: A sentence on what takes it out.
    """
    named = [f"  {summary(line.ask)}" for line in lines[:MOST_NAMED]]
    if (more := len(lines) - MOST_NAMED) > 0:
        named.append(f"  and {more:,} more")
    what = "call was" if len(lines) == 1 else "calls were"
    return CassetteError(
        "\n".join(
            [
                f"{len(lines):,} recorded {what} never asked for, in {path.name}:",
                *named,
                fix,
            ]
        )
    )


def not_recorded(asked: Ask, cassette: Cassette, command: str | None = None) -> NotRecordedError:
    """The error of a call that is to be replayed and is not there: what differs from those that are.

    Args:
        asked: The call.
        cassette: Where it is not.
        command: As of ``missing``.
    """
    name = cassette.file.path.name
    lines = [f"Not in {name}, from which answers are replayed: {summary(asked)}."]
    similar = nearest(asked, (line.ask for line in cassette.known()))
    if similar is None:
        lines.append(f"No call of the kind {asked['call']!r} is recorded there.")
    else:
        lines.append("The most similar recorded call differs in this:")
        lines += [f"  {difference}" for difference in differences(similar, asked)]
    magic = f"run `%farm record {name}` and the cells again; `FARM_CASSETTE=auto` records what is missing"
    lines.append(f"To record it, {f'run `{command}`' if command else magic}. Nobody was asked.")
    return NotRecordedError("\n".join(lines))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_cassettes.clear)  # what its parent is writing is the parent's
