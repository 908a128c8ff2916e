"""Splits the bytes of a stream of server-sent events into the data of its events.

Lines end at ``\\n`` or ``\\r\\n`` bytes only: U+2028 inside JSON is data, not a line end. Comments
(``:``) and every field but ``data`` are skipped; several ``data`` lines of one event are joined.
Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

__all__ = ["EventSplitter"]


class EventSplitter:
    """What has been read of one stream, whatever way its bytes are cut into chunks.

    No generator: a stream has thousands of chunks, and each would pay for one more.
    """

    def __init__(self) -> None:
        self._line: list[bytes] = []  # the pieces of a line that has not ended
        self._data: list[bytes] = []  # the ``data`` lines of an event that has not ended

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of the events that this chunk completed, in order.

        An event that the stream's end cuts off is never given out, as the standard says.
        """
        lines = chunk.split(b"\n")
        tail = lines.pop()
        if lines and self._line:
            lines[0] = b"".join((*self._line, lines[0]))
            self._line.clear()
        if tail:
            self._line.append(tail)
        payloads: list[bytes] = []
        for ended_line in lines:
            line = ended_line.removesuffix(b"\r")
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            elif not line and self._data:
                payloads.append(b"\n".join(self._data))
                self._data.clear()
        return payloads
