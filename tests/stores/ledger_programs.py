"""What the tests of the ledger run in processes of their own: ``ledger_programs.py NAME ARGUMENT ...``."""

from __future__ import annotations

import asyncio
import concurrent.futures.thread  # noqa: F401 - loaded before this is somebody who may not read it
import itertools
import logging
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil  # noqa: F401 - likewise

from farm_notebook.config import RedisConfig
from farm_notebook.stores import ledger as ledger_module
from farm_notebook.stores import ledger_file, ledger_memory, ledger_redis
from farm_notebook.stores.ledger import Claim, Ledger, Reservation
from farm_notebook.stores.ledger_redis import RedisLedger
from farm_notebook.stores.ledger_sqlite import SQLiteLedger
from farm_notebook.stores.redis_client import RedisClient

REQUESTS, SLOTS, SPENT = "limits/p/requests_per_minute", "limits/p/concurrency", "budget/cost/2026-11-28"


def claims(requests: float, slots: float) -> tuple[Claim, ...]:
    return (
        Claim(REQUESTS, 1, requests, "window"),
        Claim(SLOTS, 1, slots, "slot"),
        Claim(SPENT, 2, 1e9, "total"),
    )


def ledger_at(location: str) -> Ledger:
    """The one in a file, or in a Redis server by its address."""
    if location.startswith("redis:"):
        return RedisLedger(RedisClient(RedisConfig(url=location), timeout_s=30.0))
    return SQLiteLedger(Path(location))


async def hammer(location: str, seconds: str, requests: str, slots: str, minute_s: str) -> None:
    """Claim what others claim too, several at a time; print when each was granted and let go."""
    for module in (ledger_file, ledger_memory, ledger_module):
        vars(module)["WINDOW_S"] = float(minute_s)
    ledger_redis._TIMES["window_s"] = float(minute_s)
    ledger, end_at = ledger_at(location), time.time() + float(seconds)

    async def work() -> None:
        while time.time() < end_at:
            asked_at = time.time()
            granted = await ledger.reserve(claims(float(requests), float(slots)))
            if isinstance(granted, Reservation):
                held_from = time.time()
                await asyncio.sleep(0.002)
                print(f"{asked_at} {held_from} {time.time()}")
                ledger.settle(granted, {SPENT: 1})
            await asyncio.sleep(0.001)

    await asyncio.gather(*(work() for _ in range(3)))
    await ledger.aclose()


async def hold(location: str) -> None:
    """Hold a slot, print how many are held now, and spend for ever, until killed."""
    ledger = ledger_at(location)
    held = await ledger.reserve([Claim(SLOTS, 1, 10, "slot")])
    assert isinstance(held, Reservation)
    print(await ledger.usage(SLOTS), flush=True)
    for _ in itertools.count():
        granted = await ledger.reserve([Claim(SPENT, 2, 1e9, "total"), Claim(REQUESTS, 1, 1e9, "window")])
        assert isinstance(granted, Reservation)
        ledger.settle(granted, {SPENT: 1})
        await asyncio.sleep(0)


async def fill_up(location: str, limit_bytes: str) -> None:
    """Spend more than a file may hold here; print how much was spent in all, as this process sees it."""
    if int(limit_bytes):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit_bytes), int(limit_bytes)))
    ledger = ledger_at(location)
    for number in range(3000):
        # A scope of its own each time, so that the file has to grow.
        claimed = [Claim(SPENT, 2, 1e9, "total"), Claim(f"{SPENT}/{number:0200}", 1, 1, "total")]
        granted = await ledger.reserve(claimed)
        assert isinstance(granted, Reservation)
        ledger.settle(granted, {SPENT: 1})
    print(await ledger.usage(SPENT))
    await ledger.aclose()


async def try_in_vain(location: str) -> None:
    """Claim where nothing can be written, as somebody who may not do everything; limits hold all the same."""
    if os.getuid() == 0:
        os.setuid(65534)
    ledger = ledger_at(location)
    granted = [await ledger.reserve(claims(5, 100)) for _ in range(10)]
    print(sum(isinstance(each, Reservation) for each in granted))
    await ledger.aclose()


# How they are run


def command(name: str, *arguments: object) -> list[str]:
    return [sys.executable, __file__, name, *map(str, arguments)]


def hammered(location: object, *, seconds: float) -> list[tuple[float, float, float]]:
    """Have two processes hammer a ledger, and check that it never granted more than it may.

    Returns:
        When each claim was asked for, held from, and let go.
    """
    requests, slots, minute_s = 40, 3, 0.5
    started = [
        subprocess.Popen(
            command("hammer", location, seconds, requests, slots, minute_s),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    moments: list[tuple[float, ...]] = []
    for process in started:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, "")
        moments += [tuple(map(float, line.split())) for line in out.splitlines()]
    changes = sorted([(each[1], 1) for each in moments] + [(each[2], -1) for each in moments])
    most = max(itertools.accumulate(change for _, change in changes))
    assert 1 < most <= slots, "they were under way at the same time, and not too many"
    for begin, *_ in moments:  # what was asked for and held within a minute was granted in that minute
        end = begin + minute_s
        assert sum(begin <= asked_at and held_from < end for asked_at, held_from, _ in moments) <= requests
    return moments  # type: ignore[return-value]  # three each


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    programs = {each.__name__: each for each in (hammer, hold, fill_up, try_in_vain)}
    asyncio.run(programs[sys.argv[1]](*sys.argv[2:]))
