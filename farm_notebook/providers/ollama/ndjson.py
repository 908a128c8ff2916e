"""Splits a byte stream of JSON values, one a line, into its lines.

Lines end at ``\\n`` or ``\\r\\n`` bytes only: U+2028 inside JSON is data, not a line end.
Source: https://github.com/ndjson/ndjson-spec
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable

from pydantic_core import from_json

__all__ = ["LineSplitter", "json_lines"]


class LineSplitter:
    """What has been read of one stream, whatever way its bytes are cut into chunks.

    No generator: an answer has thousands of chunks, and each would pay for one more.
    """

    def __init__(self) -> None:
        self._line: list[bytes] = []  # the pieces of a line that has not ended

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that this chunk completed, in order; empty ones are left out."""
        lines = chunk.split(b"\n")
        tail = lines.pop()
        if lines and self._line:
            lines[0] = b"".join((*self._line, lines[0]))
            self._line.clear()
        if tail:
            self._line.append(tail)
        return list(filter(bytes.strip, lines))

    def end(self) -> list[bytes]:
        """The last line, where it has no line end and counts all the same.

        That is if it is a whole JSON value, for a proxy may have trimmed it, and if it does not even begin as
        one; else the stream was cut off inside it.
        """
        rest = b"".join(self._line).strip()
        if rest.startswith(b"{"):
            try:
                from_json(rest)
            except ValueError:
                return []
        return [rest] if rest else []


async def json_lines(chunks: AsyncIterable[bytes]) -> AsyncGenerator[list[bytes], None]:
    """The lines of a stream whose speed does not matter.

    Yields:
        The lines that a chunk completed, at least one: what arrived together is passed on together.
    """
    splitter = LineSplitter()
    async for chunk in chunks:
        if lines := splitter.feed(chunk):
            yield lines
    if last := splitter.end():
        yield last
