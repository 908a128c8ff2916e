"""Values in a SQLite file that the processes of one user share.

A read is one ``SELECT`` on the event loop's own thread: it takes microseconds, and handing it to a thread
would take longer. Whatever may wait for a disk or for another process is done by other threads: opening,
and all writing, which is gathered for a moment, so that it does not hold up the answers that come meanwhile.
When a value was last used is noted with the next write.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from farm_notebook.stores.background import BackgroundWriter, in_thread
from farm_notebook.stores.base import Store, StoreStats
from farm_notebook.stores.database import Database, Use
from farm_notebook.stores.file import is_busy
from farm_notebook.stores.fork import ForkSafe
from farm_notebook.stores.keeper import FileKeeper, Words

__all__ = ["SQLiteStore"]

GATHER_S = 0.05  # from the first value that was put to its being written, with whatever came meanwhile
USES_AT_ONCE = 512  # more than these are noted though there is nothing else to write
MANY = 50  # so many reads are worth a thread
LARGEST_SHARE = 0.1  # of the bound; a larger value would push out too many others

T = TypeVar("T")

_WORDS = Words(
    name="store of answers",
    foreign="no database of answers",
    loss="Answers are not kept until it can be.",
)


class SQLiteStore(ForkSafe, Store):
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
        self._keeper = FileKeeper(Database, path, _WORDS)
        self._writer = BackgroundWriter("farm-cache", gather_s=GATHER_S)
        super().__init__()

    def _begin(self) -> None:
        self._pending: dict[str, bytes] = {}
        self._uses: dict[str, Use] = {}

    async def get(self, key: str) -> bytes | None:
        database = self._keeper.file
        if database is None:
            if self._keeper.is_left_alone:
                return None
            database = await asyncio.to_thread(self._keeper.opened)
            if database is None:
                return None
        try:
            return self._found(database, key)
        except sqlite3.Error as error:
            if not is_busy(error):
                await asyncio.to_thread(self._keeper.note_failure, error, database)
            return None

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        if len(keys) < MANY:
            return await super().get_many(keys)
        return await asyncio.to_thread(self._found_of, keys)

    def put(self, key: str, value: bytes) -> None:
        if len(value) <= self._max_bytes * LARGEST_SHARE and not self._keeper.is_left_alone:
            self._pending[key] = value
            self._write_soon()

    async def stats(self) -> StoreStats:
        def look(database: Database) -> StoreStats:
            return database.stats(now=self._clock(), ttl_s=self._ttl_s, max_bytes=self._max_bytes)

        return await asyncio.to_thread(self._with_database, look)

    async def clear(self) -> int:
        return await asyncio.to_thread(self._with_database, Database.clear)

    async def aclose(self) -> None:
        await in_thread(self._close)

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
        if (database := self._keeper.opened()) is not None:
            try:
                for key in keys:
                    if (value := self._found(database, key)) is not None:
                        found[key] = value
            except sqlite3.Error as error:
                if not is_busy(error):
                    self._keeper.note_failure(error, database)
        return found

    def _with_database(self, work: Callable[[Database], T]) -> T:
        """Do something whose failure the caller wants to know; what was put so far is written first."""
        with self._keeper.lock:
            self._write_pending()
            return self._keeper.use(work)

    def _write_soon(self) -> None:
        self._writer.write_soon(self._write_pending)

    def _write_pending(self) -> None:
        """Write what is not written yet; what cannot be written is dropped."""
        with self._keeper.lock:
            values, uses = dict(self._pending), dict[str, Use]()
            while self._uses:
                key, uses[key] = self._uses.popitem()
            if (values or uses) and (database := self._keeper.opened()) is not None:
                try:
                    self._write(database, values, uses)
                except (sqlite3.Error, OSError) as error:
                    self._keeper.note_failure(error, database)
            for key, value in values.items():
                if self._pending.get(key) is value:  # it may have been put anew meanwhile
                    del self._pending[key]

    def _write(self, database: Database, values: Mapping[str, bytes], uses: Mapping[str, Use]) -> None:
        limits = {"ttl_s": self._ttl_s, "max_bytes": self._max_bytes}
        database.write(values, uses, now=self._clock(), **limits)  # type: ignore[arg-type]

    def _close(self) -> None:
        self._writer.wait()
        self._keeper.try_again()  # for what is not written yet
        with self._keeper.lock:
            self._write_pending()
            self._keeper.close()
