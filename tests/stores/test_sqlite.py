"""The SQLite store keeps values whole, within bounds; when it breaks it says so once and steps aside."""
# ruff: noqa: ASYNC110, ASYNC240 - nothing else runs on a test's loop

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import store_programs as programs
from store_checks import assert_whole, is_true_in_fork, outcome_of, warnings_of
from store_contract import HOUR_S, Clock, StoreContract
from store_programs import is_value_of, value_of

from farm_notebook.stores import file as file_module
from farm_notebook.stores.sqlite import SQLiteStore

BIG = 50_000_000


Open = Callable[..., SQLiteStore]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "answers.sqlite"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def open_store(path: Path, clock: Clock) -> AsyncIterator[Open]:
    """A function that makes a store on the test's file; all are closed in the end."""
    stores: list[SQLiteStore] = []

    def make(*, ttl_s: float = HOUR_S, max_bytes: int = BIG) -> SQLiteStore:
        stores.append(SQLiteStore(path, ttl_s=ttl_s, max_bytes=max_bytes, clock=clock))
        return stores[-1]

    yield make
    for store in stores:
        await store.aclose()
    assert not [thread for thread in threading.enumerate() if thread.name == "farm-cache"]


def command(name: str, *arguments: object) -> list[str]:
    return [sys.executable, programs.__file__, name, *map(str, arguments)]


class TestContract(StoreContract):
    """What holds for every store."""


# The file


async def test_making_a_store_touches_nothing(open_store: Open, path: Path) -> None:
    open_store()
    assert not path.parent.exists()


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
async def test_nobody_else_can_read_it(open_store: Open, path: Path) -> None:
    store = open_store()
    store.put("a", b"one")
    await store.stats()
    files = sorted(path.parent.iterdir())
    assert {file.name for file in files} >= {path.name, f"{path.name}-wal", f"{path.name}-shm"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


# Bounds


async def test_what_is_too_old_is_dropped_from_the_file(open_store: Open, clock: Clock) -> None:
    store = open_store(ttl_s=60)
    store.put("a", b"one")
    await store.stats()
    clock.now += 60
    store.put("b", b"two")
    await store.aclose()
    assert await open_store().get("a") is None, "a longer time to live does not bring it back"


async def test_the_file_stays_within_its_bound(open_store: Open, path: Path) -> None:
    store = open_store(max_bytes=1_000_000)
    for number in range(400):
        store.put(f"key{number}", os.urandom(20_000))
        if number % 10 == 0:
            await store.stats()
    await store.aclose()
    assert 500_000 < path.stat().st_size < 1_500_000
    assert await store.get("key399") is not None
    assert await store.get("key0") is None


async def test_what_was_used_longest_ago_makes_room(open_store: Open, clock: Clock) -> None:
    store = open_store(max_bytes=1_000_000)
    for number in range(40):
        clock.now += 1
        store.put(f"key{number}", os.urandom(20_000))
        await store.stats()
    for number in range(10):
        clock.now += 1
        assert await store.get(f"key{number}") is not None
    for number in range(40, 70):
        clock.now += 1
        store.put(f"key{number}", os.urandom(20_000))
        await store.stats()
    kept = [number for number in range(70) if await store.get(f"key{number}") is not None]
    assert set(range(10)) | {69} <= set(kept)
    assert not set(range(10, 20)) & set(kept)


async def test_a_value_that_would_push_out_many_is_not_kept(open_store: Open) -> None:
    store = open_store(max_bytes=1_000_000)
    store.put("a", b"x" * 200_000)
    assert await store.get("a") is None


async def test_the_figures_are_those_of_the_file(open_store: Open, path: Path) -> None:
    store = open_store()
    store.put("a", b"x" * 1000)
    stats = await store.stats()
    assert stats.location == str(path)
    assert stats.file_bytes >= path.stat().st_size > 0
    assert stats.max_bytes == BIG


async def test_clearing_leaves_nothing_of_it_in_any_file(open_store: Open, path: Path) -> None:
    store = open_store()
    for number in range(300):
        store.put(f"key{number}", b"a private answer" * 100)
    assert await store.clear() == 300
    assert await store.get("key7") is None
    assert path.stat().st_size < 50_000
    assert not any(b"a private answer" in file.read_bytes() for file in path.parent.iterdir())
    store.put("a", b"one")
    await store.aclose()
    assert await store.get("a") == b"one"


async def test_no_thread_waits_for_something_to_write(open_store: Open) -> None:
    store = open_store()
    for _ in range(3):
        store.put("a", b"one")
        async with asyncio.timeout(10):
            while any(thread.name == "farm-cache" for thread in threading.enumerate()):
                await asyncio.sleep(0.01)


def test_what_was_put_is_written_though_its_loop_has_ended(path: Path) -> None:
    store = programs.store_at(str(path))

    async def use() -> None:
        assert await store.get("a") is None
        for key in "abc":
            store.put(key, b"one")

    asyncio.run(use())
    with contextlib.closing(sqlite3.connect(path)) as connection:
        give_up_at = time.monotonic() + 30
        while connection.execute("SELECT count(*) FROM answers").fetchone() != (3,):
            assert time.monotonic() < give_up_at
            time.sleep(0.01)
    asyncio.run(store.aclose())


# What breaks


async def test_a_file_that_is_no_database_is_set_aside_and_told_of_once(
    open_store: Open, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database, whatever it is" * 200)
    for _ in range(2):
        store = open_store()
        store.put("a", b"one")
        await store.aclose()
        assert await store.get("a") == b"one"
    (told,) = warnings_of(caplog)
    assert "answers.sqlite.corrupt-1" in told
    assert path.with_name("answers.sqlite.corrupt-1").read_bytes().startswith(b"not a database")


async def test_a_file_damaged_in_its_middle_is_set_aside_when_that_is_met(
    open_store: Open, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store()
    for number in range(500):
        store.put(f"key{number}", value_of(f"key{number}", number)[:3000])
    await store.aclose()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))
    store = open_store()
    assert [await store.get(f"key{number}") for number in range(500)] == [None] * 500
    store.put("a", b"one")
    await store.aclose()
    assert await store.get("a") == b"one"
    (told,) = warnings_of(caplog)
    assert "answers.sqlite.corrupt-1" in told


async def test_damage_that_a_write_meets_is_handled_too(
    open_store: Open, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store()
    for number in range(500):
        store.put(f"key{number}", b"x" * 3000)
    await store.aclose()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))
    store = open_store()
    store.put("a", b"one")
    await store.aclose()
    store.put("b", b"two")
    await store.aclose()
    assert await store.get("b") == b"two"
    assert len(warnings_of(caplog)) == 1


async def test_two_that_meet_the_same_damage_agree_on_one_new_file(
    open_store: Open, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = open_store(), open_store()
    one.put("a", b"x" * 100_000)
    await one.stats()
    assert await other.get("a")
    await one.aclose()
    with sqlite3.connect(path, isolation_level=None) as connection:  # into the file itself
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    with path.open("r+b") as file:
        file.write(b"\0" * path.stat().st_size)
    stores = (open_store(), open_store(), other)
    for number, store in enumerate(stores):
        store.put(f"key{number}", b"one")
        await store.aclose()
    for store in stores:
        assert [await store.get(f"key{number}") for number in range(3)].count(b"one") >= 2
    assert len(list(path.parent.glob("*.corrupt-?"))) == 1


@pytest.mark.parametrize("make", ["PRAGMA user_version = 99", "CREATE TABLE other (x)"])
async def test_a_database_of_another_kind_is_set_aside(
    make: str, open_store: Open, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(make)
    store = open_store()
    store.put("a", b"one")
    await store.aclose()
    assert await store.get("a") == b"one"
    assert len(warnings_of(caplog)) == 1
    assert path.with_name("answers.sqlite.corrupt-1").exists()


async def test_a_folder_that_cannot_be_made_is_told_of_once(
    open_store: Open, path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.parent.write_text("a file in the way")
    store = open_store()
    for _ in range(5):
        store.put("a", b"one")
        assert await store.get("b") is None
    await store.aclose()
    (told,) = warnings_of(caplog)
    assert str(path) in told
    with pytest.raises(OSError, match="folder"):
        await store.stats()
    with pytest.raises(OSError, match="folder"):
        await store.clear()
    path.parent.unlink()
    store.put("a", b"one")
    await store.aclose()
    assert await store.get("a") == b"one", "it is tried again"


async def test_a_store_that_cannot_be_used_is_left_alone_for_a_while(
    open_store: Open, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.parent.write_text("a file in the way")
    store = open_store()
    assert await store.get("a") is None
    path.parent.unlink()
    assert await store.get("a") is None
    assert not path.parent.exists(), "it was not tried again so soon"


@pytest.mark.parametrize("is_filled", [False, True])
async def test_a_folder_that_may_only_be_read_is_told_of_once(is_filled: bool, visible_folder: Path) -> None:
    path = visible_folder / "answers.sqlite"
    if is_filled:
        store = programs.store_at(str(path))
        store.put("key", b"one")
        await store.aclose()
        for file in visible_folder.iterdir():
            file.chmod(0o444)
    visible_folder.chmod(0o555)
    done = outcome_of(command("try_in_vain", path))
    assert (done.stdout, done.returncode) == ("done\n", 0), done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "cannot be used" in done.stderr
    assert "answers.sqlite" in done.stderr


def full_afterwards(path: Path, limit_bytes: int) -> None:
    """Fill the disk below a path; what was written before is there, and it is told of once."""
    done = outcome_of(command("fill_up", path, limit_bytes))
    assert done.returncode == 0, done.stderr
    assert 10 <= int(done.stdout) < 100
    assert len(done.stderr.splitlines()) == 1
    assert "Answers are not kept" in done.stderr


def test_a_file_that_may_not_grow_is_told_of_once_and_what_is_in_it_stays(path: Path) -> None:
    full_afterwards(path, 300_000)
    integrity(path)


def test_a_full_disk_is_told_of_once_and_what_is_on_it_stays(small_disk: Path) -> None:
    full_afterwards(small_disk / "answers.sqlite", 0)
    integrity(small_disk / "answers.sqlite")


async def test_a_file_that_another_process_holds_can_be_read_and_costs_no_answer(
    open_store: Open, path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_module, "BUSY_TIMEOUT_S", 0.05)
    store = open_store()
    store.put("a", b"one")
    await store.stats()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        assert await store.get("a") == b"one"
        store.put("b", b"two")
        assert await store.get("b") == b"two"
        await store.aclose()
        holder.execute("ROLLBACK")
    assert len(warnings_of(caplog)) == 1
    assert await store.get("a") == b"one"
    assert await store.get("b") is None


# Several processes


def integrity(path: Path) -> None:
    assert_whole(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for key, value in connection.execute("SELECT key, value FROM answers"):
            assert is_value_of(key, value)


@pytest.mark.slow
def test_processes_share_a_file_without_a_word_or_a_wrong_value(path: Path) -> None:
    running = [
        subprocess.Popen(
            command("hammer", path, seed, 2000), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for seed in range(4)
    ]
    for process in running:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, "")
        assert int(out) > 1000
    integrity(path)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="there is no SIGKILL elsewhere")
def test_a_process_killed_in_the_middle_of_writing_leaves_whole_values(path: Path) -> None:
    for _ in range(5):
        with subprocess.Popen(command("write_for_ever", path), stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(4):
                number = int(process.stdout.readline())
            process.kill()
        integrity(path)

        async def surely_written(last: int) -> bytes | None:
            store = programs.store_at(str(path))
            value = await store.get(f"key{last % programs.KEYS}")
            await store.aclose()
            return value

        value = asyncio.run(surely_written(number))
        assert value is not None
        assert is_value_of(f"key{number % programs.KEYS}", value)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="there is no SIGKILL elsewhere")
def test_processes_killed_at_any_moment_leave_the_others_in_peace(path: Path) -> None:
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    chance = random.Random(5)
    with subprocess.Popen(command("hammer", path, 1, 8000), **pipes) as survivor:
        for _ in range(4):
            victims = [subprocess.Popen(command("write_for_ever", path), **pipes) for _ in range(2)]
            for victim in victims:
                with victim:
                    assert victim.stdout is not None
                    victim.stdout.readline()
                    time.sleep(chance.random() * 0.02)  # so that each is met by it in another place
                    victim.kill()
        out, err = survivor.communicate(timeout=120)
    assert (survivor.returncode, err) == (0, "")
    assert int(out) > 1000
    integrity(path)
    assert not list(path.parent.glob("*.corrupt-*"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
async def test_a_forked_child_opens_the_file_anew_and_leaves_its_parents_alone(open_store: Open) -> None:
    store = open_store()
    store.put("a", b"one")
    await store.stats()

    async def use() -> bool:
        found = await store.get("a")
        store.put("b", b"two")
        await store.aclose()
        return found == b"one"

    assert await is_true_in_fork(use)
    assert await store.get("a") == b"one"
    assert await store.get("b") == b"two"
    store.put("c", b"three")
    assert (await store.stats()).entries == 3
