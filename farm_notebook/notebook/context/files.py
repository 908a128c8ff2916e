"""The files that are put before a prompt: text only, and of a notebook its cells."""

from __future__ import annotations

import glob
import json
import os
import stat
from collections.abc import Iterator, Sequence
from typing import Any

from farm_notebook.errors import InvalidRequestError
from farm_notebook.notebook.context.encodings import as_string
from farm_notebook.notebook.context.piece import Piece

__all__ = ["read_files"]

MOST_BYTES = 1024 * 1024  # that are read of one file; no model takes in as much
MOST_FILES = 200
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8")


def read_files(names: Sequence[str]) -> list[Piece]:
    """The files of some names, each once.

    Args:
        names: Paths, with ``~`` for the home folder, or patterns such as ``src/**/*.py``, which pass over
            what is no text and what begins with a dot.

    Raises:
        InvalidRequestError: Quoting a name that leads to no text, with what to do.
    """
    paths: dict[str, bool] = {}
    for path, is_named in (found for name in names for found in _paths(name)):
        paths[_label(path)] = paths.get(_label(path), False) or is_named
    if len(paths) > MOST_FILES:
        raise InvalidRequestError(
            f"--file {' '.join(names)!r} names {len(paths):,} files; at most {MOST_FILES} make a context. "
            "Narrow the pattern."
        )
    pieces = (_piece(path, is_named=is_named) for path, is_named in paths.items())
    return [piece for piece in pieces if piece is not None]


def _paths(name: str) -> Iterator[tuple[str, bool]]:
    """The paths behind a name, and whether the user wrote them so."""
    path = os.path.expanduser(name)
    if os.path.lexists(path) or not glob.has_magic(path):
        yield path, True
        return
    found = sorted(each for each in glob.iglob(path, recursive=True) if os.path.isfile(each))
    if not found:
        raise InvalidRequestError(f"No file is called as --file {name!r} says. Here is {os.getcwd()!r}.")
    for each in found:
        yield each, False


def _piece(path: str, *, is_named: bool) -> Piece | None:
    data, size = _read(path)
    text = as_string(data, is_python=path.endswith((".py", ".pyw", ".pyi")))
    if text is None or _is_binary(data):
        if is_named:
            raise InvalidRequestError(f"The file {path!r} is no text. {_advice(data)}")
        return None
    if path.endswith(".ipynb"):
        text = _cells(text) or text
    if size > len(data):
        text += f"\n... (the first {len(data):,} of {size:,} bytes)"
    return Piece(path, "file", text.strip("\n"), is_cut=size > len(data))


def _read(path: str) -> tuple[bytes, int]:
    """The first bytes of a file, and how many it has.

    Raises:
        InvalidRequestError: It is none, or cannot be read.
    """
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            pattern = os.path.join(path, "*.py")
            raise InvalidRequestError(f"{path!r} is a folder. Name a file, or a pattern: --file '{pattern}'.")
        if not stat.S_ISREG(status.st_mode):  # it might be read for ever
            raise InvalidRequestError(f"{path!r} is no file, but a device or a pipe.")
        with open(path, "rb") as file:
            return file.read(MOST_BYTES), status.st_size
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        if isinstance(error, InvalidRequestError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise InvalidRequestError(
            f"The file {path!r} cannot be read: {reason}. Here is {os.getcwd()!r}."
        ) from None


def _is_binary(data: bytes) -> bool:
    return data.startswith((b"%PDF-", b"PK\x03\x04", b"\x1f\x8b", *_PICTURES))


def _advice(data: bytes) -> str:
    if data.startswith(b"%PDF-"):
        return "It is a PDF: take its text out first, as with pypdf, and write {name} into the prompt."
    if data.startswith(_PICTURES) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP"):
        return "It is a picture: give it with --image."
    return "Read it into a variable, as with pandas, and give that with -c NAME."


def _label(path: str) -> str:
    """The path from here, where that is no longer."""
    try:
        relative = os.path.relpath(path)
    except ValueError:  # on another drive
        return path
    return relative if len(relative) <= len(path) else path


def _cells(text: str) -> str:
    """The cells of a notebook's file with their texts, in place of its JSON; empty where it is none.

    Source: https://nbformat.readthedocs.io/en/latest/format_description.html (version 4).
    """
    try:
        cells = json.loads(text)["cells"]
        return "\n\n".join(part for cell in cells for part in _cell(cell))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""


def _cell(cell: dict[str, Any]) -> Iterator[str]:
    source = _joined(cell["source"]).strip("\n")
    if cell["cell_type"] != "code":
        if source:
            yield source
        return
    if source:
        yield f"In[{cell.get('execution_count') or ' '}]:\n{source}"
    outputs = [text for output in cell.get("outputs", ()) if (text := _output(output))]
    if outputs:
        yield "\n".join(["Out:", *outputs])


def _output(output: dict[str, Any]) -> str:
    match output.get("output_type"):
        case "stream":
            return _joined(output.get("text", "")).rstrip("\n")
        case "execute_result" | "display_data":
            return _joined(output.get("data", {}).get("text/plain", "")).rstrip("\n")
        case "error":
            return f"{output.get('ename', '')}: {output.get('evalue', '')}"
        case _:
            return ""


def _joined(lines: str | Sequence[str]) -> str:
    return lines if isinstance(lines, str) else "".join(lines)
