"""What two cassettes, or two answers to one question, have not in common; when they came does not count."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from farm_notebook.cassettes.asks import summary
from farm_notebook.cassettes.lines import Line
from farm_notebook.cassettes.vectors import read_embeddings

__all__ = ["Difference", "compare_lines", "drift"]

_TEXTS = ("text", "reasoning")


@dataclass(frozen=True, slots=True)
class Difference:
    """A call that is in one cassette only, or that was answered otherwise.

    Args:
        mark: ``-`` is in the first one only, ``+`` in the second, ``~`` in both.
        line: The call; of two the second.
        details: What changed, in words.
    """

    mark: Literal["-", "+", "~"]
    line: Line
    details: tuple[str, ...] = ()

    def __str__(self) -> str:
        take = f", take {self.line.take}" if self.line.take > 1 else ""
        told = f": {'; '.join(self.details)}" if self.details else ""
        return f"{self.mark} {summary(self.line.ask)}{take}{told}"


def compare_lines(before: Sequence[Line], after: Sequence[Line]) -> list[Difference]:
    """The differences between two cassettes.

    Args:
        before: The lines of the first.
        after: Those of the second.
    """
    old, new = ({(line.id, line.take): line for line in lines} for lines in (before, after))
    found = [Difference("-", line) for key, line in old.items() if key not in new]
    for key, line in new.items():
        if key not in old:
            found.append(Difference("+", line))
        elif details := tuple(drift(old[key], line)):
            found.append(Difference("~", line, details))
    return found


def drift(before: Line, after: Line) -> Iterator[str]:
    """What came of a call once and then again: what changed, in words; nothing where nothing did."""
    ends = _end(before), _end(after)
    if ends[0] != ends[1]:
        yield f"it ended with {ends[0]}, and then with {ends[1]}"
    if before.digest != after.digest:
        yield f"the model's digest was {_short(before.digest)} and is {_short(after.digest)}"
    if ends[0] != ends[1] or before.error is not None:
        return
    if before.events is not None and after.events is not None:
        yield from _answers(before, after)
    elif before.ask["call"] == "embed":
        yield from _vectors(before.value, after.value)
    elif before.value != after.value:
        yield "its outcome changed"


def _answers(before: Line, after: Line) -> Iterator[str]:
    for kind in _TEXTS:
        old, new = _text(before, kind), _text(after, kind)
        if old != new:
            alike = difflib.SequenceMatcher(None, old, new, autojunk=False).ratio()
            lengths = f"{len(old):,} characters before, {len(new):,} now"
            yield f"its {kind} changed ({alike:.0%} alike; {lengths})"
    if _calls(before) != _calls(after):
        yield f"it called {_calls(before) or 'no tool'}, and now {_calls(after) or 'none'}"
    old_usage, new_usage = _usage(before), _usage(after)
    if old_usage != new_usage:
        yield f"its usage was {old_usage} and is {new_usage}"


def _vectors(before: Any, after: Any) -> Iterator[str]:
    old, new = read_embeddings(before).vectors, read_embeddings(after).vectors
    if old == new:
        return
    if [len(row) for row in old] != [len(row) for row in new]:
        yield "its vectors have another width"
        return
    cosines = (
        sum(a * b for a, b in zip(row, other, strict=True)) for row, other in zip(old, new, strict=True)
    )
    yield f"its vectors changed (the least similar has a cosine of {min(cosines, default=1.0):.4f})"


def _end(line: Line) -> str:
    if line.is_interrupted:
        return "its caller leaving"
    return "an answer" if line.error is None else str(line.error.get("type"))


def _text(line: Line, kind: str) -> str:
    return "".join(entry[1] for entry in line.events or () if entry[0] == kind)


def _calls(line: Line) -> str:
    calls = [entry[2] for entry in line.events or () if entry[0] == "tool_call"]
    return ", ".join(f"{call.get('name')}({call.get('arguments')})" for call in calls)


def _usage(line: Line) -> str:
    usages = [entry[2].get("usage", {}) for entry in line.events or () if entry[0] == "finished"]
    return ", ".join(f"{name} {count}" for name, count in (usages[-1] if usages else {}).items()) or "unknown"


def _short(digest: str | None) -> str:
    return "unknown" if digest is None else f"{digest[:12]}…"
