"""The texts of a value: of a list, a column, a dict or a file of lines, each with where it stands.

pandas, polars and numpy are recognised by what their values can do, so that none is imported for it.
"""

from __future__ import annotations

import numbers
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from farm_notebook.errors import InvalidRequestError
from farm_notebook.notebook.interpolation import look_up
from farm_notebook.notebook.line import suggestion
from farm_notebook.notebook.offers import column_names, is_frame, names_of_values

__all__ = ["Texts", "read_texts", "texts_of"]

MOST_NAMED = 5
LARGEST_FILE = 100_000_000  # bytes


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts in their order, without those that are empty.

    Args:
        texts: None of them is blank.
        places: Of each, where it stands among all: 0 and up.
        labels: Of each, what it is called there: an index, a key, a line's number.
        empty: What those that were left out are called.
        frame: The data frame that they are a column of.
    """

    texts: tuple[str, ...]
    places: tuple[int, ...]
    labels: tuple[Hashable, ...]
    empty: tuple[Hashable, ...] = ()
    frame: Any = None


def read_texts(name: str, namespace: Mapping[str, object], column: str | None = None) -> Texts:
    """The texts that a variable holds, or else a file, one a line.

    Args:
        name: Of the variable, as in ``docs`` or ``rows[0].text``, or the file's path.
        namespace: The notebook's variables.
        column: Of a data frame.

    Raises:
        InvalidRequestError: There is none of that name, or it holds no texts.
    """
    try:
        value = look_up(name, namespace)
    except LookupError:
        path = Path(name).expanduser()
    else:
        return texts_of(value, name, column)
    if not path.is_file():
        known = names_of_values("texts", namespace)
        hint = suggestion(name, known) if known else "A list, a column or a dict of texts would do."
        raise InvalidRequestError(f"{name!r} is neither a variable nor a file. {hint}")
    if column is not None:
        raise InvalidRequestError(f"--column {column!r}: {name} is a file, whose lines are the texts.")
    return texts_of(_lines(path), name)


def texts_of(value: object, name: str = "it", column: str | None = None) -> Texts:
    """The texts of a value.

    Args:
        value: A list, tuple, dict, array or column of texts and numbers, a data frame, or one text.
        name: What it is called in errors.
        column: Of a data frame; it may be left out where there is one column of texts.

    Raises:
        InvalidRequestError: It holds something else, or nothing.
    """
    frame: Any = value if is_frame(value) else None
    if frame is not None:
        column = _column_of(frame, name, column)
        items = _items(frame[column])
        name = f"{name}[{column!r}]"
    elif column is not None:
        raise InvalidRequestError(f"--column {column!r}: {name} is no data frame, but {_kind(value)}.")
    else:
        items = _items(value, name)
    found, empty = [], []
    for place, (label, item) in enumerate(items):
        text = _text(item, f"{name}[{label!r}]")
        if text.strip():
            found.append((text, place, label))
        else:
            empty.append(label)
    if not found:
        raise InvalidRequestError(f"{name} holds no text{': all are empty' if empty else ''}.")
    texts, places, labels = zip(*found, strict=True)
    return Texts(texts, places, labels, tuple(empty), frame)


def _items(value: Any, name: str = "") -> list[tuple[Hashable, object]]:
    if isinstance(value, str):
        return [(0, value)]
    if isinstance(value, Mapping):
        return list(value.items())
    if hasattr(value, "to_list") and hasattr(value, "index") and not callable(value.index):  # pandas
        return list(zip(value.index.tolist(), value.to_list(), strict=True))
    values = (
        value.tolist()
        if hasattr(value, "tolist")
        else value.to_list()
        if hasattr(value, "to_list")
        else value
    )
    if not isinstance(values, Sequence) or isinstance(values, bytes | bytearray | range):
        raise InvalidRequestError(
            f"{name} is {_kind(value)}, and holds no texts in an order. Valid: a list, tuple, dict, array, "
            f"Series, DataFrame or text; `list({name})` may be one."
        )
    return list(enumerate(values))


def _text(item: object, where: str) -> str:
    """One text; of what is missing an empty one."""
    if isinstance(item, str):
        return item
    is_nan = isinstance(item, numbers.Real) and item != item
    if item is None or is_nan or type(item).__name__ in ("NAType", "NaTType"):
        return ""
    if isinstance(item, numbers.Number):
        return str(item)
    raise InvalidRequestError(f"{where} is {_kind(item)}, and no text. Make texts of all, as with str().")


def _column_of(frame: Any, name: str, column: str | None) -> str:
    names = column_names(frame)
    if column is None:
        texts = [each for each in names if _has_texts(frame[each])]
        if len(texts) == 1:
            return texts[0]
        raise InvalidRequestError(
            f"{name} is a data frame; name one of its columns, as in --column NAME. "
            f"Valid: {_named(texts or names)}."
        )
    if column not in names:
        raise InvalidRequestError(f"{name} has no column {column!r}. {suggestion(column, names)}")
    return column


def _has_texts(column: Any) -> bool:
    return str(column.dtype) in ("object", "str", "string", "category", "String", "Categorical")


def _lines(path: Path) -> list[str]:
    if path.stat().st_size > LARGEST_FILE:
        raise InvalidRequestError(f"{path} has more than {LARGEST_FILE // 1_000_000} MB. Read a part of it.")
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise InvalidRequestError(f"{path} is no file of text (UTF-8).") from None


def _named(names: Iterable[Hashable]) -> str:
    found = [str(name) for name in names]
    rest = len(found) - MOST_NAMED
    return ", ".join(found[:MOST_NAMED]) + (f" and {rest:,} more" if rest > 0 else "")


def _kind(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
