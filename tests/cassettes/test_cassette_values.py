"""What is recorded is read back as what it was: events with their times, values, vectors, failures, lines."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_events import COUNTS, SECONDS
from streams import REF, events, failures, refs, same_failure, text

from farm_notebook.cassettes.events import Timed, read_events, scrub_entries, write_events
from farm_notebook.cassettes.failures import read_failure, write_failure
from farm_notebook.cassettes.lines import Line, in_order, read_text, write_text
from farm_notebook.cassettes.scrub import Scrub
from farm_notebook.cassettes.values import build, plain
from farm_notebook.cassettes.vectors import read_embeddings, write_embeddings
from farm_notebook.errors import RateLimitedError
from farm_notebook.router import RouteDecision
from farm_notebook.types import (
    Embeddings,
    LoadProgress,
    ModelInfo,
    ModelRef,
    ModelStatus,
    ProviderStatus,
    Started,
    TextDelta,
    Usage,
)


def through_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


timed = st.lists(st.tuples(st.integers(0, 5000), events), max_size=25).map(
    lambda pairs: [
        Timed(sum(wait for wait, _ in pairs[: n + 1]), event) for n, (_, event) in enumerate(pairs)
    ]
)


@given(timed)
def test_events_and_their_times_are_read_as_they_were_written(stream: list[Timed]) -> None:
    assert read_events(through_json(write_events(stream))) == stream


def test_a_text_that_comes_in_pieces_can_be_read_as_a_whole() -> None:
    pieces = [Timed(120, TextDelta("Paris")), Timed(127, TextDelta(" is")), Timed(140, TextDelta("."))]
    assert write_events([Timed(3, Started(REF)), *pieces]) == [
        ["started", 3, {"ref": "near:m:1"}],
        ["text", "Paris is.", "117/5 7/3 13/1"],
    ]


def test_progress_of_one_kind_is_one_entry() -> None:
    steps = [Timed(0, LoadProgress("load", 0, 9)), Timed(5, LoadProgress("load", 9, 9))]
    assert write_events(steps) == [["load_progress", "0/0 5/9", {"stage": "load", "total_bytes": 9}]]


def test_a_secret_that_came_in_pieces_is_taken_out_of_the_whole() -> None:
    key = "sk-planted0123456789abcdef"
    stream = [Timed(n, TextDelta(piece)) for n, piece in enumerate(["It is ", key[:9], key[9:], "."])]
    clean = scrub_entries(write_events(stream), Scrub())
    assert clean == [["text", "It is ***.", "3/10"]]
    assert read_events(clean) == [Timed(3, TextDelta("It is ***."))]


@pytest.mark.parametrize(
    "entries",
    [
        [["text", "abc", "0/2"]],
        [["shouted", 0, {}]],
        [["started", 0, {"ref": "nameless"}]],
        [["started", 0, {"ref": "near:m", "loud": True}]],
        [["started", "soon", {"ref": "near:m"}]],
        [["finished", 0, {"reason": "bored"}]],
        [["finished", 0, {}]],
        [[]],
        ["text"],
    ],
)
def test_what_is_no_event_is_an_error_that_quotes_it(entries: Any) -> None:
    with pytest.raises(ValueError, match="is no event"):
        read_events(entries)


infos = st.builds(
    ModelInfo,
    refs,
    st.none() | COUNTS,
    digest=st.none() | text,
    available=st.booleans(),
    capabilities=st.none() | st.frozensets(st.sampled_from(["chat", "tools", "vision"])),
)
decisions = st.builds(
    RouteDecision,
    text,
    refs,
    st.lists(refs).map(tuple),
    st.dictionaries(refs, SECONDS),
    st.dictionaries(text, COUNTS | text | st.none()),
    st.lists(text).map(tuple),
    st.dictionaries(refs, text),
)
statuses = st.builds(
    ModelStatus,
    refs,
    st.sampled_from(["ready", "failed"]),
    st.none() | COUNTS,
    devices=st.lists(text).map(tuple),
    idle_s=st.none() | SECONDS,
    base=st.none() | refs,
)
VALUES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (list[ModelInfo], st.lists(infos)),
    (RouteDecision, decisions),
    (list[ModelStatus], st.lists(statuses)),
    (list[ProviderStatus], st.lists(st.builds(ProviderStatus, text, st.booleans(), text, st.none() | text))),
    (tuple[ModelRef, ...], st.lists(refs).map(tuple)),
    (int | None, st.none() | COUNTS),
    (bool, st.booleans()),
]


@pytest.mark.parametrize(("kind", "strategy"), VALUES, ids=[str(kind) for kind, _ in VALUES])
@given(data=st.data())
def test_a_value_is_read_as_it_was_written(kind: Any, strategy: st.SearchStrategy[Any], data: Any) -> None:
    value = data.draw(strategy)
    again = build(kind, through_json(plain(value)))
    assert again == value
    assert type(again) is type(value)


@pytest.mark.parametrize(
    ("kind", "value"),
    [(bool, 1), (int, True), (str, None), (ModelRef, "x"), (int | None, "1"), (list[int], 3)],
)
def test_what_is_no_such_value_is_an_error(kind: Any, value: Any) -> None:
    with pytest.raises(ValueError, match="is no"):
        build(kind, value)


vectors = st.integers(0, 3).flatmap(
    lambda width: st.lists(
        st.lists(st.floats(-1, 1, width=32) | st.floats(-1, 1), min_size=width, max_size=width).map(tuple)
    ).map(tuple)
)


@given(vectors)
def test_vectors_are_the_same_to_the_last_bit(rows: tuple[tuple[float, ...], ...]) -> None:
    made = Embeddings(rows, REF, Usage(3))
    assert read_embeddings(through_json(write_embeddings(made))) == made


def test_vectors_of_half_precision_take_half_the_room() -> None:
    (short,) = write_embeddings(Embeddings(((0.5,) * 30,), REF))["vectors"]
    (long,) = write_embeddings(Embeddings(((0.1,) * 30,), REF))["vectors"]
    assert len(long) == 2 * len(short)


@given(failures())
def test_a_failure_is_raised_again_as_what_it_was(error: Any) -> None:
    assert same_failure(read_failure(through_json(write_failure(error))), error)


def test_a_kind_of_error_of_ones_own_is_recorded_as_the_one_of_ours_that_it_is() -> None:
    class Busy(RateLimitedError):
        pass

    error = read_failure(write_failure(Busy("Later.", retry_after_s=3)))
    assert (type(error), error.retry_after_s) == (RateLimitedError, 3)  # type: ignore[attr-defined]


@pytest.mark.parametrize("told", [{}, {"type": "Oops", "message": ""}, {"type": "FarmError"}, {"type": []}])
def test_what_is_no_failure_is_an_error(told: Any) -> None:
    with pytest.raises(ValueError, match="is no error"):
        read_failure(told)


asks = st.builds(lambda prompt: {"call": "chat", "model": "near:m", "messages": [{"content": prompt}]}, text)
lines = st.builds(
    Line,
    asks,
    events=timed.map(write_events),
    digest=st.none() | text.filter(bool),
    error=st.none() | failures().map(write_failure),
    is_interrupted=st.booleans(),
    is_local=st.booleans(),
    took_ms=COUNTS,
)


@given(st.lists(lines, max_size=6), st.randoms())
def test_a_file_holds_what_was_written_in_whatever_order_it_stands(many: list[Line], random: Any) -> None:
    written = write_text(in_order(many))
    rows = written.splitlines(keepends=True)
    rows += rows[:2]  # twice
    random.shuffle(rows)
    assert write_text(read_text(b"".join(rows)).lines) == written


def test_half_of_a_surrogate_pair_is_kept_in_a_file_that_is_utf_8() -> None:
    line = Line({"call": "chat", "messages": []}, events=write_events([Timed(0, TextDelta("a\ud800b"))]))
    written = write_text([line])
    written.decode("utf-8")
    (again,) = read_text(written).lines
    assert read_events(again.events or []) == [Timed(0, TextDelta("a\ud800b"))]
