"""A loopback HTTP server that streams chunks as fast as they are read.

``POST /<N>`` and ``POST /<N>/...`` answer with N chunks of text and a last one with finish reason and usage,
each an HTTP chunk of its own as real servers send them: in OpenAI's words, or in Ollama's where the path ends
in ``/api/chat``. ``GET`` answers as an Ollama that has its model loaded. Prints its port; ends with its
standard input.
"""

import asyncio
import json
import sys
from functools import cache
from typing import Any

PIECE = 32 * 1024  # bytes between two looks at whether the reader keeps up
MODEL = {"name": "llama3.2:latest", "model": "llama3.2:latest", "size": 1, "digest": "a" * 64}


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
            method, path = lines[0].split()[:2]
            if method == "get":
                body = LOADED
            else:
                body = stream_of(int(path.split("/")[1]), is_ollama=path.endswith("/api/chat"))
            for start in range(0, len(body), PIECE):
                writer.write(body[start : start + PIECE])
                await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def whole(body: bytes) -> bytes:
    """A response that is not streamed."""
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
        len(body),
        body,
    )


LOADED = whole(json.dumps({"models": [MODEL]}).encode())


@cache
def stream_of(count: int, *, is_ollama: bool) -> bytes:
    """The whole answer of ``count`` chunks, headers included."""
    kind = b"application/x-ndjson" if is_ollama else b"text/event-stream"
    head = b"HTTP/1.1 200 OK\r\ncontent-type: " + kind + b"\r\ntransfer-encoding: chunked\r\n\r\n"
    chunks = ollama_lines(count) if is_ollama else openai_events(count)
    return head + b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in chunks) + b"0\r\n\r\n"


def openai_events(count: int) -> list[bytes]:
    events = [event(number, {"content": f" w{number % 1000:03d}"}, None) for number in range(count)]
    return [*events, event(count, {}, "stop"), b"data: [DONE]\n\n"]


def ollama_lines(count: int) -> list[bytes]:
    """Lines with the fields that Ollama sends."""
    stamp = {"model": MODEL["name"], "created_at": "2026-11-22T12:00:00.123456789Z"}
    lines: list[dict[str, Any]] = [
        {**stamp, "message": {"role": "assistant", "content": f" w{number % 1000:03d}"}, "done": False}
        for number in range(count)
    ]
    end = {"message": {"role": "assistant", "content": ""}, "done_reason": "stop", "done": True}
    counts = {"total_duration": 1, "load_duration": 1, "prompt_eval_count": 9, "eval_count": count}
    return [json.dumps(line).encode() + b"\n" for line in [*lines, {**stamp, **end, **counts}]]


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
