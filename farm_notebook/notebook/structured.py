"""An answer that is a value: what it is shown as, and what ``--as`` makes of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, cast

from farm_notebook.errors import MissingExtraError
from farm_notebook.notebook.formats import Bundle, Format, fence
from farm_notebook.reply import Reply
from farm_notebook.sanitize import as_inline_text, printable
from farm_notebook.schemas import Shape

__all__ = ["AsName", "StructuredFormat", "as_wanted", "check_wanted"]

AsName = Literal["object", "json", "df"]

MOST_ROWS = 20
MOST_COLUMNS = 12
LONGEST_CELL = 100  # characters
LONGEST_JSON = 20_000

_Row: TypeAlias = Mapping[str, Any]


class StructuredFormat(Format):
    """A table of an answer that is a list of flat objects, and else JSON.

    Args:
        shape: What the answer is to be; one that is not is shown as it stands.
    """

    def __init__(self, shape: Shape) -> None:
        self._shape = shape

    def preview(self, text: str) -> Bundle:
        return {"text/markdown": fence(text, "json"), "text/plain": text}

    def final(self, reply: Reply) -> Bundle:
        try:
            plain = self._shape.plain(self._shape.parse(reply.text))
        except ValueError:
            shown, text = fence(reply.text), reply.text
        else:
            text = json.dumps(plain, indent=2, ensure_ascii=False)
            rows = _rows(plain)
            shown = _table(rows) if rows and _is_flat(rows) else fence(_cut(text), "json")
        footer = as_inline_text(reply.footer)
        return {
            "text/markdown": f"{shown}\n\n<small>{footer}</small>",
            "text/plain": printable(f"{_cut(text)}\n\n{reply.footer}"),
        }


def check_wanted(wanted: AsName) -> None:
    """See that there is what ``--as`` needs, before a model is asked.

    Raises:
        MissingExtraError: pandas is not installed.
    """
    if wanted == "df":
        try:
            import pandas  # type: ignore[import-untyped]  # noqa: F401 - it is only looked for
        except ImportError:
            raise MissingExtraError("--as df needs pandas: pip install pandas") from None


def as_wanted(value: object, shape: Shape, wanted: AsName) -> object:
    """A value as it is, as plain JSON values, or as a ``pandas.DataFrame``.

    Args:
        value: As ``shape`` gave it.
        shape: What it is.
        wanted: ``df`` makes a row of each object of a list, or of the only list that an object has; one
            object is one row, and what is no object is a column ``value``. Nested ones are ``outer.inner``.
    """
    if wanted == "object":
        return value
    plain = shape.plain(value)
    if wanted == "json":
        return plain
    import pandas

    records = _records(plain)
    if not records:
        return cast(object, pandas.DataFrame(columns=_columns(shape.schema)))
    if all(isinstance(record, dict) for record in records):
        return cast(object, pandas.json_normalize(records))
    return cast(object, pandas.DataFrame({"value": records}))


def _records(plain: Any) -> list[Any]:
    """The list that a value is, or holds; else a list of the value alone."""
    if isinstance(plain, list):
        return plain
    if (
        isinstance(plain, dict)
        and len(lists := [each for each in plain.values() if isinstance(each, list)]) == 1
    ):
        (only,) = lists
        if len(plain) == 1 or all(isinstance(each, dict) for each in only):
            return list(only)
    return [plain]


def _columns(schema: Mapping[str, Any]) -> list[str]:
    """Of the objects in the only list that a schema asks for: a table without rows has them, too."""
    properties = schema.get("properties", {}).values()
    lists = [each for each in (*properties, schema) if isinstance(each, Mapping) and "items" in each]
    items = lists[0]["items"] if lists and isinstance(lists[0]["items"], dict) else {}
    definition = str(items.get("$ref", "")).removeprefix("#/$defs/")
    return list(schema.get("$defs", {}).get(definition, items).get("properties", {"value": {}}))


def _rows(plain: Any) -> list[_Row]:
    """The objects of a list, to be shown as a table; none of anything else."""
    if isinstance(plain, dict) and len(plain) == 1:
        (plain,) = plain.values()
    is_table = isinstance(plain, list) and all(isinstance(each, dict) and each for each in plain)
    return plain if is_table else []


def _is_flat(rows: Sequence[_Row]) -> bool:
    columns = {name for row in rows for name in row}
    cells = (value for row in rows for value in row.values())
    return len(columns) <= MOST_COLUMNS and not any(isinstance(cell, dict | list) for cell in cells)


def _table(rows: Sequence[_Row]) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [_line(columns), f"|{' --- |' * len(columns)}"]
    lines += [_line([_cell(row.get(name, "")) for name in columns]) for row in rows[:MOST_ROWS]]
    more = len(rows) - MOST_ROWS
    return "\n".join(lines) + (f"\n\n<small>and {more:,} more</small>" if more > 0 else "")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(as_inline_text(printable(' '.join(cell.split()))) for cell in cells)} |"


def _cell(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_CELL else f"{text[:LONGEST_CELL]}…"


def _cut(text: str) -> str:
    more = len(text) - LONGEST_JSON
    return text if more <= 0 else f"{text[:LONGEST_JSON]}…\n({more:,} more characters)"
