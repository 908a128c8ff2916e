"""Events as JSON values and back, exactly: what an answer is kept as.

A stretch of text that came piece by piece is kept as the whole text and the lengths of its pieces, each
length as one character. That reads well, and it is read ten times faster than a list of the pieces would be.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import accumulate, groupby, pairwise, repeat
from typing import Any, TypeAlias, get_args

from pydantic import TypeAdapter

from farm_notebook.types import Event, ReasoningDelta, TextDelta

__all__ = ["RECORDING_VERSION", "Recording", "dump", "load", "record", "replay"]

RECORDING_VERSION = 1  # to be raised when what was written before would be read as something else

# One entry an event, ``[kind, fields by name]``, and one a stretch of text, ``[kind, text, lengths]``.
Recording: TypeAlias = list[list[Any]]

_KINDS: dict[str, type[Event]] = {kind.__name__: kind for kind in get_args(Event)}
_TEXTS: dict[str, type[TextDelta | ReasoningDelta]] = {
    kind.__name__: kind for kind in (TextDelta, ReasoningDelta)
}
_ZERO, _LAST = ord("0"), ord("~")  # the lengths 0 and 78, as characters that can be seen
_LENGTHS = bytes(code - _ZERO if _ZERO <= code <= _LAST else 255 for code in range(256))  # by character


def record(events: Iterable[Event]) -> Recording:
    """The events as JSON values."""
    recording: Recording = []
    for kind, alike in groupby(events, type):
        name = kind.__name__
        if name in _TEXTS:
            pieces = [event.text for event in alike if isinstance(event, TextDelta | ReasoningDelta)]
            recording += ([name, *stretch] for stretch in _stretches(pieces))
        else:
            adapter = _adapter(name)
            recording += ([name, adapter.dump_python(event, exclude_defaults=True)] for event in alike)
    return recording


def replay(recording: Recording, *, in_pieces: bool = True) -> list[Event]:
    """The events of a recording, equal to those that were recorded.

    Args:
        recording: What ``record`` made.
        in_pieces: One for one. Without it a stretch of text is one event, which is much quicker.

    Raises:
        ValueError: This is no recording.
    """
    events: list[Event] = []
    try:
        for kind, *values in recording:
            if kind in _TEXTS:
                pieces = _pieces(*values) if in_pieces else values[:1]
                events += _deltas(_TEXTS[kind], pieces)
            else:
                (fields,) = values
                events.append(_adapter(kind).validate_python(fields))
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(f"This is no recording of an answer ({type(error).__name__}: {error}).") from None
    return events


def dump(recording: Recording) -> bytes:
    """A recording as JSON in UTF-8; half of a surrogate pair, which is no character, passes as it is."""
    text = json.dumps(recording, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass")


def load(content: bytes) -> Recording:
    """What ``dump`` wrote.

    Raises:
        ValueError: It is not JSON, or not a list.
    """
    try:
        recording = json.loads(content.decode("utf-8", "surrogatepass"))
    except RecursionError:
        raise ValueError("A recording is a list of lists, and this goes deeper and deeper.") from None
    if not isinstance(recording, list):
        raise ValueError(f"A recording is a list, and this is {recording!r:.60}.")  # noqa: TRY004 - as json.loads
    return recording


@cache
def _adapter(kind: str) -> TypeAdapter[Any]:
    return TypeAdapter(_KINDS[kind])


def _stretches(pieces: Sequence[str]) -> Iterator[list[str]]:
    """The pieces put together, with their lengths; one that is too long stands alone, without a length."""
    for is_too_long, some in groupby(pieces, lambda piece: len(piece) > _LAST - _ZERO):
        if is_too_long:
            yield from ([piece] for piece in some)
        else:
            stretch = list(some)
            yield ["".join(stretch), "".join(chr(_ZERO + len(piece)) for piece in stretch)]


def _pieces(text: str, lengths: str | None = None) -> list[str]:
    if not isinstance(text, str) or not isinstance(lengths, str | None):
        raise TypeError(f"{[text, lengths]!r:.60} is no text with the lengths of its pieces")
    if lengths is None:
        return [text]
    ends = [*accumulate(lengths.encode("ascii").translate(_LENGTHS), initial=0)]
    if ends[-1] != len(text):
        raise ValueError(f"the pieces of {text!r:.60} are {ends[-1]:,} of {len(text):,} characters long")
    return [text[start:end] for start, end in pairwise(ends)]


def _deltas(
    kind: type[TextDelta | ReasoningDelta], pieces: Sequence[str]
) -> Sequence[TextDelta | ReasoningDelta]:
    """``[kind(piece) for piece in pieces]`` in a third of the time: a frozen class has a slow ``__init__``,
    and this is most of what a replay does.
    """
    deltas = [*map(object.__new__, repeat(kind, len(pieces)))]
    deque(map(kind.__dict__["text"].__set__, deltas, pieces), maxlen=0)
    return deltas
