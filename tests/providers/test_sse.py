"""Server-sent events come out the same whatever way the network cuts the bytes."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm_notebook.providers.sse import data_payloads

LINE_ENDS = st.sampled_from([b"\n", b"\r\n"])
# Every character but the two that end a line: U+2028, U+0085, a lone surrogate's neighbours, all of them.
LINES = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20)


async def chunked(chunks: Iterable[bytes]) -> AsyncGenerator[bytes, None]:
    for chunk in chunks:
        yield chunk


async def payloads(*chunks: bytes) -> list[bytes]:
    return [payload async for payloads in data_payloads(chunked(chunks)) for payload in payloads]


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
async def test_any_cut_gives_the_payloads_that_were_sent(
    events: list[list[str]], line_end: bytes, places: list[int]
) -> None:
    encoded = [[line.encode() for line in lines] for lines in events]
    stream = b"".join(b"".join(b"data: " + line + line_end for line in lines) + line_end for lines in encoded)
    assert await payloads(*cut(stream, places)) == [b"\n".join(lines) for lines in encoded]


async def test_a_line_separator_inside_json_is_data() -> None:
    text = '{"a": "one\u2028two\u2029three\x85four\x0bfive"}'.encode()
    assert await payloads(b"data: " + text + b"\n\n") == [text]


async def test_a_carriage_return_cut_off_from_its_newline_still_ends_one_line_only() -> None:
    assert await payloads(b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n") == [b"a\nb"]


async def test_every_byte_may_come_alone() -> None:
    stream = "data: é\r\n\r\n: ping\n\ndata: 😀\n\n".encode()
    assert await payloads(*(bytes([byte]) for byte in stream)) == ["é".encode(), "😀".encode()]


async def test_several_data_lines_of_one_event_are_joined() -> None:
    assert await payloads(b"data: a\ndata: b\n\ndata: c\n\n") == [b"a\nb", b"c"]


@pytest.mark.parametrize(
    "noise", [b": a comment", b":", b"event: message", b"id: 7", b"retry: 10", b"database: x"]
)
async def test_comments_and_other_fields_are_no_data(noise: bytes) -> None:
    assert await payloads(b"data: a\n" + noise + b"\ndata: b\n\n" + noise + b"\n\n") == [b"a\nb"]


@pytest.mark.parametrize(
    ("line", "payload"), [(b"data:a", b"a"), (b"data: a", b"a"), (b"data:  a", b" a"), (b"data:", b"")]
)
async def test_one_space_after_the_colon_belongs_to_the_field(line: bytes, payload: bytes) -> None:
    assert await payloads(line + b"\n\n") == [payload]


async def test_an_event_that_the_end_cut_off_is_dropped() -> None:
    assert await payloads(b"data: whole\n\ndata: half\n") == [b"whole"]
    assert await payloads(b"data: whole\n\ndata: ha") == [b"whole"]


async def test_blank_lines_alone_are_no_event() -> None:
    assert await payloads(b"\n\r\n\n", b"", b"\n") == []


async def test_an_event_is_passed_on_before_the_next_chunk_is_asked_for() -> None:
    async def endless() -> AsyncGenerator[bytes, None]:
        yield b"data: a\n\nda"
        raise AssertionError("asked for more before passing on what was there")

    events = data_payloads(endless())
    assert await anext(events) == [b"a"]
