"""Splits a byte stream of server-sent events into their data payloads, those of one read together.

Lines end at ``\\n`` or ``\\r\\n`` bytes only: U+2028 inside JSON is data, not a line end. Comments
(``:``) and every field but ``data`` are skipped; several ``data`` lines of one event are joined.
Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable

__all__ = ["data_payloads"]


async def data_payloads(chunks: AsyncIterable[bytes]) -> AsyncGenerator[list[bytes], None]:
    """The data of each event, in order, whatever way the bytes are cut into chunks.

    An event that the stream's end cut off is dropped, as the standard says.

    Yields:
        The payloads that a chunk completed, at least one: what arrived together is passed on together.
    """
    pending: list[bytes] = []
    data: list[bytes] = []
    async for chunk in chunks:
        payloads: list[bytes] = []
        head, newline, tail = chunk.rpartition(b"\n")
        if not newline:
            pending.append(chunk)
            continue
        for ended_line in b"".join((*pending, head)).split(b"\n"):
            line = ended_line.removesuffix(b"\r")
            if not line:
                if data:
                    payloads.append(b"\n".join(data))
                    data.clear()
            elif line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" "))
        pending = [tail]
        if payloads:
            yield payloads
