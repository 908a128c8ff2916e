"""Server-sent events come out the same whatever way the network cuts the bytes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm_notebook.providers.sse import EventSplitter

LINE_ENDS = st.sampled_from([b"\n", b"\r\n"])
# Every character but the two that end a line: U+2028, U+0085, a lone surrogate's neighbours, all of them.
LINES = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20)


def payloads(*chunks: bytes) -> list[bytes]:
    splitter = EventSplitter()
    return [payload for chunk in chunks for payload in splitter.feed(chunk)]


def cut(content: bytes, places: Iterable[int]) -> list[bytes]:
    """The bytes in pieces, cut at the given places; a place given twice makes an empty piece."""
    inside = sorted(place % (len(content) + 1) for place in places)
    edges = [0, *inside, len(content)]
    return [content[start:end] for start, end in itertools.pairwise(edges)]


@given(
    events=st.lists(st.lists(LINES, min_size=1, max_size=3), max_size=6),
    line_end=LINE_ENDS,
    places=st.lists(st.integers(min_value=0, max_value=2000), max_size=30),
)
def test_any_cut_gives_the_payloads_that_were_sent(
    events: list[list[str]], line_end: bytes, places: list[int]
) -> None:
    encoded = [[line.encode() for line in lines] for lines in events]
    stream = b"".join(b"".join(b"data: " + line + line_end for line in lines) + line_end for lines in encoded)
    assert payloads(*cut(stream, places)) == [b"\n".join(lines) for lines in encoded]


def test_a_line_separator_inside_json_is_data() -> None:
    text = '{"a": "one\u2028two\u2029three\x85four\x0bfive"}'.encode()
    assert payloads(b"data: " + text + b"\n\n") == [text]


def test_a_carriage_return_cut_off_from_its_newline_still_ends_one_line_only() -> None:
    assert payloads(b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n") == [b"a\nb"]


def test_every_byte_may_come_alone() -> None:
    stream = "data: é\r\n\r\n: ping\n\ndata: 😀\n\n".encode()
    assert payloads(*(bytes([byte]) for byte in stream)) == ["é".encode(), "😀".encode()]


def test_several_data_lines_of_one_event_are_joined() -> None:
    assert payloads(b"data: a\ndata: b\n\ndata: c\n\n") == [b"a\nb", b"c"]


@pytest.mark.parametrize(
    "noise", [b": a comment", b":", b"event: message", b"id: 7", b"retry: 10", b"database: x"]
)
def test_comments_and_other_fields_are_no_data(noise: bytes) -> None:
    assert payloads(b"data: a\n" + noise + b"\ndata: b\n\n" + noise + b"\n\n") == [b"a\nb"]


@pytest.mark.parametrize(
    ("line", "payload"), [(b"data:a", b"a"), (b"data: a", b"a"), (b"data:  a", b" a"), (b"data:", b"")]
)
def test_one_space_after_the_colon_belongs_to_the_field(line: bytes, payload: bytes) -> None:
    assert payloads(line + b"\n\n") == [payload]


def test_an_event_that_the_end_cut_off_is_dropped() -> None:
    assert payloads(b"data: whole\n\ndata: half\n") == [b"whole"]
    assert payloads(b"data: whole\n\ndata: ha") == [b"whole"]


def test_blank_lines_alone_are_no_event() -> None:
    assert payloads(b"\n\r\n\n", b"", b"\n") == []


def test_an_event_is_given_out_with_the_chunk_that_ends_it() -> None:
    splitter = EventSplitter()
    assert splitter.feed(b"data: a\n\ndata: b\n\nda") == [b"a", b"b"]
    assert splitter.feed(b"ta: c\n") == []
    assert splitter.feed(b"\n") == [b"c"]
