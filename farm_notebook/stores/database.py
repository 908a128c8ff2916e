"""The SQLite file of a store: made, read, written, kept within bounds, and set aside where it is damaged.

All of it is synchronous and raises what ``sqlite3`` raises; threads, and what becomes of errors, are for
``sqlite.py`` to know. There are two connections, because in WAL mode a read does not wait for a write.
Source: https://sqlite.org/wal.html
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from filelock import FileLock

from farm_notebook.stores.base import StoreStats

__all__ = ["Database", "Use", "is_busy", "is_damage"]

FORMAT = 1  # of the tables below
BUSY_TIMEOUT_S = 5.0  # what a write waits for another process's
READ_TIMEOUT_S = 0.1  # a read waits only where another process repairs or closes the file
WAL_LIMIT_BYTES = 8 << 20
EVICTED_TO = 0.9  # of the bound, so that not every write has to evict

_TABLES = f"""
BEGIN IMMEDIATE;
CREATE TABLE answers (
    key TEXT PRIMARY KEY,
    created_at REAL NOT NULL,
    used_at REAL NOT NULL,
    hits INTEGER NOT NULL DEFAULT 0,
    value BLOB NOT NULL
);
CREATE INDEX answers_by_age ON answers (created_at);
CREATE INDEX answers_by_use ON answers (used_at);
PRAGMA user_version = {FORMAT};
COMMIT;
"""
_GET = "SELECT value, created_at FROM answers WHERE key = ?"
_PUT = "INSERT OR REPLACE INTO answers (key, created_at, used_at, value) VALUES (?, ?, ?, ?)"
_USE = "UPDATE answers SET used_at = max(used_at, ?), hits = hits + ? WHERE key = ?"
_EXPIRE = "DELETE FROM answers WHERE created_at <= ?"
_BY_USE = "SELECT key, length(value) FROM answers ORDER BY used_at, rowid"
_DROP = "DELETE FROM answers WHERE key = ?"
_STATS = "SELECT count(*), sum(length(value)), sum(hits), min(created_at) FROM answers WHERE created_at > ?"

Use = tuple[float, int]  # when an entry was last given, and how often since that was last noted


class _OtherFormatError(sqlite3.DatabaseError):
    """The file is a database, but none of this kind."""


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error says that the file is no database of this kind, or not a whole one."""
    damage = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    return isinstance(error, _OtherFormatError) or _code(error) in damage


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another process only has to finish something."""
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF  # an extended code has the primary one below


class Database:
    """One open file. Any thread may ``get``; the rest is for one thread at a time.

    Args:
        path: The file; it is made if missing, for nobody but this user to read. One that is damaged, or no
            file of this kind, is renamed, and ``set_aside`` says to what.

    Raises:
        sqlite3.Error: It cannot be used, though it is not damaged.
        OSError: The folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.set_aside: Path | None = None
        self._reading = threading.Lock()  # a connection that is closed while it is used ends the process
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock():
            try:
                self._connect()
            except sqlite3.Error as error:
                if not is_damage(error):
                    raise
                self.set_aside = self._move_aside()
                self._connect()

    def get(self, key: str) -> tuple[bytes, float] | None:
        """The value of a key and when it was put, in seconds since 1970."""
        with self._reading:
            row: tuple[bytes, float] | None = self._reader.execute(_GET, (key,)).fetchone()
        return row

    def write(
        self,
        values: Mapping[str, bytes],
        uses: Mapping[str, Use],
        *,
        now: float,
        ttl_s: float,
        max_bytes: int,
    ) -> None:
        """Put values and note uses; drop what is too old and, where there is too much, what was used longest
        ago. All of it is done or nothing.
        """
        with self._transaction():
            self._writer.executemany(_USE, [(at, count, key) for key, (at, count) in uses.items()])
            self._writer.executemany(_PUT, [(key, now, now, value) for key, value in values.items()])
            self._writer.execute(_EXPIRE, (now - ttl_s,))
            if (used_bytes := self._used_bytes()) > max_bytes:
                self._evict(used_bytes - max_bytes * EVICTED_TO)

    def stats(self, *, now: float, ttl_s: float, max_bytes: int) -> StoreStats:
        """What there is that is not too old."""
        entries, value_bytes, hits, oldest = self._writer.execute(_STATS, (now - ttl_s,)).fetchone()
        files = (self.path, *self._companions())
        return StoreStats(
            entries=entries,
            value_bytes=value_bytes or 0,
            file_bytes=sum(file.stat().st_size for file in files if file.exists()),
            hits=hits or 0,
            oldest_s=None if oldest is None else max(0.0, now - oldest),
            location=str(self.path),
            max_bytes=max_bytes,
        )

    def clear(self) -> int:
        """Drop everything, so that nothing of it is left in the file; how much there was."""
        with self._transaction():
            count: int = self._writer.execute("SELECT count(*) FROM answers").fetchone()[0]
            self._writer.execute("DELETE FROM answers")
        with contextlib.suppress(sqlite3.OperationalError):  # busy or full: the space is used again later
            self._writer.execute("VACUUM")
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return count

    def replaced(self) -> Database:
        """A new file in place of this damaged one, which is set aside; where another process has done so
        already, the file that it made.
        """
        self.close()
        with self._lock():
            moved = self._move_aside() if self._identity() == self._opened else None
        fresh = Database(self.path)
        fresh.set_aside = fresh.set_aside or moved
        return fresh

    def close(self) -> None:
        """Close both connections; the last one of all processes tidies the file up."""
        with self._reading:
            self._reader.close()
        self._writer.close()

    def _connect(self) -> None:
        if not self.path.exists():
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite's other files follow it
        self._writer = self._connection(BUSY_TIMEOUT_S)
        try:
            self._prepare()
            self._reader = self._connection(READ_TIMEOUT_S)
        except BaseException:
            self._writer.close()
            raise
        self._opened = self._identity()

    def _connection(self, timeout_s: float) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout_s, isolation_level=None, check_same_thread=False)

    def _prepare(self) -> None:
        (version,) = self._writer.execute("PRAGMA user_version").fetchone()
        (tables,) = self._writer.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if version != FORMAT and (version or tables):
            raise _OtherFormatError(f"{self.path} has format {version}, not {FORMAT}")
        self._writer.execute("PRAGMA journal_mode = WAL")
        self._writer.execute("PRAGMA synchronous = NORMAL")
        self._writer.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}")
        if not version:
            self._writer.executescript(_TABLES)

    def _evict(self, excess_bytes: float) -> None:
        """Drop what was used longest ago, as much of it as is too much."""
        doomed: list[tuple[str]] = []
        for key, size_bytes in self._writer.execute(_BY_USE):
            doomed.append((key,))
            excess_bytes -= size_bytes
            if excess_bytes <= 0:
                break
        self._writer.executemany(_DROP, doomed)

    def _used_bytes(self) -> int:
        """What is in use of the file; what was dropped is free for what comes."""
        pages, free, size_bytes = (
            self._writer.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size_bytes)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._writer.execute("COMMIT")
        except BaseException:
            if self._writer.in_transaction:  # a full disk ends the transaction by itself
                self._writer.execute("ROLLBACK")
            raise

    def _lock(self) -> FileLock:
        """Held by the one process that opens, makes or replaces the file."""
        return FileLock(f"{self.path}.lock", timeout=BUSY_TIMEOUT_S, mode=0o600)

    def _identity(self) -> tuple[int, int] | None:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    def _companions(self) -> tuple[Path, Path]:
        return Path(f"{self.path}-wal"), Path(f"{self.path}-shm")

    def _move_aside(self) -> Path:
        """Rename the file, and what belongs to it; nothing is deleted."""
        target = next(
            target
            for number in itertools.count(1)
            if not (target := self.path.with_name(f"{self.path.name}.corrupt-{number}")).exists()
        )
        for file in (self.path, *self._companions()):
            with contextlib.suppress(FileNotFoundError):
                os.replace(file, f"{target}{file.name.removeprefix(self.path.name)}")
        return target
