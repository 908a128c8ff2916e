"""Splits a byte stream of JSON values, one a line, those of one read together.

Lines end at ``\\n`` or ``\\r\\n`` bytes only: U+2028 inside JSON is data, not a line end.
Source: https://github.com/ndjson/ndjson-spec
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import suppress

from pydantic_core import from_json

__all__ = ["json_lines"]


async def json_lines(chunks: AsyncIterable[bytes]) -> AsyncGenerator[list[bytes], None]:
    """The lines, in order, whatever way the bytes are cut into chunks; empty ones are left out.

    A last line without a line end counts if it is a whole JSON value, for a proxy may have trimmed it, and if
    it does not even begin as one; else the stream was cut off inside it.

    Yields:
        The lines that a chunk completed, at least one: what arrived together is passed on together.
    """
    pending: list[bytes] = []
    async for chunk in chunks:
        head, newline, tail = chunk.rpartition(b"\n")
        if not newline:
            pending.append(chunk)
            continue
        ended = b"".join((*pending, head)).split(b"\n")
        pending = [tail]
        if lines := [line for line in ended if line.strip()]:
            yield lines
    if rest := b"".join(pending).strip():
        with suppress(ValueError):
            if rest.startswith(b"{"):
                from_json(rest)
            yield [rest]
