"""What the tests of the store run in processes of their own: ``store_programs.py NAME ARGUMENT ...``."""

from __future__ import annotations

import asyncio
import concurrent.futures.thread  # noqa: F401 - loaded before this is somebody who may not read it
import hashlib
import itertools
import logging
import os
import random
import resource
import signal
import sys
from pathlib import Path

from farm_notebook.config import RedisConfig
from farm_notebook.stores import Store
from farm_notebook.stores.redis import RedisStore
from farm_notebook.stores.redis_client import RedisClient
from farm_notebook.stores.sqlite import SQLiteStore

KEYS = 40


def value_of(key: str, number: int) -> bytes:
    """A value that tells whether it is whole, and whose it is; from 1 to 60 KB."""
    body = f"{key}:{number}:".encode() + b"x" * (1000 + number * 7919 % 60_000)
    return body + hashlib.sha256(body).digest()


def is_value_of(key: str, value: bytes) -> bool:
    body, digest = value[:-32], value[-32:]
    return body.startswith(f"{key}:".encode()) and hashlib.sha256(body).digest() == digest


def store_at(path: str, *, max_bytes: int = 50_000_000) -> SQLiteStore:
    return SQLiteStore(Path(path), ttl_s=3600, max_bytes=max_bytes)


async def use(store: Store, chance: random.Random, number: int) -> bool:
    """Put or get a value that others put and get too; whether something was found."""
    key = f"key{chance.randrange(KEYS)}"
    if number % 10 == 0:
        await asyncio.sleep(0.001)
    if chance.random() < 0.3:
        store.put(key, value_of(key, number))
    elif (value := await store.get(key)) is not None:
        assert is_value_of(key, value), f"{key} has a value that is not whole or not its own"
        return True
    return False


async def hammer(path: str, seed: str, rounds: str) -> None:
    """Use a file; print how many gets found something."""
    store, chance = store_at(path), random.Random(seed)
    print(sum([await use(store, chance, number) for number in range(int(rounds))]))
    await store.aclose()


async def hammer_redis(url: str, seed: str) -> None:
    """Use a server until stdin ends; answer each line of it when something was found 100 times more."""
    client = RedisClient(RedisConfig(url=url), timeout_s=30)
    store, chance, found, goal = RedisStore(client, ttl_s=3600), random.Random(seed), 0, 0
    told = asyncio.create_task(asyncio.to_thread(sys.stdin.readline))
    for number in itertools.count():
        found += await use(store, chance, number)
        if goal and found >= goal:
            print(found, flush=True)
            told, goal = asyncio.create_task(asyncio.to_thread(sys.stdin.readline)), 0
        elif not goal and told.done():
            if not told.result():
                break
            goal = found + 100
    await store.aclose()
    await client.aclose()


async def write_for_ever(path: str) -> None:
    """Put values, and print a line for each one that was surely written, until killed."""
    store = store_at(path)
    for number in itertools.count():
        key = f"key{number % KEYS}"
        store.put(key, value_of(key, number))
        if number % 20 == 19:
            await store.stats()  # which writes first
            print(number, flush=True)


async def fill_up(path: str, limit_bytes: str) -> None:
    """Put more than a file may hold here; print how much of it can be got when it is opened again."""
    if int(limit_bytes):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit_bytes), int(limit_bytes)))
    store = store_at(path)
    for number in range(100):
        store.put(f"key{number}", value_of(f"key{number}", 1))
        if number % 10 == 9:
            await store.stats() if number < 10 else await asyncio.sleep(0.02)
    await store.aclose()
    values = [await store.get(f"key{number}") for number in range(100)]
    assert all(is_value_of(f"key{number}", value) for number, value in enumerate(values) if value)
    print(sum(value is not None for value in values))
    await store.aclose()


async def try_in_vain(path: str) -> None:
    """Use a store where nothing can be written, as somebody who may not do everything."""
    if os.getuid() == 0:
        os.setuid(65534)
    store = store_at(path)
    for number in range(50):
        store.put("key", value_of("key", number))
        assert number == 0 or await store.get("other") is None
    await store.aclose()
    print("done")


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    programs = {each.__name__: each for each in (hammer, hammer_redis, write_for_ever, fill_up, try_in_vain)}
    asyncio.run(programs[sys.argv[1]](*sys.argv[2:]))
