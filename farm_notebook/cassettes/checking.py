"""What is wrong with a cassette, or was never asked for; and secrets in files that are kept with others."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from farm_notebook.cassettes.asks import summary
from farm_notebook.cassettes.events import read_events
from farm_notebook.cassettes.failures import read_failure
from farm_notebook.cassettes.file import CassetteFile
from farm_notebook.cassettes.lines import Line, write_text
from farm_notebook.cassettes.scrub import Finding, find_secrets
from farm_notebook.cassettes.vectors import read_embeddings

__all__ = ["find_problems", "overview", "read_asked", "scan_file", "unasked_in", "unasked_lines"]

_NO_TEXTS = ("vectors", "id", "digest", "image/png", "image/jpeg", "image/gif")  # what is in them is no prose


def overview(lines: Sequence[Line]) -> str:
    """How many calls of which kinds."""
    kinds = Counter(line.ask["call"] for line in lines)
    told = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))
    return f"{len(lines):,} call{'s' * (len(lines) != 1)}{f' ({told})' if told else ''}"


def find_problems(file: CassetteFile) -> list[str]:
    """What is wrong with a cassette, a sentence each.

    Raises:
        CassetteError: It cannot be read at all.
    """
    contents = file.read()
    problems = [*contents.problems]
    if not problems and file.path.read_bytes().replace(b"\r\n", b"\n") != write_text(contents.lines):
        problems.append("Its lines are not as they are written: another order, or two takes of one number.")
    for line in contents.lines:
        problems += (f"{summary(line.ask)}, take {line.take}: {problem}" for problem in _problems(line, file))
    return problems


def scan_file(path: Path, known: Callable[[str], str] = str) -> list[tuple[int, Finding]]:
    """What looks like a secret in a cassette, a notebook or any text, with the numbers of its lines.

    Args:
        path: The file.
        known: Takes secrets out of a text that are known.

    Raises:
        OSError: It cannot be read.
    """
    text = path.read_text("utf-8", errors="replace")
    found: list[tuple[int, Finding]] = []
    if path.suffix == ".ipynb" and (notebook := _json(text)) is not None:
        for number, cell in enumerate(notebook.get("cells", ()) if isinstance(notebook, dict) else (), 1):
            found += ((number, finding) for finding in _findings(cell, known))
        return found
    for number, row in enumerate(text.split("\n"), 1):
        value = _json(row) if row.startswith("{") else None
        found += ((number, finding) for finding in _findings(row if value is None else value, known))
    return found


def read_asked(path: Path) -> frozenset[tuple[str, int]]:
    """The calls that were asked for, as ``cassette.asked_file`` was told: their ids and takes.

    Raises:
        OSError: It cannot be read.
    """
    rows = (row.split() for row in path.read_text("utf-8").splitlines())
    return frozenset((row[0], int(row[1])) for row in rows if len(row) == 2 and row[1].isdecimal())


def unasked_lines(lines: Sequence[Line], asked: frozenset[tuple[str, int]]) -> tuple[Line, ...]:
    """Those lines that nobody asked for."""
    return tuple(line for line in lines if (line.id, line.take) not in asked)


def unasked_in(file: CassetteFile, asked_file: Path) -> tuple[Line, ...]:
    """The recorded calls of a file that nobody asked for; none of one that is not there.

    Args:
        file: The cassette.
        asked_file: As ``cassette.asked_file`` was told; it is not there where nobody asked anything.
    """
    asked = read_asked(asked_file) if asked_file.exists() else frozenset[tuple[str, int]]()
    return unasked_lines(file.read().lines, asked)


def _problems(line: Line, file: CassetteFile) -> Iterator[str]:
    try:
        if line.events is not None:
            read_events(line.events)
        if line.error is not None:
            read_failure(line.error)
        if line.ask["call"] == "embed" and line.error is None:
            read_embeddings(line.value)
    except ValueError as error:
        yield f"{error}."
    for image in _images(line):
        if not any(file.pictures.glob(f"{image}.*")):
            yield f"its image {image[:12]}… is not in {file.pictures.name}; only re-recording needs it."


def _images(line: Line) -> Iterator[str]:
    for message in line.ask.get("messages", ()):
        for image in message.get("images", ()):
            yield str(image).partition("sha256=")[2]


def _findings(value: Any, known: Callable[[str], str]) -> Iterator[Finding]:
    if isinstance(value, str):
        yield from find_secrets(value, known)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name not in _NO_TEXTS:
                yield from _findings(inner, known)
    elif isinstance(value, list):
        if value and all(isinstance(each, str) for each in value):  # as notebooks have the lines of a text
            yield from find_secrets("".join(value), known)
        else:
            for inner in value:
                yield from _findings(inner, known)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
