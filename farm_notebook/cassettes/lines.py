"""One recorded call as one line of JSON, and a file's text as lines.

    {"farm": 1, "id": "…", "take": 1, "ask": {…}, "digest": "…", "events": […], "ms": 812}

``id`` is made of what is asked, and ``take`` numbers calls that asked the same. What came of it is in
``events``, or in ``value`` where a call has one outcome; ``error`` is what it ended with, and ``interrupted``
that its caller left. A call that was made several ``times`` in a row with one outcome stands there once.
``digest`` is of the model that answered, and ``local`` that it ran on this machine. Within ``ask`` and
``events`` names are sorted, so that the same call is the same text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from farm_notebook.cassettes.asks import Ask, id_of
from farm_notebook.cassettes.events import Entries

__all__ = ["VERSION", "Contents", "Line", "in_order", "read_text", "write_text"]

VERSION = 1
_MARKS = (b"<<<<<<<", b"=======", b">>>>>>>", b"|||||||")


@dataclass(frozen=True)
class Line:
    """One call and what came of it, as JSON values.

    Args:
        ask: What was asked.
        take: Which of the calls that asked this, from 1.
        events: Of a stream, with their times; ``None`` where a call has a ``value``.
        value: Its outcome.
        error: What it failed with.
        is_interrupted: Its caller left before the end.
        digest: Of the model that answered, where that is known.
        is_local: The model ran on the machine that recorded it.
        took_ms: From the call to its end.
        times: How often it was made in a row with this outcome, as whoever looks again and again does.
    """

    ask: Ask
    take: int = 1
    events: Entries | None = None
    value: Any = None
    error: Mapping[str, Any] | None = None
    is_interrupted: bool = False
    digest: str | None = None
    is_local: bool = False
    took_ms: int = 0
    times: int = 1
    id: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", id_of(self.ask))

    @cached_property
    def text(self) -> str:
        """The line, without its end."""
        outcome = {"events": self.events} if self.events is not None else {"value": self.value}
        told = {"farm": VERSION, "id": self.id, "take": self.take, "ask": self.ask}
        rest = {
            "digest": self.digest,
            "local": self.is_local,
            **(outcome if self.error is None or self.events is not None else {}),
            "error": self.error,
            "interrupted": self.is_interrupted,
            "ms": self.took_ms,
            "times": self.times if self.times > 1 else None,
        }
        told |= {name: value for name, value in rest.items() if name == "value" or value not in (None, False)}
        return "{" + ", ".join(f'"{name}": {_dump(value)}' for name, value in told.items()) + "}"

    @cached_property
    def content(self) -> str:
        """The same for every take that is otherwise alike."""
        return self.text if self.take == 1 else replace(self, take=1).text


@dataclass(frozen=True)
class Contents:
    """What a file holds.

    Args:
        lines: In the order in which they are written, none twice.
        problems: What was passed over or put right in reading it, a sentence each.
    """

    lines: tuple[Line, ...] = ()
    problems: tuple[str, ...] = ()


def write_text(lines: Iterable[Line]) -> bytes:
    """The text of a file.

    Args:
        lines: As ``in_order`` gives them.
    """
    text = "".join(f"{line.text}\n" for line in lines)
    return text.encode("utf-8", "backslashreplace")  # half of a surrogate pair, as JSON escapes it


def read_text(text: bytes) -> Contents:
    """The lines of a file's text, in whatever order they stand.

    A last line that was torn off is passed over, and so is a line that stands there twice.

    Raises:
        ValueError: Naming the line that is none, and how to have it right.
    """
    lines: list[Line] = []
    problems: list[str] = []
    rows = text.split(b"\n")
    for number, row in enumerate(rows, 1):
        if row.startswith(_MARKS):
            raise ValueError(
                f"line {number} is a mark of a conflict that git left. Delete the lines that begin with "
                "<<<<<<<, =======, >>>>>>> and keep all others, from both sides; the line "
                "'*.farm.jsonl merge=union' in a file .gitattributes has git do so by itself"
            )
        if not row.strip():
            continue
        try:
            lines.append(_line(row, number, problems))
        except ValueError as error:
            if number < len(rows):
                raise ValueError(f"line {number} is no recorded call: {error}") from None
            problems.append(f"The last line, {number}, is torn off and was passed over.")
    found = {text: line for line in lines for text in (line.text,)}
    if twice := len(lines) - len(found):
        problems.append(f"{twice} of its lines {'stand' if twice > 1 else 'stands'} there twice.")
    texts = sorted(found, key=lambda text: (found[text].id, found[text].take, text))
    return Contents(in_order(found[text] for text in texts), tuple(problems))


def _line(row: bytes, number: int, problems: list[str]) -> Line:
    told = json.loads(row.decode("utf-8"))
    if not isinstance(told, dict) or not isinstance(told.get("ask"), dict) or "call" not in told["ask"]:
        raise ValueError(f"it is {row[:60]!r}")
    if told.get("farm") != VERSION:
        raise ValueError(
            f"it is of the format {told.get('farm')!r}, and this version of farm-notebook reads {VERSION}"
        )
    line = Line(
        told["ask"],
        int(told.get("take", 1)),
        told.get("events"),
        told.get("value"),
        told.get("error"),
        bool(told.get("interrupted", False)),
        told.get("digest"),
        bool(told.get("local", False)),
        int(told.get("ms", 0)),
        int(told.get("times", 1)),
    )
    if told.get("id") != line.id:
        problems.append(f"Line {number} was changed by hand: its id is that of another call.")
    return line


def in_order(lines: Iterable[Line]) -> tuple[Line, ...]:
    """Lines as they stand in a file: sorted by what is asked, and its takes numbered from 1 as they come."""
    takes: dict[str, list[Line]] = {}
    for line in lines:
        takes.setdefault(line.id, []).append(line)
    return tuple(
        line if line.take == number else replace(line, take=number)
        for found in sorted(takes)
        for number, line in enumerate(takes[found], 1)
    )


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=dict)
