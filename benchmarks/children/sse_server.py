"""A loopback HTTP server that streams OpenAI-style chunks as fast as they are read.

``POST /<N>`` answers with N chunks of text and a last one with finish reason and usage, each an HTTP chunk
of its own as real servers send them. Prints its port; ends with its standard input.
"""

import asyncio
import json
import sys
from functools import cache
from typing import Any

PIECE = 32 * 1024  # bytes between two looks at whether the reader keeps up


def main() -> None:
    asyncio.run(serve())


async def serve() -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection, kept for as many requests as come."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            lines = head.decode().lower().split("\r\n")
            size = next((int(line[15:]) for line in lines if line.startswith("content-length:")), 0)
            await reader.readexactly(size)
            body = stream_of(int(lines[0].split()[1][1:]))
            for start in range(0, len(body), PIECE):
                writer.write(body[start : start + PIECE])
                await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


@cache
def stream_of(count: int) -> bytes:
    """The whole answer of ``count`` chunks, headers included."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    events = [event(number, {"content": f" w{number % 1000:03d}"}, None) for number in range(count)]
    events += [event(count, {}, "stop"), b"data: [DONE]\n\n"]
    return head + b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in events) + b"0\r\n\r\n"


def event(number: int, delta: dict[str, str], reason: str | None) -> bytes:
    """One server-sent event, with the fields that OpenAI sends."""
    chunk: dict[str, Any] = {
        "id": "chatcmpl-0123456789abcdefghijklmnopqrs",
        "object": "chat.completion.chunk",
        "created": 1760000000 + number // 1000,
        "model": "gpt-4o-mini-2024-07-18",
        "service_tier": "default",
        "system_fingerprint": "fp_0123456789",
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}],
    }
    if reason:
        chunk["usage"] = {"prompt_tokens": 9, "completion_tokens": number, "total_tokens": 9 + number}
    return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"


if __name__ == "__main__":
    main()
