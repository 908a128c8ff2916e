"""The Redis store keeps values for a team; a server that is away, full or restarted costs no answer."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import ExitStack, aclosing
from dataclasses import replace
from typing import Any

import pytest
import store_programs as programs
from redis_server import PATIENT_S, Clients, RedisServer, listening
from store_checks import is_true_in_fork, warnings_of
from store_contract import HOUR_S, Clock, StoreContract

from farm_notebook.errors import MissingExtraError
from farm_notebook.pipeline.cache import cache
from farm_notebook.stores import redis_client
from farm_notebook.stores.redis import LARGEST_BYTES, RedisStore
from farm_notebook.stores.redis_client import RedisClient
from farm_notebook.types import ChatMessage, ChatRequest, Event, Finished, ModelRef, Started, TextDelta, Usage

Open = Callable[..., RedisStore]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def client(server: RedisServer, clients: Clients) -> RedisClient:
    """On the module's server, with a prefix of the test's own."""
    return clients(server.url, prefix=f"{uuid.uuid4()}:")


@pytest.fixture
async def open_store(client: RedisClient, clock: Clock) -> AsyncIterator[Open]:
    """A function that makes a store of the test's own; all are closed in the end."""
    stores: list[RedisStore] = []

    def make(*, ttl_s: float = HOUR_S) -> RedisStore:
        stores.append(RedisStore(client, ttl_s=ttl_s, clock=clock))
        return stores[-1]

    yield make
    for store in stores:
        await store.aclose()
    assert asyncio.all_tasks() == {asyncio.current_task()}


class TestContract(StoreContract):
    """What holds for every store."""


# The server's keys


async def test_redis_itself_drops_a_value_in_time(open_store: Open, client: RedisClient) -> None:
    store = open_store(ttl_s=50)
    store.put("a", b"one")
    await store.aclose()
    (name,) = await client.run(lambda redis: redis.keys(f"{client.prefix}*"))
    assert 0 < await client.run(lambda redis: redis.pttl(name)) <= 50_000


@pytest.mark.parametrize("ttl_s", [0.0001, 1e300])
async def test_any_time_to_live_will_do(ttl_s: float, open_store: Open) -> None:
    store = open_store(ttl_s=ttl_s)
    store.put("a", b"one")
    await store.aclose()
    assert (await store.stats()).entries <= 1


async def test_the_size_is_the_servers_own_business(open_store: Open, server: RedisServer) -> None:
    store = open_store()
    store.put("a", b"one")
    stats = await store.stats()
    assert (stats.max_bytes, stats.location) == (None, server.url)


async def test_clearing_touches_no_other_key(server: RedisServer, clients: Clients, clock: Clock) -> None:
    client = clients(server.url, prefix="team*[a]:")
    others = ["teamX[a]:answer:1:a", "team*a:answer:1:a", "team*[a]:ledger", "elsewhere"]
    store = RedisStore(client, ttl_s=HOUR_S, clock=clock)
    for name in others:
        await client.run(lambda redis, name=name: redis.set(name, b"theirs"))  # type: ignore[misc]
    store.put("a", b"one")
    assert await store.clear() == 1
    assert await client.run(lambda redis: redis.mget(others)) == [b"theirs"] * 4
    assert (await store.stats()).entries == 0


@pytest.mark.parametrize("content", [b"", b"1234567", b"\x7f\xf8" + bytes(6), b"not one of ours at all"])
async def test_what_somebody_else_wrote_there_is_not_given(
    content: bytes, open_store: Open, client: RedisClient
) -> None:
    store = open_store()
    store.put("a", b"one")
    await store.aclose()
    (name,) = await client.run(lambda redis: redis.keys(f"{client.prefix}answer:*"))
    await client.run(lambda redis: redis.set(name, content))
    assert await store.get("a") is None
    assert (await store.stats()).entries == 0


async def test_a_value_that_would_hold_up_the_others_is_not_kept(open_store: Open) -> None:
    store = open_store()
    store.put("a", bytes(LARGEST_BYTES + 1))
    store.put("b", bytes(LARGEST_BYTES))
    await store.aclose()
    assert [await store.get("a"), await store.get("b")] == [None, bytes(LARGEST_BYTES)]


async def test_no_task_waits_for_something_to_write(open_store: Open) -> None:
    store = open_store()
    for _ in range(3):
        store.put("a", b"one")
        assert store._writer is not None
        await asyncio.wait([store._writer], timeout=PATIENT_S)
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_put_from_a_thread_is_written_in_the_end(open_store: Open) -> None:
    store = open_store()
    await asyncio.to_thread(store.put, "a", b"one")
    assert await store.get("a") == b"one"
    await store.aclose()
    assert await store.get("a") == b"one"


# What breaks


async def test_a_server_that_is_away_is_told_of_once_and_costs_nothing(
    clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    store = RedisStore(clients("redis://127.0.0.1:1/0"), ttl_s=HOUR_S)
    for _ in range(5):
        store.put("a", b"one")
        assert await store.get("b") is None
        assert await store.get_many(["b"] * 300) == {}
    await store.aclose()
    (told,) = warnings_of(caplog)
    assert "redis://127.0.0.1:1/0" in told
    assert "Answers are not kept" in told
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1:1"):
        await store.stats()
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1:1"):
        await store.clear()


async def test_nothing_is_gathered_for_a_server_that_is_away(clients: Clients) -> None:
    store = RedisStore(clients("redis://127.0.0.1:1/0", clock=lambda: 1.0), ttl_s=HOUR_S)
    for number in range(1000):
        store.put(f"key{number}", b"x" * 1000)
    await store.aclose()
    assert await store.get("key1") is None
    store.put("key1", b"one")
    assert await store.get("key1") is None


async def test_it_keeps_answers_again_when_the_server_is_back(
    own_server: RedisServer, clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    now = Clock()
    store = RedisStore(clients(own_server.url, clock=now), ttl_s=HOUR_S)
    for _ in range(3):
        own_server.stop()
        assert await store.get("a") is None
        now.now += 100
        own_server.start()
        store.put("a", b"one")
        await store.aclose()
        assert await store.get("a") == b"one"
    assert len(warnings_of(caplog)) == 1


async def test_a_server_that_does_not_answer_is_waited_for_once(
    own_server: RedisServer, clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    now, patient = Clock(), RedisStore(clients(own_server.url), ttl_s=HOUR_S)
    patient.put("a", b"one")
    await patient.aclose()
    client = clients(own_server.url, timeout_s=1.0, clock=now)
    store = RedisStore(client, ttl_s=HOUR_S)
    own_server.freeze()
    assert await store.get("a") is None
    assert client.is_away
    for _ in range(1000):  # which would take as many seconds
        store.put("b", b"two")
        assert await store.get("a") is None
    own_server.thaw()
    now.now += 100
    async with asyncio.timeout(PATIENT_S):
        while await store.get("a") != b"one":
            now.now += 100
    assert len(warnings_of(caplog)) == 1


async def test_a_full_server_is_told_of_once_and_what_is_in_it_is_given(
    own_server: RedisServer, clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    client = clients(own_server.url)
    store = RedisStore(client, ttl_s=HOUR_S)
    store.put("a", b"one")
    await store.aclose()
    await client.run(lambda redis: redis.config_set("maxmemory", "1"))
    for number in range(5):
        store.put("b", b"a private answer")
        await store._settle()
        assert await store.get("a") == b"one"
        assert await store.get("b") is None, number
    (told,) = warnings_of(caplog)
    assert "maxmemory" in told
    assert "private" not in told
    await client.run(lambda redis: redis.config_set("maxmemory", "0"))
    await store.aclose()
    store.put("b", b"two")
    await store.aclose()
    assert await store.get("b") == b"two", "it is tried again"


@pytest.mark.parametrize(
    "nonsense",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"$abc\r\n", b":1\r\n", b"*1\r\n:5\r\n", b"*0\r\n", b"\xff"],
)
async def test_a_server_that_is_no_redis_is_told_of_once_and_costs_no_answer(
    nonsense: bytes, clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    now = Clock()

    async def answer(_told: bytes) -> bytes:
        return nonsense

    async with listening(answer) as (url, _):
        store = RedisStore(clients(url, timeout_s=0.2, clock=now), ttl_s=HOUR_S)
        for _ in range(3):
            assert await store.get("a") is None
            now.now += 100
            with pytest.raises(OSError, match=r"127\.0\.0\.1"):
                await store.stats()
            now.now += 100
        assert len(warnings_of(caplog)) == 1


async def test_a_missing_package_is_told_of_once(
    clients: Clients, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RedisStore(clients("redis://127.0.0.1:1/0"), ttl_s=HOUR_S)
    monkeypatch.setattr(redis_client, "_exceptions", None)
    monkeypatch.delitem(sys.modules, "redis.asyncio", raising=False)
    monkeypatch.setitem(sys.modules, "redis", None)
    for _ in range(3):
        store.put("a", b"one")
        assert await store.get("b") is None
    await store.aclose()
    (told,) = warnings_of(caplog)
    assert 'pip install "farm-notebook[redis]"' in told
    with pytest.raises(MissingExtraError):
        await store.stats()


# Under load


async def answer_of(request: ChatRequest) -> AsyncGenerator[Event, None]:
    yield Started(request.ref)
    await asyncio.sleep(0)
    yield TextDelta(f"answer to {request.messages[0].content}")
    yield Finished("stop", Usage(1, 2))


@pytest.mark.slow
async def test_a_restart_under_load_costs_no_answer_and_is_told_of_once(
    own_server: RedisServer, clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    client = clients(own_server.url)
    store = RedisStore(client, ttl_s=HOUR_S)
    request = ChatRequest(ModelRef("toy", "loud"), (ChatMessage("user", ""),), temperature=0.0)
    asked = 0

    async def known(_ref: ModelRef) -> str | None:
        return "digest"

    async def model(request: ChatRequest) -> AsyncGenerator[Event, None]:
        nonlocal asked
        asked += 1
        async with aclosing(answer_of(request)) as events:
            async for event in events:
                yield event

    handler = cache(store, known)(model)
    answered, is_over = 0, asyncio.Event()

    async def chat(person: int) -> None:
        nonlocal answered
        while not is_over.is_set():
            text = f"question {(person + answered) % 60}"
            question = replace(request, messages=(ChatMessage("user", text),))
            async with aclosing(handler(question)) as events:
                said = [event.text async for event in events if isinstance(event, TextDelta)]
            assert said == [f"answer to {text}"]
            answered += 1

    async def progress(count: int) -> None:
        before = answered
        async with asyncio.timeout(PATIENT_S):
            while answered < before + count:  # noqa: ASYNC110 - others make it
                await asyncio.sleep(0.001)

    async with asyncio.TaskGroup() as group:
        for person in range(20):
            group.create_task(chat(person))
        for _ in range(4):
            await progress(500)
            own_server.kill()
            await progress(500)
            await asyncio.to_thread(own_server.start)
        is_over.set()
    async with asyncio.timeout(PATIENT_S):
        while client.is_away:  # noqa: ASYNC110 - time passes
            await asyncio.sleep(0.01)
    assert asked < answered
    before = asked
    question = replace(request, messages=(ChatMessage("user", "afterwards"),))
    for _ in range(2):
        async with aclosing(handler(question)) as events:
            assert [event async for event in events][-1] == Finished("stop", Usage(1, 2))
        await store.aclose()
    assert asked == before + 1, "it is kept again"
    assert len(warnings_of(caplog)) == 1
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.slow
def test_processes_share_a_server_that_is_restarted_without_a_wrong_value(own_server: RedisServer) -> None:
    command = [sys.executable, programs.__file__, "hammer_redis", own_server.url]
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with ExitStack() as stack:
        running = [
            stack.enter_context(subprocess.Popen([*command, str(seed)], text=True, bufsize=1, **pipes))
            for seed in range(3)
        ]

        def all_find_something() -> bool:
            for process in running:
                process.stdin.write("find something\n")  # type: ignore[union-attr]
            return all(process.stdout.readline() for process in running)  # type: ignore[union-attr]

        assert all_find_something()
        for _ in range(3):
            own_server.restart()
            assert all_find_something()
        for process in running:
            _, err = process.communicate(timeout=120)
            assert process.returncode == 0, err
            assert len(err.splitlines()) <= 1, "told of once, where it was noticed at all"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
async def test_a_forked_child_leaves_its_parents_answers_to_its_parent(open_store: Open) -> None:
    store = open_store()
    store.put("a", b"one")
    await store.stats()
    store.put("b", b"of the parent")

    async def use() -> bool:
        is_pending = bool(store._pending)
        found = await store.get("a")
        store.put("c", b"of the child")
        await store.aclose()
        await store._client.aclose()
        return found == b"one" and not is_pending

    assert await is_true_in_fork(use)
    await store.aclose()
    assert [await store.get(key) for key in "abc"] == [b"one", b"of the parent", b"of the child"]
