"""A stream as JSON and back, exactly, with the milliseconds at which its events came.

An entry is ``[kind, ms, fields]``, and ``ms`` the time since the entry before. A stretch of text is
``["text", "Paris is", "120/5 7/3"]``: the whole text, and of each piece when it came and how many characters
it has. So a text can be read in a diff and found by a search, and a key that came in pieces is seen as one.
Progress that is of one kind is written likewise, as ``["load_progress", "0/1024 12/2048", fields]``. A
token is a row with its logprob, and those of the likeliest: ``["a", -0.3, [["a", -0.3], ["the", -2.1]]]``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, NamedTuple, TypeAlias, cast, get_args

from farm_notebook.cassettes.values import build, plain
from farm_notebook.types import Event, LoadProgress, ReasoningDelta, TextDelta, TokenLogprob

__all__ = ["Entries", "Timed", "read_events", "scrub_entries", "write_events"]

Entries: TypeAlias = list[list[Any]]

_TEXTS: dict[str, type[TextDelta | ReasoningDelta]] = {"text": TextDelta, "reasoning": ReasoningDelta}
_PROGRESS = "load_progress"
_TOKEN = tuple(TokenLogprob.__slots__)


class Timed(NamedTuple):
    """An event, and when it came: milliseconds since the call."""

    at_ms: int
    event: Event


def _name(kind: type[Any]) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__.removesuffix("Delta")).lower()


_KINDS: dict[str, type[Event]] = {_name(kind): kind for kind in get_args(Event)}


def write_events(events: Iterable[Timed]) -> Entries:
    """The events as JSON values."""
    entries: Entries = []
    before = 0
    for _, alike in groupby(events, _stretch):
        stretch = list(alike)
        waits = [
            now.at_ms - was for now, was in zip(stretch, [before, *(t.at_ms for t in stretch)], strict=False)
        ]
        before = stretch[-1].at_ms
        entries += _entries([timed.event for timed in stretch], waits)
    return entries


def read_events(entries: Entries) -> list[Timed]:
    """The events of entries, equal to those that were written.

    Raises:
        ValueError: These are none.
    """
    events: list[Timed] = []
    at_ms = 0
    try:
        for entry in entries:
            for wait_ms, event in _read(*entry):
                at_ms += wait_ms
                events.append(Timed(at_ms, event))
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{entry!r:.80} is no event ({error})") from None
    return events


def scrub_entries(entries: Entries, scrub: Callable[[Any], Any]) -> Entries:
    """The same without secrets; a text that loses one is one piece from then on.

    Args:
        entries: What was written.
        scrub: Takes secrets out of a JSON value.
    """
    clean: Entries = []
    for kind, *rest in entries:
        if kind in _TEXTS:
            text, pieces = rest
            whole = scrub(text)
            if whole != text:
                pieces = f"{sum(wait for wait, _ in _pairs(pieces))}/{len(whole)}"
            clean.append([kind, whole, pieces])
        else:
            clean.append([kind, *scrub([_without_spelled(value, scrub) for value in rest])])
    return clean


def _without_spelled(fields: Any, scrub: Callable[[Any], Any]) -> Any:
    """The fields of an event without its tokens, where they spell a secret out that none of them is."""
    if not isinstance(fields, dict) or "logprobs" not in fields:
        return fields
    text = "".join(token for token, *_ in fields["logprobs"])
    return fields if scrub(text) == text else {**fields, "logprobs": []}


def _stretch(timed: Timed) -> object:
    """What neighbours have in common that are written as one entry; of others something of their own."""
    event = timed.event
    if isinstance(event, TextDelta | ReasoningDelta):
        return type(event)
    return replace(event, completed_bytes=0) if isinstance(event, LoadProgress) else object()


def _entries(events: Sequence[Event], waits: Sequence[int]) -> Iterator[list[Any]]:
    first, name = events[0], _name(type(events[0]))
    if isinstance(first, TextDelta | ReasoningDelta):
        texts = [cast(TextDelta, event).text for event in events]
        yield [name, "".join(texts), _numbers(waits, [len(text) for text in texts])]
    elif isinstance(first, LoadProgress):
        sizes = [cast(LoadProgress, event).completed_bytes for event in events]
        fields = plain(first)
        del fields["completed_bytes"]
        yield [name, _numbers(waits, sizes), fields]
    else:
        for event, wait_ms in zip(events, waits, strict=True):
            yield [name, wait_ms, _packed(plain(event))]


def _read(kind: str, *rest: Any) -> Iterator[tuple[int, Event]]:
    if kind in _TEXTS:
        text, pieces = rest
        start = 0
        for wait_ms, length in _pairs(pieces):
            yield wait_ms, _TEXTS[kind](text[start : start + length])
            start += length
        if start != len(text):
            raise ValueError(f"its pieces have {start:,} characters, and it has {len(text):,}")
    elif kind == _PROGRESS:
        sizes, fields = rest
        for wait_ms, size in _pairs(sizes):
            yield wait_ms, build(LoadProgress, {**fields, "completed_bytes": size})
    else:
        wait_ms, fields = rest
        yield build(int, wait_ms), build(_KINDS[kind], _unpacked(fields))


def _packed(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of an event, its tokens as rows: there are many, and what is called a token looks secret."""
    if "logprobs" not in fields:
        return fields
    rows = [[told.get(name, []) for name in _TOKEN] for told in fields["logprobs"]]
    return fields | {"logprobs": rows}


def _unpacked(fields: dict[str, Any]) -> dict[str, Any]:
    if "logprobs" not in fields:
        return fields
    return fields | {"logprobs": [dict(zip(_TOKEN, row, strict=True)) for row in fields["logprobs"]]}


def _numbers(waits: Sequence[int], sizes: Sequence[int]) -> str:
    return " ".join(f"{wait_ms}/{size}" for wait_ms, size in zip(waits, sizes, strict=True))


def _pairs(text: str) -> list[tuple[int, int]]:
    pairs = [pair.partition("/") for pair in text.split()]
    return [(int(wait_ms), int(size)) for wait_ms, _, size in pairs]
