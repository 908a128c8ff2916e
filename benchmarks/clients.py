"""One request by two hands: raw httpx2 with ``json.loads``, and the farm; both count what they were given."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine
from typing import Any, TypeAlias

import httpx2

from benchmarks.wire import WireProvider
from farm_notebook import AsyncFarm, ChatRequest
from farm_notebook.providers.openai_wire import request_body
from farm_notebook.types import TextDelta

__all__ = [
    "Call",
    "Runner",
    "asking",
    "chat",
    "closed",
    "count_bytes",
    "count_events",
    "count_json",
    "seconds",
    "times",
]

Call: TypeAlias = Coroutine[Any, Any, int]
Runner: TypeAlias = Callable[[Call], int]


def asking(
    client: httpx2.AsyncClient, url: str, request: ChatRequest
) -> Callable[[Callable[[AsyncIterable[bytes]], Awaitable[int]]], Call]:
    """The same request by hand: a function of what is to be done with the bytes."""
    synthetic = request.ref.provider == WireProvider.name
    address = f"{url}/{request.ref.model}" if synthetic else url
    body = request_body(request) | ({} if synthetic else {"return_progress": True, "cache_prompt": True})

    async def ask(read: Callable[[AsyncIterable[bytes]], Awaitable[int]]) -> int:
        async with client.stream("POST", address, json=body) as response:
            return await read(response.aiter_raw())

    return ask


async def count_bytes(chunks: AsyncIterable[bytes]) -> int:
    return sum([len(chunk) async for chunk in chunks])


async def count_json(chunks: AsyncIterable[bytes]) -> int:
    """What one would write by hand: lines, ``data:``, JSON, the text."""
    rest, deltas = b"", 0
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if not line.startswith(b"data: ") or line == b"data: [DONE]":
                continue
            for choice in json.loads(line[6:])["choices"]:
                deltas += bool(choice["delta"].get("content"))
    return deltas


async def count_events(core: AsyncFarm, request: ChatRequest) -> int:
    deltas = 0
    async for event in core.events(request):
        deltas += isinstance(event, TextDelta)
    return deltas


async def chat(core: AsyncFarm, request: ChatRequest) -> int:
    reply = await core.chat(
        request.messages[0].content,
        model=str(request.ref),
        temperature=request.temperature,
        max_tokens=request.max_tokens,
    )
    return len(reply.text)


async def times(number: int, call: Callable[[], Call]) -> int:
    return sum([await call() for _ in range(number)])


async def closed(client: httpx2.AsyncClient) -> int:
    await client.aclose()
    return 0


def seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
