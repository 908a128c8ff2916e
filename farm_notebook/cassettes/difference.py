"""What tells a call from the recorded ones, in words: for whoever meets one that was not recorded."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import takewhile
from typing import Any

from farm_notebook.cassettes.asks import Ask, canonical

__all__ = ["differences", "nearest"]

COMPARED_CHARS = 4000  # of what is asked: what is longer is told apart by them as well
SHOWN_CHARS = 70
AROUND = 20  # characters before the first that differs
LONGEST_LINES = 12
_MISSING = object()


def nearest(asked: Ask, recorded: Iterable[Ask]) -> Ask | None:
    """Of recorded calls of the same kind the most similar one, if there is any."""
    best: Ask | None = None
    best_score = -1.0
    text = _compared(asked)
    matcher = difflib.SequenceMatcher(None, "", text, autojunk=False)
    for other in recorded:
        if other["call"] != asked["call"]:
            continue
        matcher.set_seq1(_compared(other))
        bonus = sum(other.get(name) == asked.get(name) for name in ("model", "messages", "texts"))
        if bonus + matcher.real_quick_ratio() <= best_score or bonus + matcher.quick_ratio() <= best_score:
            continue
        score = bonus + matcher.quick_ratio()
        best, best_score = other, score
    return best


def differences(recorded: Ask, now: Ask) -> list[str]:
    """What differs between two calls: a line each, or several for a text."""
    before, after = dict(_flat("", recorded)), dict(_flat("", now))
    lines: list[str] = []
    for name in dict.fromkeys([*before, *after]):
        old, new = before.get(name, _MISSING), after.get(name, _MISSING)
        if old != new or type(old) is not type(new):
            lines += _difference(name, old, new)
    return lines


def _compared(asked: Ask) -> str:
    return canonical(asked)[-COMPARED_CHARS:]


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """All that is in a value, by its path; tools by their names."""
    if isinstance(value, Mapping) and value:
        for key, found in value.items():
            yield from _flat(f"{name}.{key}" if name else str(key), found)
    elif isinstance(value, list | tuple) and value and not all(isinstance(each, str) for each in value):
        for number, found in enumerate(value):
            yield from _flat(f"{name}[{_label(number, found)}]", found)
    else:
        yield name, list(value) if isinstance(value, tuple) else value


def _label(number: int, value: Any) -> str:
    return str(value["name"]) if isinstance(value, Mapping) and "name" in value else str(number)


def _difference(name: str, old: Any, new: Any) -> list[str]:
    if isinstance(old, str) and isinstance(new, str) and (len(old) > SHOWN_CHARS or len(new) > SHOWN_CHARS):
        return [f"{name}:", *_texts(old, new)]
    if old is _MISSING:
        return [f"{name}: not recorded, now {_short(new)}"]
    if new is _MISSING:
        return [f"{name}: recorded {_short(old)}, now absent"]
    return [f"{name}: recorded {_short(old)}, now {_short(new)}"]


def _texts(old: str, new: str) -> list[str]:
    if "\n" in old or "\n" in new:
        changed = difflib.unified_diff(old.splitlines(), new.splitlines(), n=1, lineterm="")
        lines = [f"  {line[: SHOWN_CHARS + AROUND]}" for line in list(changed)[3:]]
        more = len(lines) - LONGEST_LINES
        return lines[:LONGEST_LINES] + ([f"  … and {more} more lines"] if more > 0 else [])
    same = len([*takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False))])
    start = max(0, same - AROUND)
    return [f"  - {_window(old, start)}", f"  + {_window(new, start)}"]


def _window(text: str, start: int) -> str:
    end = start + SHOWN_CHARS
    return f"{'…' * (start > 0)}{text[start:end]}{'…' * (end < len(text))}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=dict)
    return text if len(text) <= SHOWN_CHARS + 2 else f"{text[:SHOWN_CHARS]}…"
