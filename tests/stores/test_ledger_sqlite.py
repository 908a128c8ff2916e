"""The ledger in a file is shared by processes, however these end; when it breaks, limits hold."""
# ruff: noqa: ASYNC110, ASYNC220, ASYNC240 - nothing else runs on a test's loop

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import sqlite3
import stat
import subprocess
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from ledger_programs import REQUESTS, SLOTS, SPENT, command, hammered
from store_checks import assert_whole, is_true_in_fork, outcome_of, warnings_of

from farm_notebook.stores import ledger_sqlite
from farm_notebook.stores.ledger import Claim, Refusal, Reservation
from farm_notebook.stores.ledger_file import LedgerFile
from farm_notebook.stores.ledger_sqlite import SQLiteLedger

Open = Callable[[], SQLiteLedger]
ONE_SLOT = [Claim(SLOTS, 1, 1, "slot")]
ONE_REQUEST = [Claim(REQUESTS, 1, 1, "window")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "ledger.sqlite"


@pytest.fixture
async def open_ledger(path: Path) -> AsyncIterator[Open]:
    """A function that makes a ledger on the test's file; all are closed in the end."""
    ledgers: list[SQLiteLedger] = []

    def make() -> SQLiteLedger:
        ledgers.append(SQLiteLedger(path))
        return ledgers[-1]

    yield make
    for ledger in ledgers:
        await ledger.aclose()


async def granted(ledger: SQLiteLedger, claimed: list[Claim]) -> Reservation:
    outcome = await ledger.reserve(claimed)
    assert isinstance(outcome, Reservation), outcome
    return outcome


# Shared


async def test_making_a_ledger_touches_nothing(open_ledger: Open, path: Path) -> None:
    await open_ledger().aclose()
    assert not path.parent.exists()


async def test_what_one_was_granted_another_is_not(open_ledger: Open) -> None:
    one, other = open_ledger(), open_ledger()
    held = await granted(one, [*ONE_SLOT, *ONE_REQUEST])
    assert await other.reserve(ONE_SLOT) == Refusal(SLOTS, 0.1, 0)
    refusal = await other.reserve(ONE_REQUEST)
    assert isinstance(refusal, Refusal)
    assert 50 < refusal.wait_s <= 60
    one.settle(held, held.unused)
    await one.usage(SLOTS)  # which pays first
    await granted(other, [*ONE_SLOT, *ONE_REQUEST])


async def test_what_was_spent_is_there_when_it_is_opened_again(open_ledger: Open) -> None:
    one = open_ledger()
    one.settle(await granted(one, [Claim(SPENT, 2, 10, "total")]), {SPENT: 1.5})
    await one.aclose()
    assert await open_ledger().usage(SPENT) == 1.5
    assert await one.usage(SPENT) == 1.5, "a closed ledger opens again"


async def test_settlements_are_written_in_a_moment_though_nothing_is_claimed(open_ledger: Open) -> None:
    ledger, other = open_ledger(), open_ledger()
    held = [await granted(ledger, [Claim(SPENT, 2, 100, "total")]) for _ in range(5)]
    for each in held:
        ledger.settle(each, {SPENT: 1})
    async with asyncio.timeout(30):
        while await other.usage(SPENT) != 5:
            await asyncio.sleep(0.01)


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
async def test_nobody_else_can_read_it(open_ledger: Open, path: Path) -> None:
    await granted(open_ledger(), ONE_SLOT)
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}


async def test_while_another_process_writes_it_is_tried_again_and_the_loop_goes_on(
    open_ledger: Open, path: Path
) -> None:
    ledger = open_ledger()
    held = await granted(ledger, [*ONE_SLOT, Claim(SPENT, 2, 100, "total")])
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        ledger.settle(held, {SPENT: 1})
        waiting = asyncio.create_task(ledger.reserve(ONE_SLOT))
        turns = 0
        while turns < 5:
            await asyncio.sleep(0.01)
            turns += 1
        assert not waiting.done()
        holder.execute("ROLLBACK")
    assert isinstance(await waiting, Reservation)
    assert await open_ledger().usage(SPENT) == 1


async def test_it_can_be_opened_while_another_process_writes(
    open_ledger: Open, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await granted(open_ledger(), ONE_SLOT)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(open_ledger().reserve(ONE_SLOT))
        await asyncio.sleep(0.1)
        holder.execute("ROLLBACK")
    assert isinstance(await waiting, Refusal)
    assert not warnings_of(caplog)


async def test_who_claims_while_it_is_opened_does_not_meet_it_half_open(
    open_ledger: Open, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_tidying, may_go_on = threading.Event(), threading.Event()

    def tidy(file: LedgerFile, _now: float) -> None:
        with file._transaction():
            is_tidying.set()
            may_go_on.wait(20)

    monkeypatch.setattr(LedgerFile, "tidy", tidy)
    ledger = open_ledger()
    first = asyncio.create_task(ledger.reserve(ONE_SLOT))
    await asyncio.to_thread(is_tidying.wait, 20)
    second = asyncio.create_task(ledger.reserve([Claim(SPENT, 2, 10, "total")]))
    await asyncio.sleep(0.01)
    may_go_on.set()
    assert isinstance(await first, Reservation)
    assert isinstance(await second, Reservation)
    assert not warnings_of(caplog)
    assert await open_ledger().usage(SPENT) == 2


async def test_what_could_not_be_settled_at_once_is_settled_soon(open_ledger: Open, path: Path) -> None:
    ledger, other = open_ledger(), open_ledger()
    held = await granted(ledger, ONE_SLOT)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        ledger.settle(held)
        await asyncio.sleep(0.02)
        holder.execute("ROLLBACK")
    async with asyncio.timeout(20):
        while not isinstance(await other.reserve(ONE_SLOT), Reservation):
            await asyncio.sleep(0.01)


async def test_one_that_is_cancelled_while_it_waits_for_the_file_was_granted_nothing(
    open_ledger: Open, path: Path
) -> None:
    ledger = open_ledger()
    ledger.settle(await granted(ledger, ONE_SLOT))
    await asyncio.sleep(0)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(ledger.reserve(ONE_SLOT))
        await asyncio.sleep(0.02)
        waiting.cancel()
        await asyncio.wait([waiting])
        holder.execute("ROLLBACK")
    assert waiting.cancelled()
    await granted(ledger, ONE_SLOT)


# Several processes


@pytest.mark.slow
def test_processes_that_hammer_it_keep_rate_and_concurrency_together(path: Path) -> None:
    moments = hammered(path, seconds=3)
    assert len(moments) > 50, "and they do not starve"
    assert_whole(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (spent,) = connection.execute("SELECT used FROM sums WHERE scope = ?", (SPENT,)).fetchone()
        assert connection.execute("SELECT count(*) FROM slots").fetchone() == (0,)
    assert spent == len(moments), "the total is the sum of what was settled"


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="there is no SIGKILL elsewhere")
async def test_a_holder_that_is_killed_frees_its_slot_and_leaves_whole_sums(
    path: Path, open_ledger: Open
) -> None:
    ledger = open_ledger()
    for _ in range(3):
        with subprocess.Popen(command("hold", path), stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                assert await asyncio.to_thread(process.stdout.readline) == "1.0\n", "the ones before are gone"
                assert isinstance(await ledger.reserve(ONE_SLOT), Refusal)
                await asyncio.sleep(0.1)
            finally:
                process.kill()
        ledger.settle(await granted(ledger, ONE_SLOT))
        await asyncio.sleep(0)
        assert_whole(path)
        with contextlib.closing(sqlite3.connect(path)) as connection:
            sums = dict(connection.execute("SELECT scope, used FROM sums"))
            (shares,) = connection.execute("SELECT sum(amount) FROM shares").fetchone()
        assert sums[REQUESTS] == shares > 0
        assert sums[SPENT] > 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
async def test_a_forked_child_counts_anew_and_leaves_its_parents_slots_alone(open_ledger: Open) -> None:
    ledger = open_ledger()
    held = await granted(ledger, ONE_SLOT)

    async def use() -> bool:
        ledger.settle(held)
        is_full = isinstance(await ledger.reserve(ONE_SLOT), Refusal)
        spending = await ledger.reserve([Claim(SPENT, 2, 10, "total")])
        await ledger.aclose()
        return is_full and isinstance(spending, Reservation)

    assert await is_true_in_fork(use)
    assert await ledger.usage(SPENT) == 2
    assert await ledger.usage(SLOTS) == 1
    ledger.settle(held)
    assert await ledger.usage(SLOTS) == 0


# What breaks


async def test_a_file_that_is_no_database_is_set_aside_and_told_of_once(
    open_ledger: Open, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database, whatever it is" * 200)
    for _ in range(2):
        ledger = open_ledger()
        await granted(ledger, ONE_SLOT)
        assert isinstance(await ledger.reserve(ONE_SLOT), Refusal)
        await ledger.aclose()
    (told,) = warnings_of(caplog)
    assert "ledger.sqlite.corrupt-1" in told
    assert path.with_name("ledger.sqlite.corrupt-1").read_bytes().startswith(b"not a database")


async def test_a_file_that_is_damaged_while_it_is_used_is_replaced_and_this_process_keeps_its_limits(
    open_ledger: Open, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = open_ledger()
    await granted(first, [Claim(SPENT, 1, 10, "total")])
    await first.aclose()
    ledger = open_ledger()
    held = await granted(ledger, [*ONE_SLOT, Claim(SPENT, 8, 10, "total")])
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * (path.stat().st_size - 100))
    outcomes = [await ledger.reserve([Claim(f"{SPENT}/{number}", 1, 10, "total")]) for number in range(5)]
    assert all(isinstance(outcome, Reservation) for outcome in outcomes)
    assert isinstance(await ledger.reserve(ONE_SLOT), Refusal)
    assert isinstance(await ledger.reserve([Claim(SPENT, 3, 10, "total")]), Refusal)
    ledger.settle(held, {SPENT: 1})
    await granted(ledger, [*ONE_SLOT, Claim(SPENT, 3, 10, "total")])
    (told,) = warnings_of(caplog)
    assert "corrupt-1" in told
    assert await ledger.usage(SPENT) == 3, "the new file counts from 0"
    assert_whole(path)


async def test_a_folder_that_cannot_be_made_is_told_of_once_and_limits_hold(
    open_ledger: Open, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.write_text("a file in the way")
    ledger = open_ledger()
    held = await granted(ledger, [*ONE_SLOT, *ONE_REQUEST])
    assert await ledger.reserve(ONE_SLOT) == Refusal(SLOTS, math.inf, 0)
    ledger.settle(held)
    await granted(ledger, ONE_SLOT)
    assert isinstance(await ledger.reserve(ONE_REQUEST), Refusal)
    assert await ledger.usage(REQUESTS) == 1
    (told,) = warnings_of(caplog)
    assert str(path) in told
    assert "each process counts for itself" in told


async def test_a_file_that_can_be_used_again_is_used_again(open_ledger: Open, path: Path) -> None:
    path.parent.write_text("a file in the way")
    ledger = open_ledger()
    held = await granted(ledger, ONE_SLOT)
    path.parent.unlink()
    assert await ledger.usage(SLOTS) == 1
    assert not path.parent.exists(), "it was not tried again so soon"
    ledger._keeper.try_again()
    await granted(ledger, [Claim(SPENT, 2, 10, "total")])
    ledger.settle(held)
    assert await open_ledger().usage(SPENT) == 2


def test_a_folder_that_may_only_be_read_is_told_of_once_and_limits_hold(visible_folder: Path) -> None:
    visible_folder.chmod(0o555)
    done = outcome_of(command("try_in_vain", visible_folder / "ledger.sqlite"))
    assert (done.stdout, done.returncode) == ("5\n", 0), done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "cannot be used" in done.stderr


def full_afterwards(path: Path, limit_bytes: int) -> None:
    """Fill the disk below a path; the sum is right for the process that did, and it is told of once."""
    done = outcome_of(command("fill_up", path, limit_bytes))
    assert (done.stdout, done.returncode) == ("3000.0\n", 0), done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "cannot be used" in done.stderr
    assert_whole(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (spent,) = connection.execute("SELECT used FROM sums WHERE scope = ?", (SPENT,)).fetchone()
    assert 0 < spent < 3000


def test_a_file_that_may_not_grow_is_told_of_once_and_what_is_in_it_stays(path: Path) -> None:
    full_afterwards(path, 300_000)


def test_a_full_disk_is_told_of_once_and_what_is_on_it_stays(small_disk: Path) -> None:
    full_afterwards(small_disk / "ledger.sqlite", 0)


async def test_a_file_that_another_process_does_not_let_go_is_told_of_once_and_limits_hold(
    open_ledger: Open, path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_sqlite, "BUSY_S", 0.05)
    ledger = open_ledger()
    held = await granted(ledger, [*ONE_SLOT, Claim(SPENT, 2, 10, "total")])
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        await granted(ledger, ONE_REQUEST)
        assert isinstance(await ledger.reserve(ONE_REQUEST), Refusal)
        ledger.settle(held, {SPENT: 1})
        await asyncio.sleep(0.01)
        holder.execute("ROLLBACK")
    assert len(warnings_of(caplog)) == 1
    await ledger.aclose()
    assert await open_ledger().usage(SPENT) == 1
