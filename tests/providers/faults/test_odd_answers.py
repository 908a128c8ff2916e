"""However oddly a server frames, cuts or decorates a right answer, it is the right answer."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from faulty_server import Close, Reset, Script, Stall, Wait

from farm_notebook.types import Usage
from faults.dialects import CHAT, INPUT_TOKENS, LAST_CHUNK, OUTPUT_TOKENS, Dialect, whole
from faults.far_side import LONG_S, SHORT_S, TEXT, FarSide

pytestmark = pytest.mark.slow  # hundreds of cases, and some wait for a timer

USAGE = Usage(INPUT_TOKENS, OUTPUT_TOKENS)
GIANT = 8 * 2**20


@dataclass(frozen=True, slots=True)
class Oddity:
    """An unusual way to give a right answer."""

    script: Callable[[Dialect], Script]
    text: str = TEXT
    usage: Usage | None = USAGE


def stream_of(dialect: Dialect) -> bytes:
    return b"".join(dialect.parts())


def zipped(dialect: Dialect) -> bytes:
    body = gzip.compress(stream_of(dialect))
    return whole(body, "content-encoding: gzip", content_type=dialect.content_type)


ODDITIES: dict[str, Oddity] = {
    "a known length": Oddity(lambda d: (whole(stream_of(d), content_type=d.content_type),)),
    "chunks": Oddity(lambda d: (d.chunked(d.parts()),)),
    "an unknown length": Oddity(lambda d: (d.head() + stream_of(d), Close())),
    "HTTP/1.0": Oddity(lambda d: ((d.head() + stream_of(d)).replace(b"HTTP/1.1", b"HTTP/1.0", 1), Close())),
    "early hints": Oddity(
        lambda d: (b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + d.chunked(d.parts()),)
    ),
    "names on chunks and headers at the end": Oddity(
        lambda d: (d.chunked(d.parts()).replace(b"\r\n0\r\n\r\n", b"\r\n0;end=1\r\nx-trailer: 1\r\n\r\n"),)
    ),
    "another content type": Oddity(lambda d: (d.chunked(d.parts(), content_type="text/plain"),)),
    "no content type": Oddity(
        lambda d: (d.head().replace(b"content-type", b"x-none") + stream_of(d), Close())
    ),
    "zipped": Oddity(lambda d: (zipped(d),)),
    "a byte a chunk": Oddity(lambda d: (d.chunked(bytes([byte]) for byte in stream_of(d)),)),
    "lines that end as in DOS": Oddity(
        lambda d: (d.chunked(part.replace(b"\n", b"\r\n") for part in d.parts()),)
    ),
    "line separators in the text": Oddity(
        lambda d: (d.chunked(d.parts(["a\u2028b", "\u2029c\x85d", "\u000be"])),),
        "a\u2028b\u2029c\x85d\u000be",
    ),
    "characters of four bytes": Oddity(lambda d: (d.chunked(d.parts(["日本", "語 ", "😀"])),), "日本語 😀"),
    "a giant delta": Oddity(lambda d: (d.chunked(d.parts(["x" * GIANT])),), "x" * GIANT),
    "an empty delta": Oddity(lambda d: (d.chunked(d.parts(["one ", "", "two three"])),)),
    "token counts that never come": Oddity(lambda d: (d.chunked(d.parts(usage=None)),), usage=Usage()),
    "signs of life between events": Oddity(lambda d: (d.chunked(part + d.keep_alive for part in d.parts()),)),
    "two finish marks": Oddity(
        lambda d: (
            d.chunked(
                [*d.parts()[: -1 if d.done else None], d.finish((INPUT_TOKENS, OUTPUT_TOKENS)), d.done]
            ),
        )
    ),
    "more after the end": Oddity(lambda d: (d.chunked([*d.parts(), d.delta("four")]),)),
    "rubbish after the end": Oddity(lambda d: (d.chunked([*d.parts(), b"data: }{\n\n"]),)),
    "a connection that breaks after the end": Oddity(
        lambda d: (d.chunked(d.parts()).removesuffix(LAST_CHUNK), Wait(0.05), Reset())
    ),
}


@pytest.mark.parametrize("oddity", ODDITIES.values(), ids=ODDITIES)
def test_an_odd_way_to_answer_is_a_right_answer(far: FarSide, oddity: Oddity) -> None:
    reply = far.chat(*oddity.script(far.dialect))
    assert reply.text == oddity.text
    assert reply.finish_reason == "stop"
    assert reply.usage == oddity.usage


def test_an_answer_cut_in_two_anywhere_is_the_same_answer(far: FarSide) -> None:
    text = "é\u2028😀"
    stream, delta = b"".join(far.dialect.parts([text])), far.dialect.delta(text)
    begin = stream.index(delta)
    around_the_delta = range(begin, begin + len(delta) + 3)
    farm = far.farm()
    for place in sorted({*around_the_delta, *range(1, len(stream), 11)}):
        far.play((far.dialect.chunked([stream[:place], stream[place:]]),))
        assert farm.chat("hello", model=far.dialect.ref).text == text, place
    assert far.server.connections <= 2  # the first one may be used once, to see what the server is


def test_a_server_that_closes_after_each_answer_what_it_promised_to_keep_is_asked_anew(far: FarSide) -> None:
    far.play((far.dialect.chunked(far.dialect.parts(), "connection: keep-alive"), Close()))
    farm = far.farm()
    for _ in range(5):
        assert farm.chat("hello", model=far.dialect.ref).text == TEXT
        assert far.is_left()


@pytest.mark.parametrize("dialect", [CHAT], ids=["chat"], indirect=True)
def test_of_token_counts_on_every_chunk_the_last_are_right(far: FarSide) -> None:
    counts = b'"usage":{"prompt_tokens":5,"completion_tokens":%d},"choices"'
    first, *others = far.dialect.parts()
    counted = [part.replace(b'"choices"', counts % count) for count, part in enumerate(others[:3])]
    reply = far.chat(far.dialect.chunked([first, *counted, *others[3:]]))
    assert (reply.text, reply.usage) == (TEXT, USAGE)


@pytest.mark.parametrize("timer", ["idle_s", "total_s"])
def test_a_server_that_holds_a_finished_answers_connection_holds_nobody_up(far: FarSide, timer: str) -> None:
    far.play((far.dialect.chunked(far.dialect.parts()).removesuffix(LAST_CHUNK), Stall()))
    started = time.monotonic()
    reply = far.farm({timer: 2 * SHORT_S}).chat("hello", model=far.dialect.ref)
    assert (reply.text, reply.usage) == (TEXT, USAGE)
    assert time.monotonic() - started < LONG_S / 4
