"""Writes settings as TOML."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from farm_notebook.config.values import NONE

__all__ = ["as_document", "as_key", "as_toml"]


def as_toml(value: Any) -> str:
    """One value, on one line; ``None`` as the text that stands for it."""
    match value:
        case None:
            return as_toml(NONE)
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return _quoted(value)
        case Path():
            return as_toml(str(value))
        case Mapping():
            inner = ", ".join(f"{as_key((str(key),))} = {as_toml(one)}" for key, one in value.items())
            return f"{{ {inner} }}" if inner else "{}"
        case Set():
            return as_toml(sorted(value))
        case list() | tuple():
            return f"[{', '.join(as_toml(one) for one in value)}]"
    raise TypeError(f"{value!r} has no TOML")


def as_key(path: Sequence[str]) -> str:
    """The key of a setting, ``cache.ttl_s``."""
    return ".".join(key if re.fullmatch(r"[\w-]+", key, re.ASCII) else _quoted(key) for key in path)


def as_document(values: Mapping[str, Any]) -> str:
    """Settings as a whole file, a table each section.

    Args:
        values: Nested mappings; empty ones are left out.
    """
    return "\n".join(_tables(values, ())).lstrip("\n") + "\n"


def _quoted(text: str) -> str:
    """JSON's escapes are TOML's too, but for one character that JSON leaves as it is."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _tables(values: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    plain = {key: value for key, value in values.items() if not isinstance(value, Mapping)}
    lines = [f"{as_key((key,))} = {as_toml(value)}" for key, value in plain.items()]
    if path and lines:
        lines = ["", f"[{as_key(path)}]", *lines]
    for key, value in values.items():
        if isinstance(value, Mapping):
            lines += _tables(value, (*path, key))
    return lines
