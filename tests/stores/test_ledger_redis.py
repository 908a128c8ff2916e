"""The ledger in Redis is shared by a team; a server that is away, full or restarted costs no limit."""
# ruff: noqa: ASYNC110 - what others do is waited for

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ledger_programs import REQUESTS, SLOTS, SPENT, hammered
from redis_server import RedisServer

from farm_notebook.config import RedisConfig
from farm_notebook.stores import ledger_redis, redis_client
from farm_notebook.stores.ledger import Claim, Refusal, Reservation
from farm_notebook.stores.ledger_redis import RedisLedger
from farm_notebook.stores.redis_client import RedisClient

PATIENT_S = 30.0  # on a busy machine anything may take long
ONE_SLOT = [Claim(SLOTS, 1, 1, "slot")]
ONE_REQUEST = [Claim(REQUESTS, 1, 1, "window")]
SPENDING = [Claim(SPENT, 2, 100, "total")]

Open = Callable[..., RedisLedger]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    yield server
    server.stop()


@pytest.fixture
async def open_ledger(server: RedisServer) -> AsyncIterator[Open]:
    """A function that makes a ledger on the test's server; all are closed in the end."""
    made: list[tuple[RedisLedger, RedisClient]] = []

    def make(*, timeout_s: float = PATIENT_S) -> RedisLedger:
        client = RedisClient(RedisConfig(url=server.url), timeout_s=timeout_s)
        made.append((RedisLedger(client), client))
        return made[-1][0]

    yield make
    for ledger, client in made:
        await ledger.aclose()
        await client.aclose()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.fixture
def soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that was away is asked again very soon."""
    monkeypatch.setattr(redis_client, "FIRST_PAUSE_S", 0.02)
    monkeypatch.setattr(redis_client, "LONGEST_PAUSE_S", 0.05)
    monkeypatch.setattr(ledger_redis, "RETRY_S", 0.05)


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def granted(ledger: RedisLedger, claimed: list[Claim]) -> Reservation:
    outcome = await ledger.reserve(claimed)
    assert isinstance(outcome, Reservation), outcome
    return outcome


async def until(holds: Callable[[], Any]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(PATIENT_S):
        while not await holds():
            await asyncio.sleep(0.01)


async def test_what_one_was_granted_another_is_not(open_ledger: Open) -> None:
    one, other = open_ledger(), open_ledger()
    held = await granted(one, [*ONE_SLOT, *ONE_REQUEST])
    assert await other.reserve(ONE_SLOT) == Refusal(SLOTS, 0.1, 0)
    refusal = await other.reserve(ONE_REQUEST)
    assert isinstance(refusal, Refusal)
    assert 0 < refusal.wait_s <= 60
    one.settle(held, held.unused)

    async def is_free() -> bool:
        return isinstance(await other.reserve([*ONE_SLOT, *ONE_REQUEST]), Reservation)

    await until(is_free)


async def test_nothing_is_kept_for_ever(open_ledger: Open, server: RedisServer) -> None:
    ledger = open_ledger()
    held = await granted(ledger, [*ONE_SLOT, *ONE_REQUEST, *SPENDING])
    client = ledger._client
    names: list[Any] = await client.run(lambda redis: redis.keys("*"))
    assert len(names) == 6
    assert all(name.startswith(b"farm:ledger:") for name in names)
    for name in names:
        assert await client.run(lambda redis, name=name: redis.ttl(name)) > 0  # type: ignore[misc]
    ledger.settle(held)


async def test_a_holder_that_lives_is_heard_of(open_ledger: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_redis, "BEAT_S", 0.05)
    ledger = open_ledger()
    held = await granted(ledger, ONE_SLOT)

    async def lease() -> float:
        slots: Any = await ledger._client.run(
            lambda redis: redis.zrange(f"farm:ledger:slots:{SLOTS}", 0, -1, withscores=True)
        )
        ((_, until_s),) = slots
        return float(until_s)

    first = await lease()
    for beat in (1, 2):

        async def is_renewed(by_s: float = 0.03 * beat) -> bool:
            return await lease() > first + by_s

        await until(is_renewed)
    ledger.settle(held)
    await until(lambda: _is_zero(ledger, SLOTS))


async def _is_zero(ledger: RedisLedger, scope: str) -> bool:
    return await ledger.usage(scope) == 0


async def test_a_holder_that_is_not_heard_of_holds_nothing_any_more(
    open_ledger: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = open_ledger(), open_ledger()
    monkeypatch.setitem(ledger_redis._TIMES, "lease_s", 1)
    await granted(one, ONE_SLOT)
    assert isinstance(await other.reserve(ONE_SLOT), Refusal)

    async def is_free() -> bool:
        return isinstance(await other.reserve(ONE_SLOT), Reservation)

    await until(is_free)


async def test_one_that_is_cancelled_while_it_waits_for_the_server_was_granted_nothing(
    open_ledger: Open, server: RedisServer
) -> None:
    one, other = open_ledger(), open_ledger()
    await one.usage(SPENT)  # so that it is connected
    server.freeze()
    waiting = asyncio.create_task(one.reserve([*ONE_SLOT, *SPENDING]))
    await asyncio.sleep(0.05)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    server.thaw()

    async def is_free() -> bool:
        return (await other.usage(SLOTS), await other.usage(SPENT), one._owed) == (0, 0, [])

    await until(is_free)
    await granted(one, ONE_SLOT)


async def test_what_was_granted_though_nobody_heard_of_it_is_settled_too(
    open_ledger: Open, server: RedisServer, soon_again: None, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = open_ledger(timeout_s=0.5), open_ledger()
    await other.usage(SPENT)
    async with asyncio.timeout(PATIENT_S):
        while await one.usage(SPENT) or "cannot be used" in caplog.text:  # so that it is connected
            caplog.clear()
    server.freeze()
    held = await granted(one, [*ONE_SLOT, *SPENDING])
    server.thaw()
    assert len(warnings_of(caplog)) == 1
    one.settle(held, {SPENT: 1})

    async def is_settled() -> bool:
        return one._owed == [] and await other.usage(SLOTS) == 0

    await until(is_settled)
    assert await other.usage(SPENT) == 1


async def test_a_server_that_is_away_is_told_of_once_and_limits_hold(
    open_ledger: Open, server: RedisServer, caplog: pytest.LogCaptureFixture, soon_again: None
) -> None:
    server.stop()
    ledger = open_ledger()
    held = await granted(ledger, [*ONE_SLOT, *ONE_REQUEST, *SPENDING])
    for _ in range(3):
        assert isinstance(await ledger.reserve(ONE_SLOT), Refusal)
        await asyncio.sleep(0.06)
    ledger.settle(held, {SPENT: 1})
    await granted(ledger, ONE_SLOT)
    assert isinstance(await ledger.reserve(ONE_REQUEST), Refusal)
    assert await ledger.usage(SPENT) == 1
    (told,) = warnings_of(caplog)
    assert server.url in told
    assert "each process counts for itself" in told


async def test_a_server_that_takes_nothing_is_told_of_once_and_limits_hold(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = RedisServer(tmp_path, "--min-replicas-to-write", "1")  # and it has none
    client = RedisClient(RedisConfig(url=server.url), timeout_s=PATIENT_S)
    ledger = RedisLedger(client)
    try:
        held = await granted(ledger, [*ONE_SLOT, *SPENDING])
        assert isinstance(await ledger.reserve(ONE_SLOT), Refusal)
        ledger.settle(held, {SPENT: 1})
        assert await ledger.usage(SPENT) == 1
        assert len(warnings_of(caplog)) == 1
    finally:
        await ledger.aclose()
        await client.aclose()
        server.stop()


@pytest.mark.slow
async def test_a_server_that_is_restarted_under_load_costs_nothing_but_its_counts(
    open_ledger: Open, server: RedisServer, caplog: pytest.LogCaptureFixture, soon_again: None
) -> None:
    ledger, under_way, most, done, is_over = open_ledger(), 0, 0, 0, False

    async def work() -> None:
        nonlocal under_way, most, done
        while not is_over:
            outcome = await ledger.reserve([Claim(SLOTS, 1, 3, "slot"), Claim(SPENT, 2, 1e9, "total")])
            if isinstance(outcome, Reservation):
                under_way += 1
                most = max(most, under_way)
                await asyncio.sleep(0.001)
                under_way -= 1
                done += 1
                ledger.settle(outcome, {SPENT: 1})
            await asyncio.sleep(0.001)

    working = [asyncio.create_task(work()) for _ in range(6)]
    for _ in range(3):
        await asyncio.sleep(0.2)
        await asyncio.to_thread(server.restart)
    other = open_ledger()

    async def is_used_again() -> bool:
        return await other.usage(SPENT) > 20

    await until(is_used_again)
    is_over = True
    await asyncio.gather(*working)
    assert most == 3
    assert await ledger._own.usage(SPENT) == done, "the process's own count is whole"

    async def is_paid() -> bool:
        await ledger.usage(SPENT)
        return ledger._owed == []

    await until(is_paid)
    assert 0 < await other.usage(SPENT) <= done
    assert await other.usage(SLOTS) == 0
    assert len(warnings_of(caplog)) <= 1


@pytest.mark.slow
async def test_processes_that_hammer_it_keep_rate_and_concurrency_together(
    server: RedisServer, open_ledger: Open
) -> None:
    moments = await asyncio.to_thread(hammered, server.url, seconds=3)
    assert len(moments) > 10, "and they do not starve"
    ledger = open_ledger()
    assert await ledger.usage(SPENT) == len(moments), "the total is the sum of what was settled"
    assert await ledger.usage(SLOTS) == 0
