"""What holds for every store. The tests of each run it, with an ``open_store`` and a ``clock`` of theirs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import pytest

from farm_notebook.stores import Store

__all__ = ["Clock", "Open", "StoreContract"]

HOUR_S = 3600.0
VALUES = [b"", b"\x00", b"one\n", b"\xff\xfe", os.urandom(100_000)]
KEYS = ["", "a b*?[", "ключ", "x" * 300]

Open = Callable[..., Store]
"""Makes a store of the test's own values; ``ttl_s`` is how long it keeps them, an hour if it is not said."""


class Clock:
    """Seconds since 1970, moved by hand."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class StoreContract:
    """One sentence a test."""

    async def test_what_is_put_can_be_got_at_once_and_after_it_was_written(self, open_store: Open) -> None:
        store = open_store()
        store.put("a", b"one")
        assert await store.get("a") == b"one"
        await store.aclose()
        assert await open_store().get("a") == b"one"
        assert await store.get("a") == b"one", "a closed store opens again"

    async def test_what_was_never_put_is_not_there(self, open_store: Open) -> None:
        assert await open_store().get("a") is None

    @pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{len(value)}-bytes")
    async def test_a_value_is_any_bytes(self, value: bytes, open_store: Open) -> None:
        store = open_store()
        store.put("a", value)
        assert await store.get("a") == value
        await store.aclose()
        assert await store.get("a") == value

    async def test_a_key_is_any_text(self, open_store: Open) -> None:
        store = open_store()
        for key in KEYS:
            store.put(key, key.encode())
        await store.aclose()
        assert [await store.get(key) for key in KEYS] == [key.encode() for key in KEYS]
        assert await store.clear() == len(KEYS)

    async def test_the_last_put_wins(self, open_store: Open) -> None:
        store = open_store()
        for value in (b"one", b"two", b"three"):
            store.put("a", value)
        assert await store.get("a") == b"three"
        await store.aclose()
        assert await open_store().get("a") == b"three"

    async def test_what_is_put_while_others_are_written_wins_too(self, open_store: Open) -> None:
        store = open_store()
        for number in range(50):
            store.put("a", b"%d" % number)
            await asyncio.sleep(0)
            assert await store.get("a") == b"%d" % number
        await store.aclose()
        assert await store.get("a") == b"49"

    async def test_many_puts_in_a_row_are_all_written(self, open_store: Open) -> None:
        store = open_store()
        for number in range(2000):
            store.put(f"key{number}", b"%d" % number)
        await store.aclose()
        other = open_store()
        found = [await other.get(f"key{number}") for number in range(2000)]
        assert found == [b"%d" % number for number in range(2000)]

    @pytest.mark.parametrize("count", [0, 3, 1500])
    async def test_many_are_got_at_once_and_the_others_are_missing(
        self, count: int, open_store: Open
    ) -> None:
        store, keys = open_store(), [f"key{number}" for number in range(2 * count)]
        values = {key: key.encode() for key in keys[::2]}
        for number, (key, value) in enumerate(values.items()):
            store.put(key, value)
            if number == count // 2:
                await store.aclose()  # so that some are written and some are not yet
        assert await store.get_many(keys) == values
        await store.aclose()
        assert await open_store().get_many(keys) == values
        assert await store.get_many([*keys[:2], *keys[:2]]) == {key: values[key] for key in keys[:1]}

    async def test_old_values_are_not_among_many(self, open_store: Open, clock: Clock) -> None:
        store, keys = open_store(ttl_s=60), [f"key{number}" for number in range(200)]
        for key in keys[:100]:
            store.put(key, b"old")
        await store.stats()
        clock.now += 59
        for key in keys[100:]:
            store.put(key, b"new")
        await store.stats()
        clock.now += 1
        assert await store.get_many(keys) == dict.fromkeys(keys[100:], b"new")

    async def test_an_old_value_is_not_given(self, open_store: Open, clock: Clock) -> None:
        store = open_store(ttl_s=60)
        store.put("a", b"one")
        await store.stats()
        clock.now += 59
        assert await store.get("a") == b"one"
        clock.now += 1
        assert await store.get("a") is None
        assert (await store.stats()).entries == 0

    async def test_a_value_from_a_wrong_clocks_future_is_not_given(
        self, open_store: Open, clock: Clock
    ) -> None:
        store = open_store()
        clock.now += 10 * HOUR_S
        store.put("a", b"one")
        await store.stats()
        clock.now -= 10 * HOUR_S
        assert await store.get("a") is None

    async def test_uses_are_counted_by_all_who_use_it(self, open_store: Open) -> None:
        one, other = open_store(), open_store()
        one.put("a", b"one")
        await one.stats()
        for store in (one, one, other):
            assert await store.get("a")
        assert await other.get_many(["a", "b"])
        await other.aclose()
        assert (await one.stats()).hits == 4

    async def test_the_figures_are_right(self, open_store: Open, clock: Clock) -> None:
        store = open_store()
        empty = await store.stats()
        assert (empty.entries, empty.value_bytes, empty.hits, empty.oldest_s) == (0, 0, 0, None)
        store.put("a", b"x" * 1000)
        await store.stats()
        clock.now += 5
        store.put("b", b"x" * 500)
        stats = await store.stats()
        assert (stats.entries, stats.value_bytes, stats.hits, stats.oldest_s) == (2, 1500, 0, 5.0)
        assert stats.file_bytes > 1500
        assert stats.location

    async def test_clearing_drops_everything_and_says_how_much_it_was(self, open_store: Open) -> None:
        store = open_store()
        for number in range(300):
            store.put(f"key{number}", b"one")
        assert await store.clear() == 300
        assert await store.get("key7") is None
        stats = await store.stats()
        assert (stats.entries, stats.hits) == (0, 0)
        assert await store.clear() == 0
        store.put("a", b"one")
        await store.aclose()
        assert await store.get("a") == b"one"

    async def test_one_sees_what_another_puts(self, open_store: Open) -> None:
        one, other = open_store(), open_store()
        assert await other.get("a") is None
        one.put("a", b"one")
        await one.stats()
        assert await other.get("a") == b"one"
        other.put("a", b"two")
        await other.stats()
        assert await one.get("a") == b"two"

    async def test_whoever_is_cancelled_nobody_gets_anothers_value(self, open_store: Open) -> None:
        store, keys = open_store(), [f"key{number}" for number in range(40)]
        for key in keys:
            store.put(key, key.encode() * 1000)
        await store.stats()
        for turn in range(20):
            asked = {key: asyncio.create_task(store.get(key)) for key in keys}
            for _ in range(turn):
                await asyncio.sleep(0)
            for key in keys[::2]:
                asked[key].cancel()
            await asyncio.wait(asked.values())
            for key, task in asked.items():
                assert task.cancelled() or task.result() in (key.encode() * 1000, None)
        assert await store.get("key7") == b"key7" * 1000
