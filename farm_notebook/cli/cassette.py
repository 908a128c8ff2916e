"""``farm cassette``: what is wrong with recorded calls, what tells two files apart, and putting it right."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from farm_notebook.cassettes import SUFFIX, CassetteFile, Line, cassette_path, missing, scrub_for
from farm_notebook.cassettes.asks import summary
from farm_notebook.cassettes.checking import (
    find_problems,
    overview,
    read_asked,
    scan_file,
    unasked_lines,
)
from farm_notebook.cassettes.comparing import compare_lines
from farm_notebook.cli.terminal import emit, note
from farm_notebook.config import load_config

__all__ = ["check", "diff", "prune", "scan"]

GIT_S = 10.0


def check(path: Path, *, asked: Path | None, fix: bool) -> bool:
    """Write to stdout what a cassette holds, and what is wrong with it.

    Args:
        path: The cassette, or its notebook.
        asked: What was asked for; what was not is wrong then.
        fix: Write it anew first.

    Returns:
        Whether nothing is wrong.

    Raises:
        CassetteError: It is not there, or cannot be read.
    """
    file = _opened(path)
    if fix:
        file.write_anew()
    lines = file.read().lines
    emit(f"{file.path.name}: {overview(lines)}", end="\n")
    problems = find_problems(file)
    known = scrub_for(load_config()).known
    if secrets := len(scan_file(file.path, known)):
        problems.append(
            f"It may hold secrets ({secrets:,}): `farm cassette scan {file.path.name}` says where."
        )
    if asked is not None:
        problems += (f"Never asked for: {summary(line.ask)}" for line in _unasked(file, asked))
    for problem in problems:
        emit(f"  {problem}", end="\n")
    if _may_conflict(file.path):
        note(
            f"git may take what two branches recorded for a conflict; '*{SUFFIX} merge=union' in a file "
            ".gitattributes has it keep both."
        )
    return not problems


def diff(before: Path, after: Path) -> bool:
    """Write to stdout what two cassettes have not in common; whether that is nothing.

    Raises:
        CassetteError: One is not there, or cannot be read.
    """
    found = compare_lines(*(_opened(path).read().lines for path in (before, after)))
    for difference in found:
        emit(f"{difference}", end="\n")
    return not found


def prune(path: Path, *, asked: Path | None) -> None:
    """Take out of a cassette what is not needed, and say how much that was.

    Args:
        path: The cassette, or its notebook.
        asked: What was asked for; other calls are taken out.

    Raises:
        CassetteError: It is not there, or cannot be read or written.
    """
    file = _opened(path)
    gone = {line.text for line in _unasked(file, asked)} if asked is not None else set()
    file.change(lambda lines: [line for line in lines if line.text not in gone])
    file.write_anew()
    pictures = file.drop_pictures()
    told = f"{len(gone):,} calls and {pictures:,} images" if asked is not None else f"{pictures:,} images"
    emit(f"{file.path.name}: {told} taken out, {overview(file.read().lines)} left", end="\n")


def scan(paths: Sequence[Path]) -> bool:
    """Write to stdout where something looks like a key; whether nothing does.

    Args:
        paths: Files; none means all cassettes below the working folder.

    Raises:
        OSError: One cannot be read.
    """
    known = scrub_for(load_config()).known
    is_clean = True
    for path in paths or sorted(Path().rglob(f"*{SUFFIX}")):
        for number, finding in scan_file(path, known):
            is_clean = False
            place = "cell" if path.suffix == ".ipynb" else "line"
            emit(f"{path}, {place} {number}: {finding.what}: {finding.where}", end="\n")
    return is_clean


def _opened(path: Path) -> CassetteFile:
    file = CassetteFile(cassette_path(path, lambda: None))
    if file.version is None:
        raise missing(file.path)
    return file


def _unasked(file: CassetteFile, asked: Path) -> tuple[Line, ...]:
    return unasked_lines(file.read().lines, read_asked(asked))


def _may_conflict(path: Path) -> bool:
    """Whether a file is in a git repository that would take two branches' additions to it for a conflict."""
    try:
        done = subprocess.run(
            ["git", "check-attr", "merge", "--", path.name],
            cwd=path.parent,
            capture_output=True,
            text=True,
            timeout=GIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and not done.stdout.strip().endswith(": union")
