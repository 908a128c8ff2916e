"""Whoever leaves a request early, at whatever stage, closes its connection within a second."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest
from faulty_server import Stall, deaf

from farm_notebook.errors import FarmError
from farm_notebook.types import Event, Finished, TextDelta
from faults.dialects import OLLAMA, as_chunk, whole
from faults.far_side import LONG_S, SHORT_S, FarSide, begun, connections_to, until

pytestmark = pytest.mark.slow  # hundreds of cases, and some wait for a timer


async def asked(far: FarSide) -> None:
    assert await asyncio.to_thread(far.server.wait_asked, 1, far.dialect.at)


async def cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancelling_while_connecting_gives_the_connection_up(far: FarSide) -> None:
    with deaf() as port:
        core = far.farm(url=f"http://127.0.0.1:{port}").core
        before = len(connections_to(port))  # those that fill the queue
        task = asyncio.create_task(core.chat("hello", model=far.dialect.ref))
        assert await asyncio.to_thread(until, lambda: len(connections_to(port)) > before, LONG_S)
        await cancelled(task)
        assert await asyncio.to_thread(until, lambda: len(connections_to(port)) == before)


async def test_cancelling_while_the_server_thinks_closes_the_connection(far: FarSide) -> None:
    far.play((Stall(),))
    task = asyncio.create_task(far.farm().core.chat("hello", model=far.dialect.ref))
    await asked(far)
    await cancelled(task)
    assert await asyncio.to_thread(far.is_left)


@pytest.mark.parametrize("texts", [(), ("one ",)], ids=["after the head", "after some text"])
async def test_cancelling_mid_stream_closes_the_connection(far: FarSide, texts: tuple[str, ...]) -> None:
    far.play((begun(far.dialect, *texts), Stall()))
    core = far.farm().core
    seen = asyncio.Event()

    async def read() -> None:
        async with aclosing(core.events(far.request(core))) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    seen.set()

    task = asyncio.create_task(read())
    await asked(far)
    if texts:
        await asyncio.wait_for(seen.wait(), LONG_S)
    await cancelled(task)
    assert await asyncio.to_thread(far.is_left)


async def test_leaving_a_text_stream_early_closes_the_connection(far: FarSide) -> None:
    far.play((begun(far.dialect, "one "), Stall()))
    async with aclosing(far.farm().core.stream("hello", model=far.dialect.ref)) as texts:
        assert await anext(texts) == "one "
    assert await asyncio.to_thread(far.is_left)


async def test_cancelling_between_the_finish_mark_and_the_end_closes_the_connection(far: FarSide) -> None:
    dialect = far.dialect
    held = begun(dialect, "one ") + as_chunk(dialect.finish(None))
    far.play((held, Stall()))
    core = far.farm().core
    events: AsyncGenerator[Event, None] = core.events(far.request(core))
    async with aclosing(events):
        while not isinstance(await anext(events), TextDelta):
            pass
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SHORT_S):
                assert isinstance(await anext(events), Finished)
    assert await asyncio.to_thread(far.is_left)


async def test_of_many_at_once_only_the_connections_of_those_that_left_are_closed(far: FarSide) -> None:
    far.play((begun(far.dialect, "one "), Stall()))
    core = far.farm().core
    chats = [asyncio.create_task(core.chat("hello", model=far.dialect.ref)) for _ in range(16)]
    assert await asyncio.to_thread(far.server.wait_asked, len(chats), far.dialect.at)
    for task in chats[::2]:
        await cancelled(task)
    connections = [request.is_over for request in far.server.asked(far.dialect.at)]
    assert await asyncio.to_thread(until, lambda: sum(over.is_set() for over in connections) == 8)
    for task in chats[1::2]:
        await cancelled(task)
    assert await asyncio.to_thread(until, lambda: all(over.is_set() for over in connections))


async def test_closing_the_farm_ends_its_streams_with_an_error_of_ours(far: FarSide) -> None:
    far.play((begun(far.dialect, "one "), Stall()))
    core = far.farm().core
    task = asyncio.create_task(core.chat("hello", model=far.dialect.ref))
    await asked(far)
    await core.aclose()
    with pytest.raises(FarmError):
        await task
    assert await asyncio.to_thread(far.is_left)


@pytest.mark.parametrize("dialect", [OLLAMA], ids=["ollama"], indirect=True)
async def test_cancelling_while_a_model_is_loaded_closes_the_connection(far: FarSide) -> None:
    far.server.play((whole(b'{"models": []}'),), at="/api/ps")
    far.server.play((Stall(),), at="/api/generate")
    task = asyncio.create_task(far.farm().core.chat("hello", model=far.dialect.ref))
    assert await asyncio.to_thread(far.server.wait_asked, 1, "/api/generate")
    await cancelled(task)
    assert await asyncio.to_thread(far.server.asked("/api/generate")[-1].is_over.wait, 1.0)
