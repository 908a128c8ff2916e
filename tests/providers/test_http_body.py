"""What has arrived of a body together is given together; nothing of it is lost, and nothing left open."""

from __future__ import annotations

import asyncio
import gc
import gzip
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import httpx2
import pytest
from faulty_server import Reset, Stall, Step, Wait, serving

from farm_notebook.providers.http_body import MOST_AHEAD_BYTES, body_chunks

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


def http_chunk(content: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(content), content)


async def read(*script: Step, into: list[bytes] | None = None) -> list[bytes]:
    """The body that a real server sends by a script."""
    got: list[bytes] = [] if into is None else into
    with serving() as server:
        server.play(script)
        async with (
            httpx2.AsyncClient(trust_env=False) as client,
            client.stream("GET", server.url) as response,
            aclosing(body_chunks(response)) as chunks,
        ):
            async for chunk in chunks:
                got.append(chunk)
    return got


class Body(httpx2.AsyncByteStream):
    """What a generator gives, and whether that was closed."""

    def __init__(self, make: Callable[[], AsyncGenerator[bytes, None]]) -> None:
        self._make = make
        self.given = 0
        self.is_closed = False

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        try:
            async for chunk in self._make():
                self.given += len(chunk)
                yield chunk
        finally:
            self.is_closed = True


async def endless() -> AsyncGenerator[bytes, None]:
    while True:
        yield b"x" * 1000


async def silent() -> AsyncGenerator[bytes, None]:
    yield b"first"
    await asyncio.Event().wait()


def others() -> set[asyncio.Task[None]]:
    return asyncio.all_tasks() - {asyncio.current_task()}


async def test_http_chunks_that_arrived_in_one_read_are_given_together() -> None:
    whole = HEAD + http_chunk(b"one ") + http_chunk(b"two ") + http_chunk(b"three") + LAST
    assert await read(whole) == [b"one two three"]


async def test_what_comes_piece_by_piece_is_given_so() -> None:
    pieces = [b"one ", b"two ", b"three"]
    steps = [step for piece in pieces for step in (Wait(0.05), http_chunk(piece))]
    assert await read(HEAD, *steps, LAST) == pieces


async def test_a_body_of_nothing_gives_nothing() -> None:
    assert await read(HEAD + LAST) == []


async def test_a_content_encoding_is_undone() -> None:
    head = HEAD.replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n")
    whole = head + http_chunk(gzip.compress(b"a long answer")) + LAST
    assert b"".join(await read(whole)) == b"a long answer"


async def test_what_came_before_the_connection_broke_is_given() -> None:
    got: list[bytes] = []
    script = (HEAD + http_chunk(b"one ") + http_chunk(b"two"), Wait(0.05), Reset())
    with pytest.raises(httpx2.HTTPError):
        await read(*script, into=got)
    assert got == [b"one two"]


async def test_a_reader_that_leaves_early_ends_the_reading_ahead() -> None:
    with serving() as server:
        server.play((HEAD + http_chunk(b"one"), Stall()))
        async with (
            httpx2.AsyncClient(trust_env=False) as client,
            client.stream("GET", server.url) as response,
        ):
            before = others()
            async with aclosing(body_chunks(response)) as chunks:
                assert await anext(chunks) == b"one"
                assert others() > before
            assert others() == before
        assert server.requests[0].is_over.wait(5)


async def test_a_reader_that_is_cancelled_ends_it_too() -> None:
    body = Body(silent)

    async def wait_for_more() -> None:
        async for _ in body_chunks(httpx2.Response(200, stream=body)):
            pass

    waiting = asyncio.create_task(wait_for_more())
    await asyncio.sleep(0.01)
    assert body.given
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert body.is_closed
    assert not others()


async def test_a_server_that_is_faster_than_its_reader_has_to_wait() -> None:
    body = Body(endless)
    async with aclosing(body_chunks(httpx2.Response(200, stream=body))) as chunks:
        taken = 0
        for _ in range(3):
            taken += len(await anext(chunks))
            await asyncio.sleep(0.01)
            assert taken <= body.given <= taken + MOST_AHEAD_BYTES + 1000
    assert body.is_closed


async def test_an_error_that_nobody_reads_on_to_is_not_complained_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def breaks() -> AsyncGenerator[bytes, None]:
        yield b"one"
        raise httpx2.ReadError("gone")

    async with aclosing(body_chunks(httpx2.Response(200, stream=Body(breaks)))) as chunks:
        assert await anext(chunks) == b"one"
    assert not others()
    gc.collect()
    assert not caplog.records
