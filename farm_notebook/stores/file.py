"""A SQLite file of ours: made for this user alone, opened, and set aside where it is damaged.

All of it is synchronous and raises what ``sqlite3`` raises. There are two connections, because in WAL mode a
read does not wait for a write. Source: https://sqlite.org/wal.html
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Self

from filelock import FileLock

__all__ = ["OtherFormatError", "SQLiteFile", "is_busy", "is_damage", "is_unwritable"]

BUSY_TIMEOUT_S = 5.0  # what a write waits for another process's
WAL_LIMIT_BYTES = 8 << 20


class OtherFormatError(sqlite3.DatabaseError):
    """The file is a database, but none of this kind."""


def is_damage(error: Exception) -> bool:
    """Whether an error says that the file is no database of this kind, or not a whole one."""
    damage = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    is_incomplete = isinstance(error, sqlite3.OperationalError) and str(error).startswith("no such table")
    return isinstance(error, OtherFormatError) or is_incomplete or _code(error) in damage


def is_busy(error: Exception) -> bool:
    """Whether another process only has to finish something."""
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_unwritable(error: Exception, folder: Path) -> bool:
    """Whether an error says that nothing may be written in a folder, or that it cannot be made."""
    if isinstance(error, sqlite3.Error):
        if _code(error) == sqlite3.SQLITE_CANTOPEN:
            return not os.access(folder, os.W_OK)
        return _code(error) in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM)
    kinds = (PermissionError, FileExistsError, NotADirectoryError)
    return isinstance(error, kinds) or getattr(error, "errno", None) == errno.EROFS


def _code(error: Exception) -> int:
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF  # an extended code has the primary one below


class SQLiteFile(ABC):
    """One open file; a subclass says what is in it.

    Args:
        path: The file; it is made if missing, for nobody but this user to read. One that is damaged, or no
            file of this kind, is renamed, and ``set_aside`` says to what.

    Raises:
        sqlite3.Error: It cannot be used, though it is not damaged.
        OSError: The folder cannot be written.
    """

    FORMAT: ClassVar[int]
    """Of the tables; the number is in the file."""
    READ_TIMEOUT_S: ClassVar[float] = BUSY_TIMEOUT_S
    """A read waits only where another process repairs or closes the file."""

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

    def replaced(self) -> Self:
        """A new file in place of this damaged one, which is set aside; where another process has done so
        already, the file that it made.
        """
        self.close()
        with self._lock():
            moved = self._move_aside() if self._identity() == self._opened else None
        fresh = type(self)(self.path)
        fresh.set_aside = fresh.set_aside or moved
        return fresh

    def close(self) -> None:
        """Close both connections; the last one of all processes tidies the file up."""
        with self._reading:
            self._reader.close()
        self._writer.close()

    @abstractmethod
    def _make_tables(self) -> None:
        """Fill a new file; called within a transaction."""

    def _connect(self) -> None:
        if not self.path.exists():
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite's other files follow it
        self._writer = self._connection(BUSY_TIMEOUT_S)
        try:
            self._prepare()
            self._reader = self._connection(self.READ_TIMEOUT_S)
        except BaseException:
            self._writer.close()
            raise
        self._opened = self._identity()

    def _connection(self, timeout_s: float) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=timeout_s, isolation_level=None, check_same_thread=False)

    def _prepare(self) -> None:
        (version,) = self._writer.execute("PRAGMA user_version").fetchone()
        (tables,) = self._writer.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if version != self.FORMAT and (version or tables):
            raise OtherFormatError(f"{self.path} has format {version}, not {self.FORMAT}")
        self._writer.execute("PRAGMA journal_mode = WAL")
        self._writer.execute("PRAGMA synchronous = NORMAL")
        self._writer.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}")
        if not version:
            with self._transaction():
                self._make_tables()
                self._writer.execute(f"PRAGMA user_version = {self.FORMAT}")

    def _used_bytes(self) -> int:
        """What is in use of the file; what was dropped is free for what comes."""
        pages, free, size_bytes = (
            self._writer.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size_bytes)

    def _give_space_back(self) -> None:
        """Leave nothing of what was dropped in the file."""
        with contextlib.suppress(sqlite3.OperationalError):  # busy or full: the space is used again later
            self._writer.execute("VACUUM")
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")

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

    def _files(self) -> tuple[Path, ...]:
        """The file, and those of SQLite that belong to it."""
        return self.path, Path(f"{self.path}-wal"), Path(f"{self.path}-shm")

    def _move_aside(self) -> Path:
        """Rename the file, and what belongs to it; nothing is deleted."""
        target = next(
            target
            for number in itertools.count(1)
            if not (target := self.path.with_name(f"{self.path.name}.corrupt-{number}")).exists()
        )
        for file in self._files():
            with contextlib.suppress(FileNotFoundError):
                os.replace(file, f"{target}{file.name.removeprefix(self.path.name)}")
        return target
