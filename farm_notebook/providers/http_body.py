"""Reads the body of a response while it comes: what has arrived together is given together.

A server that streams sends each piece as an HTTP chunk of its own, and httpx2 gives each by itself, also
those that came in one read of the socket. Each would pay for the whole way up to the reader; so a task reads
ahead until it would have to wait, and the reader gets what there is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

import httpx2

from farm_notebook.lifecycle.finishing import call_off

__all__ = ["body_chunks"]

MOST_AHEAD_BYTES = 1 << 20  # a reader that is slower than the server has it wait


async def body_chunks(response: httpx2.Response) -> AsyncGenerator[bytes, None]:
    """The body of a response while it comes, its content encoding undone.

    Whoever has the response closes it, and this generator before it.

    Raises:
        httpx2.HTTPError: The connection broke; everything that came before has been given.
    """
    ahead = _Ahead()
    reading = asyncio.create_task(ahead.read(_source(response)))
    try:
        while chunk := await ahead.take():
            yield chunk
        await reading
    finally:
        await call_off(reading)


def _source(response: httpx2.Response) -> AsyncGenerator[bytes, None]:
    """Where there is no encoding to undo, past httpx2's decoder and ``aiter_raw``: two generators a chunk."""
    if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
        return response.aiter_bytes()
    return cast("AsyncGenerator[bytes, None]", aiter(cast("httpx2.AsyncByteStream", response.stream)))


class _Ahead:
    """The bytes between the task that reads them and the reader who wants them."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._bytes = 0
        self._has_ended = False
        self._arrived = asyncio.Event()
        self._taken = asyncio.Event()

    async def read(self, source: AsyncGenerator[bytes, None]) -> None:
        """Gather what comes, until it ends or breaks."""
        try:
            async with aclosing(source):
                async for chunk in source:
                    self._chunks.append(chunk)
                    self._bytes += len(chunk)
                    self._arrived.set()
                    if self._bytes > MOST_AHEAD_BYTES:
                        self._taken.clear()
                        await self._taken.wait()
        finally:
            self._has_ended = True
            self._arrived.set()

    async def take(self) -> bytes:
        """What has come since the last call, at least one byte; none where no more comes."""
        while not self._bytes and not self._has_ended:
            self._arrived.clear()
            await self._arrived.wait()
        taken = b"".join(self._chunks)
        self._chunks.clear()
        self._bytes = 0
        self._taken.set()
        return taken
