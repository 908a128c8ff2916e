"""Puts one entry into a TOML file that a person wrote, and leaves every other line of it as it is."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from farm_notebook.config import files
from farm_notebook.config.toml import as_key, as_toml
from farm_notebook.errors import ConfigError

__all__ = ["save_entry", "with_entry"]


def save_entry(folder: Path, table: str, key: str, value: Any) -> Path:
    """Write an entry into the project's file of settings; which one that is.

    Args:
        folder: Where the search for it begins; where there is none, a ``farm.toml`` is made there.
        table: Of settings, as in ``aliases``.
        key: The entry's name in it.
        value: What it is to hold.

    Raises:
        ConfigError: It cannot be done without changing other lines.
        OSError: The file cannot be written.
    """
    path = files.find_project_path(folder)
    if path is None:
        path, text = folder / files.FARM_TOML, ""
    else:
        files.read_toml(path)  # so that one which is no TOML is told as such
        text = path.read_bytes().decode("utf-8-sig")
    whole = f"tool.farm.{table}" if path.name == files.PYPROJECT else table
    try:
        changed = with_entry(text, whole, key, value)
    except ValueError:
        raise ConfigError(
            f"{path} is written so that the entry cannot be put in by a line. Put it in yourself: "
            f"{as_key((key,))} = {as_toml(value)}, in the table [{whole}]."
        ) from None
    _replace(path.resolve(), changed)
    return path


def with_entry(text: str, table: str, key: str, value: Any) -> str:
    """A TOML document with an entry in a table, in the place of the one that was there.

    Args:
        text: The document.
        table: Dotted, as it stands in brackets.
        key: The entry's name.
        value: What it is to hold.

    Raises:
        ValueError: That takes more than one line of its own.
    """
    newline = "\r\n" if "\r\n" in text else "\n"
    entry = f"{as_key((key,))} = {as_toml(value)}{newline}"
    lines = text.splitlines(keepends=True)
    header = next((place for place, line in enumerate(lines) if _is_header(line, table)), None)
    if header is None:
        if lines and not lines[-1].endswith(("\n", "\r")):
            lines[-1] += newline
        lines += [*([newline] if lines else []), f"[{table}]{newline}", entry]
    else:
        old = next((at for at in _body(lines, header) if _is_entry(lines[at], key)), None)
        start, end = (header + 1, header + 1) if old is None else (old, old + 1)
        if start == len(lines) and not lines[-1].endswith("\n"):
            lines[-1] += newline
        lines[start:end] = [entry]
    changed = "".join(lines)
    if tomllib.loads(changed) != _expected(tomllib.loads(text), table, key, value):
        raise ValueError(table)
    return changed


def _is_header(line: str, table: str) -> bool:
    return bool(re.fullmatch(rf"\s*\[\s*{re.escape(table)}\s*\]\s*(?:#.*)?", line.rstrip("\r\n")))


def _body(lines: list[str], header: int) -> range:
    """The lines of a table, up to the next one."""
    after = (at for at in range(header + 1, len(lines)) if lines[at].lstrip().startswith("["))
    return range(header + 1, next(after, len(lines)))


def _is_entry(line: str, key: str) -> bool:
    names = "|".join(map(re.escape, {as_key((key,)), f'"{key}"', f"'{key}'"}))
    return bool(re.match(rf"\s*(?:{names})\s*=", line))


def _expected(before: Mapping[str, Any], table: str, key: str, value: Any) -> dict[str, Any]:
    name, _, rest = table.partition(".")
    inner = dict(before.get(name, {}))
    if rest:
        inner = _expected(inner, rest, key, value)
    else:
        inner[key] = tomllib.loads(f"value = {as_toml(value)}")["value"]
    return {**before, name: inner}


def _replace(path: Path, text: str) -> None:
    """Whole or not at all: a kernel that reads it meanwhile has the old one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        if path.exists():
            shutil.copymode(path, name)
        else:
            os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
