"""A recording gives back the very events it was made of, and nothing else is taken for one."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from random_events import random_events

from farm_notebook.recording import dump, load, record, replay
from farm_notebook.types import Event, Finished, ModelRef, ReasoningDelta, Started, TextDelta

ANY_TEXT = st.text(st.characters(categories=["L", "N", "P", "Z", "S", "C"]))  # surrogates included
EVENTS = random_events(text=ANY_TEXT, refs=st.builds(ModelRef, st.text(min_size=1), st.text(min_size=1)))
streams = st.lists(st.one_of(*EVENTS.values()), max_size=30)
LONG = "x" * 60_000


def test_every_kind_of_event_is_tried_below() -> None:
    assert set(EVENTS) == set(get_args(Event))


@given(streams)
@example([])
@example([TextDelta(""), TextDelta(""), ReasoningDelta("")])
@example([TextDelta("a"), TextDelta(LONG), TextDelta(LONG), TextDelta("b" * 78), TextDelta("c" * 79)])
@example([TextDelta("\ud83d"), TextDelta("\ude00"), TextDelta("\ud83d\ude00"), TextDelta("😀")])
@example([TextDelta("x" * length) for length in (0, 44, 80, 200)])
def test_what_is_recorded_is_played_back_exactly(events: list[Event]) -> None:
    played = replay(load(dump(record(events))))
    assert played == events
    assert list(map(type, played)) == list(map(type, events))


@given(streams)
def test_what_is_played_back_in_whole_stretches_says_the_same(events: list[Event]) -> None:
    played = replay(record(events), in_pieces=False)
    for kind in (TextDelta, ReasoningDelta):
        said = ["".join(event.text for event in each if isinstance(event, kind)) for each in (events, played)]
        assert said[0] == said[1]
    others = [
        [event for event in each if not isinstance(event, TextDelta | ReasoningDelta)]
        for each in (events, played)
    ]
    assert others[0] == others[1]


def test_text_is_kept_whole_and_legible() -> None:
    recording = record([Started(ModelRef("a", "b")), TextDelta("Hello"), TextDelta(" you"), Finished("stop")])
    assert json.loads(dump(recording)) == [
        ["Started", {"ref": {"provider": "a", "model": "b"}}],
        ["TextDelta", "Hello you", "54"],
        ["Finished", {"reason": "stop"}],
    ]


def test_a_recording_is_not_much_longer_than_its_text() -> None:
    pieces = [TextDelta(" word") for _ in range(1000)]
    assert len(dump(record(pieces))) < 1.25 * sum(len(piece.text) for piece in pieces)


@pytest.mark.parametrize(
    "recording",
    [
        [["Started", {"ref": {"provider": "a"}}]],
        [["Started"]],
        [["Started", {"ref": {"provider": "a", "model": "b"}}, "more"]],
        [["Told", {}]],
        [["Finished", {"reason": "bored"}]],
        [["TextDelta"]],
        [["TextDelta", "Hello", "56"]],
        [["TextDelta", "Hello", "4"]],
        [["TextDelta", "Hello", "6/"]],
        [["TextDelta", "Hello", 5]],
        [["TextDelta", 5, "5"]],
        [["TextDelta", 5]],
        [[]],
        [5],
        [None],
        "Started",
    ],
)
def test_what_is_no_recording_is_an_error(recording: Any) -> None:
    with pytest.raises(ValueError, match="no recording"):
        replay(recording)


@pytest.mark.parametrize("content", [b"", b"[", b"{}", b"5", b"\xff\xff", b"null", b"[" * 100_000])
def test_what_was_never_written_is_an_error(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        load(content)


@given(st.data(), streams.filter(bool))
def test_a_damaged_recording_is_an_error_or_a_recording_of_something_else(
    data: st.DataObject, events: list[Event]
) -> None:
    content = bytearray(dump(record(events)))
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    try:
        played = replay(load(bytes(content)))
    except ValueError:
        return
    assert all(dataclasses.is_dataclass(event) for event in played)
