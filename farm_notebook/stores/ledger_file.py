"""The SQLite file of a ledger: what was granted in the last minute, what is held, and what was spent.

All of it is synchronous, takes some 0.1 ms and waits for nothing: while another process writes to the file
it is busy, which raises. A slot belongs to a process, which is known by its id and the moment it began.
"""

from __future__ import annotations

import itertools
import math
import os
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from farm_notebook.stores.file import SQLiteFile, is_busy
from farm_notebook.stores.ledger import WINDOW_S, Claim, ClaimKind, Refusal, Reservation, until_room
from farm_notebook.stores.ledger_shared import Debt

__all__ = ["LedgerFile"]

SLOT_POLL_S = 0.1  # nobody tells this process when another one frees a slot
SAME_MOMENT_S = 2.0  # a process seems to begin a little earlier or later once its machine's clock was set
KEPT_S = 40 * 86_400.0  # a sum that nobody touched for so long is dropped

_TABLES = (
    """CREATE TABLE shares (
        scope TEXT, at REAL, id INTEGER, amount REAL NOT NULL, PRIMARY KEY (scope, at, id)
    ) WITHOUT ROWID""",
    "CREATE TABLE sums (scope TEXT PRIMARY KEY, used REAL NOT NULL, at REAL NOT NULL) WITHOUT ROWID",
    """CREATE TABLE slots (
        scope TEXT, id INTEGER, pid INTEGER NOT NULL, began REAL NOT NULL, PRIMARY KEY (scope, id)
    ) WITHOUT ROWID""",
)
_SUM = "(SELECT used FROM sums WHERE scope = ?)"
_ENDS = """
(SELECT at FROM shares WHERE scope = ? ORDER BY at LIMIT 1),
(SELECT at FROM shares WHERE scope = ? ORDER BY at DESC LIMIT 1)
"""
_LOOKS: Mapping[ClaimKind, str] = {
    "window": f"{_SUM}, {_ENDS}",
    "slot": "(SELECT count(*) FROM slots WHERE scope = ?)",
    "total": _SUM,
}
_REDATE = "UPDATE shares SET at = ? WHERE scope = ? AND at > ?"
_PASSED = "SELECT total(amount) FROM shares WHERE scope = ? AND at <= ?"
_DROP_PASSED = "DELETE FROM shares WHERE scope = ? AND at <= ?"
_SHARES = "SELECT at, amount FROM shares WHERE scope = ? ORDER BY at"
_SHARE = "INSERT INTO shares (scope, at, id, amount) VALUES (?, ?, ?, ?)"
_RESHARE = "UPDATE shares SET amount = ? WHERE scope = ? AND at = ? AND id = ?"
_ADD = """
INSERT INTO sums (scope, used, at) VALUES {}
ON CONFLICT DO UPDATE SET used = used + excluded.used, at = excluded.at
"""
_HOLDERS = "SELECT DISTINCT pid, began FROM slots WHERE scope = ?"
_HOLD = "INSERT INTO slots (scope, id, pid, began) VALUES (?, ?, ?, ?)"
_FREE = "DELETE FROM slots WHERE scope = ? AND id = ?"
_BURY = "DELETE FROM slots WHERE pid = ? AND began = ?"
_DROP_SHARES = "DELETE FROM shares WHERE scope IN (SELECT scope FROM sums WHERE at < ?)"
_DROP_SUMS = "DELETE FROM sums WHERE at < ?"

_Changes = defaultdict[str, float]  # of sums, by scope; they are written once a transaction


class LedgerFile(SQLiteFile):
    """One open file, for one thread at a time; see ``SQLiteFile``.

    A crash of a process leaves it whole. It is never flushed to the disk, which takes milliseconds: a crash
    of the machine may cost the counts of a day, and no more is in it.
    """

    FORMAT = 1

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._writer.execute("PRAGMA busy_timeout = 0")
        self._writer.execute("PRAGMA synchronous = OFF")

    def reserve(
        self, reservation: Reservation, debts: Sequence[Debt], clock: Callable[[], float]
    ) -> float | Refusal:
        """Settle what is owed, then grant all claims or none; when they were granted.

        Args:
            reservation: The claims.
            debts: What is owed.
            clock: Seconds since 1970. It is read while nobody else can write, so that grants are in order.
        """
        with self._transaction():
            now, changes = clock(), self._settle(debts)
            if (refusal := self._refusal(reservation.claims, now, changes)) is None:
                for claim in reservation.claims:
                    self._grant(claim, reservation.id, now, changes)
            self._add(changes, now)
        return now if refusal is None else refusal

    def settle(self, debts: Sequence[Debt], clock: Callable[[], float]) -> None:
        """Settle what is owed, all of it or nothing."""
        with self._transaction():
            self._add(self._settle(debts), clock())

    def usage(self, scope: str, debts: Sequence[Debt], clock: Callable[[], float]) -> float:
        """Settle what is owed; what is used of a scope then."""
        with self._transaction():
            now, changes = clock(), self._settle(debts)
            used, first, last, held = self._seen([("window", scope), ("slot", scope)])
            self._pass_by(scope, first, last, now, changes)
            self._add(changes, now)
        return float((used or 0.0) + changes.get(scope, 0.0) + held)

    def tidy(self, now: float) -> None:
        """Drop the sums of days long past; where another process writes, the next who opens it does."""
        try:
            with self._transaction():
                self._writer.execute(_DROP_SHARES, (now - KEPT_S,))
                self._writer.execute(_DROP_SUMS, (now - KEPT_S,))
        except sqlite3.Error as error:
            if not is_busy(error):
                raise

    def _make_tables(self) -> None:
        for table in _TABLES:
            self._writer.execute(table)

    def _refusal(self, claims: Sequence[Claim], now: float, changes: _Changes) -> Refusal | None:
        """The first that has no room; ``None`` where all may be granted."""
        seen = self._seen([(claim.kind, claim.scope) for claim in claims])
        for claim in claims:
            scope, used = claim.scope, next(seen) or 0.0
            if claim.kind == "window":
                self._pass_by(scope, next(seen), next(seen), now, changes)
            if not (excess := claim.excess(used + changes.get(scope, 0.0))):
                continue
            left, wait_s = claim.limit - used - changes.get(scope, 0.0), math.inf
            if claim.kind == "slot":
                if self._bury_dead(scope):
                    return self._refusal(claims, now, changes)
                wait_s = SLOT_POLL_S
            elif claim.kind == "window":
                wait_s = until_room(excess, self._writer.execute(_SHARES, (scope,)), now)
            return Refusal(scope, wait_s, left)
        return None

    def _seen(self, scopes: Sequence[tuple[ClaimKind, str]]) -> Iterator[Any]:
        """What is used of each, and of a window when its first and its last share were granted; in one look,
        since several take longer.
        """
        if not scopes:
            return iter(())
        kinds, names = zip(*scopes, strict=True)
        return iter(self._writer.execute(_look_at(kinds), names).fetchone())

    def _grant(self, claim: Claim, reservation_id: int, now: float, changes: _Changes) -> None:
        execute = self._writer.execute
        if claim.kind == "slot":
            pid = os.getpid()
            execute(_HOLD, (claim.scope, reservation_id, pid, _began(pid)))
            return
        if claim.kind == "window":
            execute(_SHARE, (claim.scope, now, reservation_id, claim.amount))
        changes[claim.scope] += claim.amount

    def _settle(self, debts: Sequence[Debt]) -> _Changes:
        execute, changes = self._writer.execute, _Changes(float)
        for debt in debts:
            for claim in debt.reservation.claims:
                if claim.kind == "slot":
                    execute(_FREE, (claim.scope, debt.reservation.id))
                elif (used := debt.used.get(claim.scope, claim.amount)) != claim.amount:
                    share = (used, claim.scope, debt.at, debt.reservation.id)
                    if claim.kind == "total" or execute(_RESHARE, share).rowcount:  # else it has passed by
                        changes[claim.scope] += used - claim.amount
        return changes

    def _pass_by(
        self, scope: str, first: float | None, last: float | None, now: float, changes: _Changes
    ) -> None:
        """Let go of what a window granted 60 seconds ago or earlier; where the clock was set back, what was
        granted later than now counts as granted now.
        """
        execute, until = self._writer.execute, now - WINDOW_S
        if last is not None and last > now:
            execute(_REDATE, (now, scope, now))
        if first is not None and first <= until:
            changes[scope] -= execute(_PASSED, (scope, until)).fetchone()[0]
            execute(_DROP_PASSED, (scope, until))

    def _add(self, changes: _Changes, now: float) -> None:
        if rows := [(scope, change, now) for scope, change in changes.items()]:
            self._writer.execute(_add_rows(len(rows)), [*itertools.chain(*rows)])

    def _bury_dead(self, scope: str) -> bool:
        """Free the slots of processes that ended without doing so; whether there were any."""
        holders = self._writer.execute(_HOLDERS, (scope,)).fetchall()
        dead = [holder for holder in holders if not _is_alive(*holder)]
        self._writer.executemany(_BURY, dead)
        return bool(dead)


@cache
def _look_at(kinds: tuple[ClaimKind, ...]) -> str:
    looks = (_LOOKS[kind].replace("?", f"?{number}") for number, kind in enumerate(kinds, 1))
    return f"SELECT {', '.join(looks)}"


@cache
def _add_rows(count: int) -> str:
    return _ADD.format(", ".join(["(?, ?, ?)"] * count))


@cache
def _began(pid: int) -> float:
    """When a process began, in seconds since 1970."""
    return psutil.Process(pid).create_time()


def _is_alive(pid: int, began: float) -> bool:
    """Whether the process still runs, and is not another one with its id."""
    try:
        process = psutil.Process(pid)
        is_it = abs(process.create_time() - began) < SAME_MOMENT_S
        return is_it and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:  # it may be one that this user may not look at; nobody frees what may be in use
        return True
