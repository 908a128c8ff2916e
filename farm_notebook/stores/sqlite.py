"""Values in a SQLite file that the processes of one user share.

A read is one ``SELECT`` on the event loop's own thread: it takes microseconds, and handing it to a thread
would take longer. Whatever may wait for a disk or for another process is done by other threads: opening,
and all writing, which is gathered while a write is under way. When a value was last used is noted with the
next write.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from farm_notebook.stores.base import Store, StoreStats
from farm_notebook.stores.database import Database, Use, is_busy, is_damage

__all__ = ["SQLiteStore"]

RETRY_S = 60.0  # how long a store that cannot be used is left alone
USES_AT_ONCE = 512  # more than these are noted though there is nothing else to write
MANY = 50  # so many reads are worth a thread
LARGEST_SHARE = 0.1  # of the bound; a larger value would push out too many others

T = TypeVar("T")

_log = logging.getLogger("farm_notebook")
_stores: weakref.WeakSet[SQLiteStore] = weakref.WeakSet()


class SQLiteStore(Store):
    """A store in one file; see ``Store``. Nothing is opened until it is first used.

    Args:
        path: The file; its folder is made if need be.
        ttl_s: Seconds that a value is kept.
        max_bytes: Of the file, a few MiB more or less.
        clock: Seconds since 1970.
    """

    def __init__(
        self, path: Path, *, ttl_s: float, max_bytes: int, clock: Callable[[], float] = time.time
    ) -> None:
        self.path = path
        self._ttl_s = ttl_s
        self._max_bytes = max_bytes
        self._clock = clock
        self._told: set[str] = set()
        self._begin()
        _stores.add(self)

    def _begin(self) -> None:
        self._database: Database | None = None
        self._database_lock = threading.RLock()  # for all that is done with it but reading
        self._unusable_until = self._unwritable_until = 0.0
        self._pending: dict[str, bytes] = {}
        self._uses: dict[str, Use] = {}
        self._pending_lock = threading.Lock()
        self._writer: threading.Thread | None = None

    async def get(self, key: str) -> bytes | None:
        database = self._database
        if database is None:
            if time.monotonic() < self._unusable_until:
                return None
            database = await asyncio.to_thread(self._try_open)
            if database is None:
                return None
        try:
            return self._found(database, key)
        except sqlite3.Error as error:
            if not is_busy(error):
                await asyncio.to_thread(self._note_failure, error, database)
            return None

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        if len(keys) < MANY or time.monotonic() < self._unusable_until:
            return await super().get_many(keys)
        return await asyncio.to_thread(self._found_of, keys)

    def put(self, key: str, value: bytes) -> None:
        if len(value) <= self._max_bytes * LARGEST_SHARE and time.monotonic() >= self._unwritable_until:
            self._pending[key] = value
            self._write_soon()

    async def stats(self) -> StoreStats:
        def look(database: Database) -> StoreStats:
            self._write_pending()
            return database.stats(now=self._clock(), ttl_s=self._ttl_s, max_bytes=self._max_bytes)

        return await asyncio.to_thread(self._with_database, look)

    async def clear(self) -> int:
        def empty(database: Database) -> int:
            self._write_pending()
            return database.clear()

        return await asyncio.to_thread(self._with_database, empty)

    async def aclose(self) -> None:
        try:
            await asyncio.to_thread(self._close)
        except RuntimeError:  # the interpreter is on its way out and starts no threads any more
            self._close()

    def _found(self, database: Database, key: str) -> bytes | None:
        if (value := self._pending.get(key)) is not None:  # a look after all waits: it is written, or here
            return value
        row, now = database.get(key), self._clock()
        if row is None or abs(now - row[1]) >= self._ttl_s:  # one from the future has a wrong clock's age
            return None
        _, count = self._uses.get(key, (0.0, 0))
        self._uses[key] = now, count + 1
        if len(self._uses) >= USES_AT_ONCE:
            self._write_soon()
        return row[0]

    def _found_of(self, keys: Sequence[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        if (database := self._database or self._try_open()) is not None:
            try:
                for key in keys:
                    if (value := self._found(database, key)) is not None:
                        found[key] = value
            except sqlite3.Error as error:
                if not is_busy(error):
                    self._note_failure(error, database)
        return found

    def _with_database(self, work: Callable[[Database], T]) -> T:
        """Do something whose failure the caller wants to know."""
        with self._database_lock:
            try:
                self._database = database = self._database or self._opened()
                return work(database)
            except sqlite3.Error as error:
                raise OSError(f"The store of answers {str(self.path)!r} cannot be used: {error}.") from error

    def _try_open(self) -> Database | None:
        with self._database_lock:
            if self._database is None:
                try:
                    self._database = self._opened()
                except (sqlite3.Error, OSError) as error:
                    self._unusable_until = self._unwritable_until = time.monotonic() + RETRY_S
                    self._tell(f"cannot be used ({error})", "Answers are not kept until it can be.")
            return self._database

    def _opened(self) -> Database:
        database = Database(self.path)
        if database.set_aside is not None:
            self._tell_of_damage(database.set_aside)
        return database

    def _write_soon(self) -> None:
        """Have a thread write what there is, and end when there is nothing more."""
        with self._pending_lock:
            if self._writer is None:
                writer = threading.Thread(target=self._write_all, name="farm-cache")
                with contextlib.suppress(RuntimeError):  # the interpreter is on its way out; aclose writes it
                    writer.start()
                    self._writer = writer

    def _write_all(self) -> None:
        while True:
            self._write_pending()
            with self._pending_lock:
                if not self._pending and len(self._uses) < USES_AT_ONCE:
                    self._writer = None
                    return

    def _write_pending(self) -> None:
        """Write what is not written yet; what cannot be written is dropped."""
        with self._database_lock:
            values, uses = dict(self._pending), dict[str, Use]()
            while self._uses:
                key, uses[key] = self._uses.popitem()
            if (values or uses) and (database := self._try_open()) is not None:
                try:
                    self._write(database, values, uses)
                except sqlite3.Error as error:
                    self._note_failure(error, database)
            for key, value in values.items():
                if self._pending.get(key) is value:  # it may have been put anew meanwhile
                    del self._pending[key]

    def _write(self, database: Database, values: Mapping[str, bytes], uses: Mapping[str, Use]) -> None:
        limits = {"ttl_s": self._ttl_s, "max_bytes": self._max_bytes}
        database.write(values, uses, now=self._clock(), **limits)  # type: ignore[arg-type]

    def _note_failure(self, error: sqlite3.Error, database: Database) -> None:
        """Replace a damaged file; with any other failure wait a while before the next write."""
        with self._database_lock:
            if self._database is not database:
                return  # it was closed or replaced while it was used
            if not is_damage(error):
                self._unwritable_until = time.monotonic() + RETRY_S
                self._tell(f"cannot be used ({error})", "Answers are not kept until it can be.")
                return
            self._database = None
            try:
                self._database = database.replaced()
            except (sqlite3.Error, OSError) as problem:
                self._unusable_until = self._unwritable_until = time.monotonic() + RETRY_S
                self._tell(f"is damaged and cannot be replaced ({problem})", "Answers are not kept.")
            else:
                if self._database.set_aside is not None:
                    self._tell_of_damage(self._database.set_aside)

    def _close(self) -> None:
        writer = self._writer
        if writer is not None:
            writer.join()
        with self._database_lock:
            self._write_pending()
            database, self._database = self._database, None
            self._unusable_until = self._unwritable_until = 0.0
            if database is not None:
                database.close()

    def _tell_of_damage(self, set_aside: Path) -> None:
        what = f"was no database of answers, or a damaged one; it was renamed to {set_aside.name!r}"
        self._tell(what, "A new one is used. The old one may be deleted.")

    def _tell(self, what: str, then: str) -> None:
        """Warn, of each thing once."""
        if what not in self._told:
            self._told.add(what)
            _log.warning("The store of answers %r %s. %s", str(self.path), what, then)


_of_parent: list[Database] = []  # kept from the garbage collector, which would close the parent's files


def _begin_anew_after_fork() -> None:
    """A forked child must neither use nor close its parent's connections, and has none of its threads.

    Source: https://sqlite.org/howtocorrupt.html, section 2.6
    """
    for store in _stores:
        if store._database is not None:
            _of_parent.append(store._database)
        store._begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew_after_fork)
