"""What can be asked of a history's file: calls, one whole call, and what they came to."""

from __future__ import annotations

import json
import re
import sqlite3
from collections import defaultdict
from dataclasses import fields, replace
from statistics import fmean, median
from typing import Any

from farm_notebook.stores.calls import CANCELLED, Call, Turn, UsageBy, UsageRow
from farm_notebook.types import Timings, ToolCall, Usage

__all__ = ["find_call", "find_calls", "sum_up"]

_SELECT = """
SELECT calls.*, asked_text.text AS question, answer_text.text AS text, thought.text AS thinking
FROM calls
LEFT JOIN turns AS last ON last.id = calls.turn
LEFT JOIN texts AS asked_text ON asked_text.id = last.text
LEFT JOIN texts AS answer_text ON answer_text.id = calls.answer
LEFT JOIN texts AS thought ON thought.id = calls.reasoning
"""
# A call is found by what was answered, and by what was asked since the last answer before it.
_FOUND = """
WITH RECURSIVE found (id) AS ({texts}),
asked (id) AS (
    SELECT turns.id FROM turns JOIN found ON turns.text = found.id WHERE role != 'assistant'
    UNION
    SELECT turns.id FROM turns JOIN asked ON turns.parent = asked.id WHERE role != 'assistant'
)
SELECT calls.id FROM calls WHERE turn IN asked OR answer IN found OR reasoning IN found
"""
_BY_WORDS = "SELECT rowid FROM words WHERE words MATCH :search"
_BY_LOOKING = r"SELECT id FROM texts WHERE text LIKE :search ESCAPE '\'"
_CONVERSATION = """
WITH RECURSIVE chain (id, parent, role, text, more, depth) AS (
    SELECT id, parent, role, text, more, 0 FROM turns WHERE id = ?
    UNION ALL
    SELECT turns.id, turns.parent, turns.role, turns.text, turns.more, depth + 1
    FROM turns JOIN chain ON turns.id = chain.parent
)
SELECT role, coalesce(texts.text, ''), more
FROM chain LEFT JOIN texts ON texts.id = chain.text
ORDER BY depth DESC
"""
_DAY = "date(at, 'unixepoch', 'localtime')"
_KEYS: dict[UsageBy, str] = {
    "model": "model",
    "day": _DAY,
    "provider": "provider",
    "notebook": "coalesce(notebook, '')",
}
# A request that failed before its answer began used nothing, as far as anybody can tell.
_USED = "NOT is_cached AND is_taken AND (error IS NULL OR error = :cancelled OR first_token_s IS NOT NULL)"
_SUMS = f"""
SELECT
    sum(NOT is_cached AND is_taken),
    sum(is_cached),
    sum(NOT is_cached AND NOT is_taken),
    sum(NOT is_cached AND is_taken AND error IS NOT NULL AND error != :cancelled),
    sum(NOT is_cached AND is_taken AND error IS :cancelled),
    coalesce(sum(CASE WHEN is_cached THEN 0 ELSE input_tokens END), 0),
    coalesce(sum(CASE WHEN is_cached THEN 0 ELSE output_tokens END), 0),
    sum({_USED} AND (input_tokens IS NULL OR (output_tokens IS NULL AND kind != 'embedding'))),
    coalesce(sum(CASE WHEN is_cached THEN 0 ELSE cost END), 0.0),
    sum({_USED} AND cost IS NULL)
"""
_PLAIN = (
    *("id", "at", "kind", "name", "asked", "model", "question", "text", "cost"),
    *("finish_reason", "error", "problem", "rerouted", "notebook", "environment", "fingerprint"),
)
_SPACELESS = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\U0010ffff]"
)  # scripts without spaces


def find_calls(
    database: sqlite3.Connection,
    *,
    search: str | None,
    model: str | None,
    since: float | None,
    limit: int | None,
) -> list[Call]:
    """Calls, newest first; see ``History.calls``."""
    conditions, values = ["1"], dict[str, Any](limit=-1 if limit is None else limit)
    if search and search.strip():
        texts, values["search"] = _search(database, search)
        conditions.append(f"calls.id IN ({_FOUND.format(texts=texts)})")
    if model:
        columns = (
            "calls.model",
            "calls.provider",
            "calls.name",
            "substr(calls.model, length(calls.provider) + 2)",
        )
        conditions.append(f":model IN ({', '.join(columns)})")
        values["model"] = model
    if since is not None:
        conditions.append("calls.at >= :since")
        values["since"] = since
    statement = (
        f"{_SELECT} WHERE {' AND '.join(conditions)} ORDER BY calls.at DESC, calls.id DESC LIMIT :limit"
    )
    rows = database.execute(statement, values)
    names = [column[0] for column in rows.description]
    return [_call(dict(zip(names, row, strict=True))) for row in rows]


def find_call(database: sqlite3.Connection, number: int) -> Call | None:
    """One call with its conversation."""
    rows = database.execute(f"{_SELECT} WHERE calls.id = ?", (number,))
    names = [column[0] for column in rows.description]
    row = rows.fetchone()
    if row is None:
        return None
    values = dict(zip(names, row, strict=True))
    turns = tuple(_turn(*turn) for turn in database.execute(_CONVERSATION, (values["turn"],)))
    return replace(_call(values), messages=turns)


def sum_up(
    database: sqlite3.Connection, *, by: UsageBy, since: float | None, per_day: bool
) -> list[UsageRow]:
    """What calls came to; see ``History.usage``."""
    keys = f"{_KEYS[by]} AS key, {_DAY if per_day else repr('')} AS day"
    where, values = (
        "WHERE 1" if since is None else "WHERE at >= :since",
        {"since": since, "cancelled": CANCELLED},
    )
    rates: dict[tuple[str, str], tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    measured = f"SELECT {keys}, first_token_s, tokens_per_s FROM calls {where} AND NOT is_cached"
    for key, day, first_token_s, tokens_per_s in database.execute(measured, values):
        for rate, into in zip((first_token_s, tokens_per_s), rates[key, day], strict=True):
            if rate is not None:
                into.append(rate)
    rows = database.execute(f"{_SUMS}, {keys} FROM calls {where} GROUP BY key, day ORDER BY key, day", values)
    found = []
    for *sums, key, day in rows:
        waits, speeds = rates[key, day]
        figures = (
            function(some) if some else None for some in (waits, speeds) for function in (fmean, median)
        )
        found.append(UsageRow(key, day, *sums, *figures))
    return found


def _search(database: sqlite3.Connection, search: str) -> tuple[str, str]:
    """How texts are searched, and for what: for words that begin so, in any order, where there is an index of
    words and these are some; else for the very characters.
    """
    words = re.findall(r"\w+", search)
    has_index = database.execute("SELECT 1 FROM sqlite_master WHERE name = 'words'").fetchone() is not None
    if has_index and words and not _SPACELESS.search(search):
        return _BY_WORDS, " ".join(f'"{word}"*' for word in words)
    escaped = re.sub(r"([\\%_])", r"\\\1", search.strip())
    return _BY_LOOKING, f"%{escaped}%"


def _call(row: dict[str, Any]) -> Call:
    return Call(
        **{name: row[name] for name in _PLAIN},
        reasoning=row["thinking"],
        tool_calls=_tool_calls(json.loads(row["tool_calls"] or "[]")),
        usage=Usage(**{field.name: row[field.name] for field in fields(Usage)}),
        timings=Timings(**{field.name: row[field.name] for field in fields(Timings)}),
        is_taken=bool(row["is_taken"]),
        is_cached=bool(row["is_cached"]),
        parameters=json.loads(row["parameters"]),
    )


def _turn(role: Any, text: str, more: str | None) -> Turn:
    found = json.loads(more or "{}")
    return Turn(
        role,
        text,
        images=tuple(found.get("images", ())),
        tool_calls=_tool_calls(found.get("tool_calls", ())),
        tool_call_id=found.get("tool_call_id"),
    )


def _tool_calls(found: Any) -> tuple[ToolCall, ...]:
    return tuple(ToolCall(**call) for call in found)
