"""The SQLite file of a history: what is written of a call, and how the file is kept within bounds.

A text is kept once, under its SHA-256, however many calls it is a part of. A conversation is a chain of
turns, each of which stands for all that came before it as well: a call refers to its last turn, and a
conversation that grows costs only its new ones. All of it is synchronous; what is read is found by
``history_queries``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeAlias, TypeVar

from farm_notebook.stores.calls import CallRecord
from farm_notebook.stores.file import SQLiteFile
from farm_notebook.types import ChatMessage, Timings, Usage

__all__ = ["Bounds", "HistoryFile"]

SWEEP_EVERY_S = 3600.0  # how often too old calls are looked for
DROPPED_AT_ONCE = 0.1  # of all calls, where the file is too large
MERGED_PAGES = 2_000  # of the index of words, which bounds how long others wait
EMBEDDED_TEXTS = 20  # of one call; there may be thousands

_USAGE = [field.name for field in fields(Usage)]
_TIMINGS = [field.name for field in fields(Timings)]
_NUMBERS = [f"{name} INTEGER" for name in _USAGE] + [f"{name} REAL" for name in _TIMINGS]
_TABLES = (
    "CREATE TABLE texts (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, text TEXT NOT NULL)",
    """
    CREATE TABLE turns (
        id INTEGER PRIMARY KEY,
        digest BLOB NOT NULL UNIQUE,
        parent INTEGER,
        role TEXT NOT NULL,
        text INTEGER,
        more TEXT
    )
    """,
    "CREATE INDEX turns_by_parent ON turns (parent)",
    "CREATE INDEX turns_by_text ON turns (text)",
    f"""
    CREATE TABLE calls (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        asked TEXT NOT NULL,
        provider TEXT NOT NULL,
        model TEXT NOT NULL,
        turn INTEGER,
        answer INTEGER,
        reasoning INTEGER,
        tool_calls TEXT,
        {", ".join(_NUMBERS)},
        cost REAL,
        finish_reason TEXT,
        error TEXT,
        problem TEXT,
        is_taken INTEGER NOT NULL,
        is_cached INTEGER NOT NULL,
        rerouted TEXT,
        notebook TEXT,
        environment TEXT NOT NULL,
        fingerprint TEXT,
        parameters TEXT NOT NULL
    )
    """,
    "CREATE INDEX calls_by_age ON calls (at)",
    "CREATE INDEX calls_by_turn ON calls (turn)",
    "CREATE INDEX calls_by_answer ON calls (answer)",
)
_WORDS = (
    "CREATE VIRTUAL TABLE words USING fts5 (text, content = 'texts', content_rowid = 'id')",
    """
    CREATE TRIGGER text_added AFTER INSERT ON texts BEGIN
        INSERT INTO words (rowid, text) VALUES (new.id, new.text);
    END
    """,
    """
    CREATE TRIGGER text_dropped AFTER DELETE ON texts BEGIN
        INSERT INTO words (words, rowid, text) VALUES ('delete', old.id, old.text);
    END
    """,
)
_LIVE_TURNS = """
WITH RECURSIVE live (id) AS (
    SELECT turn FROM calls WHERE turn IS NOT NULL
    UNION
    SELECT parent FROM turns JOIN live USING (id) WHERE parent IS NOT NULL
)
SELECT id FROM live
"""
_LIVE_TEXTS = """
SELECT text FROM turns WHERE text IS NOT NULL
UNION SELECT answer FROM calls WHERE answer IS NOT NULL
UNION SELECT reasoning FROM calls WHERE reasoning IS NOT NULL
"""

Clean: TypeAlias = Callable[[str | None], str | None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is kept: calls of so many seconds, in a file of so many bytes, with or without their texts."""

    keep_s: float
    max_bytes: int
    has_texts: bool


class HistoryFile(SQLiteFile):
    """One open history; see ``SQLiteFile``."""

    FORMAT = 1
    _swept_at = float("-inf")

    def write(
        self, records: Iterable[CallRecord], *, redact: Callable[[str], str], bounds: Bounds, now: float
    ) -> list[str]:
        """Note calls, and drop what is too old or too much. All of it is done or nothing.

        Args:
            records: The calls.
            redact: Takes secrets out of a text; nothing is written that did not pass it.
            bounds: How much is kept.
            now: Seconds since 1970.

        Returns:
            What is wrong with those calls that cannot be noted.
        """
        refused: list[str] = []
        with self._transaction():
            for record in records:
                try:
                    self._note(record, redact, has_texts=bounds.has_texts)
                except (TypeError, ValueError, ArithmeticError, RecursionError) as error:
                    refused.append(f"{type(error).__name__}: {error}")  # values of no known kind
            if abs(now - self._swept_at) > SWEEP_EVERY_S:
                self._swept_at = now
                if self._writer.execute("DELETE FROM calls WHERE at <= ?", (now - bounds.keep_s,)).rowcount:
                    self._sweep()
            if self._used_bytes() > bounds.max_bytes:
                self._shrink(bounds.max_bytes)
        return refused

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What ``work`` finds; it must not write."""
        with self._reading:
            return work(self._reader)

    def clear(self) -> int:
        """Drop everything, so that nothing of it is left in the file; how many calls there were."""
        with self._transaction():
            count: int = self._writer.execute("SELECT count(*) FROM calls").fetchone()[0]
            for table in ("calls", "turns", "texts"):
                self._writer.execute(f"DELETE FROM {table}")
            if self._has_words():
                self._writer.execute("INSERT INTO words (words) VALUES ('rebuild')")
        self._give_space_back()
        return count

    def _make_tables(self) -> None:
        for statement in _TABLES:
            self._writer.execute(statement)
        with contextlib.suppress(sqlite3.OperationalError):  # a SQLite without FTS5: texts are looked through
            for statement in _WORDS:
                self._writer.execute(statement)

    def _note(self, record: CallRecord, redact: Callable[[str], str], *, has_texts: bool) -> None:
        def clean(text: str | None) -> str | None:
            if not text:
                return text
            return redact(text).encode("utf-8", "replace").decode()  # half a surrogate pair is no text

        row = _figures(record, clean, has_texts=has_texts)
        if has_texts:
            messages = record.request.messages
            kept = messages[:EMBEDDED_TEXTS] if record.kind == "embedding" else messages
            row |= {
                "turn": self._turn(kept, clean),
                "answer": self._text(clean("".join(record.texts))),
                "reasoning": self._text(clean("".join(record.reasoning))),
                "tool_calls": clean(_json([asdict(call) for call in record.tool_calls])),
            }
        marks = ", ".join("?" * len(row))
        self._writer.execute(f"INSERT INTO calls ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))

    def _text(self, text: str | None) -> int | None:
        """The number of a text, which is added where it is not there; an empty one has none."""
        if not text:
            return None
        digest = hashlib.sha256(text.encode()).digest()
        if (known := self._number("texts", digest)) is not None:
            return known
        return self._writer.execute(
            "INSERT INTO texts (digest, text) VALUES (?, ?)", (digest, text)
        ).lastrowid

    def _turn(self, messages: Sequence[ChatMessage], clean: Clean) -> int | None:
        """The number of the last turn of a conversation; turns that are not there are added."""
        new: list[tuple[bytes, str, str | None, str | None]] = []
        digest = b""
        for message in messages:
            text, more = clean(message.content), clean(_more(message))
            of_text = hashlib.sha256((text or "").encode()).digest()
            digest = hashlib.sha256(
                b"\0".join((digest, message.role.encode(), of_text, (more or "").encode()))
            ).digest()
            new.append((digest, message.role, text, more))
        missing: list[tuple[bytes, str, str | None, str | None]] = []
        parent: int | None = None
        while new and (parent := self._number("turns", new[-1][0])) is None:
            missing.append(new.pop())
        for digest, role, text, more in reversed(missing):
            parent = self._writer.execute(
                "INSERT INTO turns (digest, parent, role, text, more) VALUES (?, ?, ?, ?, ?)",
                (digest, parent, role, self._text(text), more),
            ).lastrowid
        return parent

    def _number(self, table: str, digest: bytes) -> int | None:
        row = self._writer.execute(f"SELECT id FROM {table} WHERE digest = ?", (digest,)).fetchone()
        return None if row is None else int(row[0])

    def _sweep(self) -> None:
        """Drop turns and texts that no call refers to any more."""
        self._writer.execute(f"DELETE FROM turns WHERE id NOT IN ({_LIVE_TURNS})")
        self._writer.execute(f"DELETE FROM texts WHERE id NOT IN ({_LIVE_TEXTS})")

    def _shrink(self, max_bytes: int) -> None:
        """Drop the oldest calls until the file's content is well within its bound."""
        while self._used_bytes() > max_bytes * (1 - DROPPED_AT_ONCE):
            (count,) = self._writer.execute("SELECT count(*) FROM calls").fetchone()
            if not count:
                return
            oldest = "SELECT id FROM calls ORDER BY at, id LIMIT ?"
            self._writer.execute(
                f"DELETE FROM calls WHERE id IN ({oldest})", (1 + int(count * DROPPED_AT_ONCE),)
            )
            self._sweep()
            if self._has_words():  # what was dropped is in the index until that is merged, a part at a time
                merge = "INSERT INTO words (words, rank) VALUES ('merge', ?)"  # below 0 it is of all of it
                self._writer.execute(merge, (-MERGED_PAGES,))

    def _has_words(self) -> bool:
        return self._writer.execute("SELECT 1 FROM sqlite_master WHERE name = 'words'").fetchone() is not None


def _figures(record: CallRecord, clean: Clean, *, has_texts: bool) -> dict[str, Any]:
    """What stands in a call's own row, by column."""
    request = record.request
    parameters = request.parameters()
    if not has_texts:
        parameters = {name: value for name, value in parameters.items() if not isinstance(value, list | dict)}
    if record.kind == "embedding":
        parameters["texts"] = len(request.messages)
    return {
        "at": record.at,
        "kind": record.kind,
        "name": clean(request.route.name),
        "asked": str(request.ref),
        "provider": record.ref.provider,
        "model": str(record.ref),
        "finish_reason": record.finish_reason,
        "error": record.error,
        "problem": clean(record.problem),
        "is_taken": record.is_taken,
        "is_cached": record.is_cached,
        "rerouted": clean(record.rerouted),
        "notebook": clean(record.notebook),
        "environment": record.environment,
        "fingerprint": record.fingerprint,
        "parameters": clean(_json(parameters)),
        "cost": record.cost,
        **{name: getattr(record.usage, name) for name in _USAGE},
        **{name: getattr(record.timings, name) for name in _TIMINGS},
    }


def _more(message: ChatMessage) -> str | None:
    """What a turn has beside its text, as JSON; of pictures only which they were."""
    more: dict[str, Any] = {}
    if message.images:
        more["images"] = [f"{image.media_type} {image.digest}" for image in message.images]
    if message.tool_calls:
        more["tool_calls"] = [asdict(call) for call in message.tool_calls]
    if message.tool_call_id:
        more["tool_call_id"] = message.tool_call_id
    return _json(more) if more else None


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
