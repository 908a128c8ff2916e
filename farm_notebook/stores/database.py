"""The SQLite file of a store: values by key, and how the file is kept within bounds.

All of it is synchronous and raises what ``sqlite3`` raises; threads are for ``sqlite.py`` to know, and what
becomes of errors for ``keeper.py``.
"""

from __future__ import annotations

from collections.abc import Mapping

from farm_notebook.stores.base import StoreStats
from farm_notebook.stores.file import SQLiteFile

__all__ = ["Database", "Use"]

EVICTED_TO = 0.9  # of the bound, so that not every write has to evict

_TABLES = (
    """
    CREATE TABLE answers (
        key TEXT PRIMARY KEY,
        created_at REAL NOT NULL,
        used_at REAL NOT NULL,
        hits INTEGER NOT NULL DEFAULT 0,
        value BLOB NOT NULL
    )
    """,
    "CREATE INDEX answers_by_age ON answers (created_at)",
    "CREATE INDEX answers_by_use ON answers (used_at)",
)
_GET = "SELECT value, created_at FROM answers WHERE key = ?"
_PUT = "INSERT OR REPLACE INTO answers (key, created_at, used_at, value) VALUES (?, ?, ?, ?)"
_USE = "UPDATE answers SET used_at = max(used_at, ?), hits = hits + ? WHERE key = ?"
_EXPIRE = "DELETE FROM answers WHERE created_at <= ?"
_BY_USE = "SELECT key, length(value) FROM answers ORDER BY used_at, rowid"
_DROP = "DELETE FROM answers WHERE key = ?"
_STATS = "SELECT count(*), sum(length(value)), sum(hits), min(created_at) FROM answers WHERE created_at > ?"

Use = tuple[float, int]  # when an entry was last given, and how often since that was last noted


class Database(SQLiteFile):
    """One open file; see ``SQLiteFile``. Any thread may ``get``; the rest is for one thread at a time."""

    FORMAT = 1
    READ_TIMEOUT_S = 0.1

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
        return StoreStats(
            entries=entries,
            value_bytes=value_bytes or 0,
            file_bytes=sum(file.stat().st_size for file in self._files() if file.exists()),
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
        self._give_space_back()
        return count

    def _make_tables(self) -> None:
        for statement in _TABLES:
            self._writer.execute(statement)

    def _evict(self, excess_bytes: float) -> None:
        """Drop what was used longest ago, as much of it as is too much."""
        doomed: list[tuple[str]] = []
        for key, size_bytes in self._writer.execute(_BY_USE):
            doomed.append((key,))
            excess_bytes -= size_bytes
            if excess_bytes <= 0:
                break
        self._writer.executemany(_DROP, doomed)
