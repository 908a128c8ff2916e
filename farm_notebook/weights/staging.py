"""Where a model file waits until it is known to be right: beside its target, under names of its own.

Beside the target may stand ``NAME.part`` (a download to resume) and, while pip works, a staging folder
``.NAME.staging-*``. This module names and measures them, reports the work of checking a file, and moves
the right one into place. It knows nothing of where files come from: that is each source's (``wheel.py``,
``hub.py``), and which source is asked when, and under what lock, is ``fetch.py``'s.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import tempfile
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import IO, TypeAlias

from farm_notebook.types import LoadProgress
from farm_notebook.weights.catalog import CatalogModel

__all__ = [
    "POLL_S",
    "BadFileError",
    "Count",
    "Progress",
    "SourceError",
    "accept",
    "bytes_in_flight",
    "delete",
    "file_bytes",
    "in_thread",
    "largest_bytes",
    "make_staging_folder",
    "one_line",
    "open_binary",
    "part_path",
    "require_space",
    "staging_folders",
]

Progress: TypeAlias = AsyncGenerator[LoadProgress, None]
Count: TypeAlias = Callable[[int], None]

POLL_S = 0.2
CAUSE_CHARS = 300


class SourceError(Exception):
    """This source failed for the reason given, in one line; the next may do better."""


class BadFileError(SourceError):
    """The source delivered something, but not the catalogue's file."""


async def in_thread(model: CatalogModel, work: Callable[[Count], None]) -> Progress:
    """Run ``work`` in a thread and yield its ``verify`` progress; the thread has ended when this has.

    Args:
        model: The model whose file is worked on; gives the total size.
        work: Calls the function it is given with the size in bytes of each piece it has done. Once the
            caller has gone that function raises, which ends the work.

    Raises:
        Exception: Whatever ``work`` raised.
    """
    done_bytes, stopped = 0, False

    def count(size_bytes: int) -> None:
        nonlocal done_bytes
        if stopped:
            raise SourceError("stopped")
        done_bytes += size_bytes

    task = asyncio.ensure_future(asyncio.to_thread(work, count))
    # So that asyncio does not complain of an error that came after the caller had gone.
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    try:
        while not task.done():
            yield LoadProgress("verify", done_bytes, model.size_bytes)
            await asyncio.wait({task}, timeout=POLL_S)
        task.result()
        yield LoadProgress("verify", model.size_bytes, model.size_bytes)
    finally:
        stopped = True
        await asyncio.wait({task})


def accept(part: Path, digest: str, model: CatalogModel, target: Path) -> None:
    """Move a file with the right digest into place; delete any other.

    Raises:
        BadFileError: The digest is not the catalogue's.
    """
    if digest != model.sha256:
        delete(part)
        raise BadFileError(f"not the expected file: expected SHA-256 {model.sha256}, got {digest}")
    os.replace(part, target)


def require_space(folder: Path, needed_bytes: int) -> None:
    """Raise ``SourceError`` where the folder's disk has less room than is needed."""
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise SourceError(f"needs {needed_bytes:,} bytes in {folder}, where {free_bytes:,} are free")


def one_line(text: str, token: str = "") -> str:
    """A foreign message without line breaks, the user and password of any URL, or the hub's key.

    Args:
        text: The message.
        token: A key that was sent; those of the environment, and what looks like the hub's, are never shown.
    """
    text = re.sub(r"://[^/\s]*@", "://***@", " ".join(text.split()))
    text = re.sub(r"\bhf_\w{16,}", "***", text)
    for secret in (token, os.environ.get("HF_TOKEN", "").strip()):
        text = text.replace(secret, "***") if secret else text
    return text if len(text) <= CAUSE_CHARS else f"{text[: CAUSE_CHARS - 1]}…"


def part_path(target: Path) -> Path:
    """Where a download that can be resumed stands."""
    return target.with_name(f"{target.name}.part")


def make_staging_folder(target: Path) -> Path:
    """A new, empty folder beside the target, on the same disk; the caller removes it."""
    return Path(tempfile.mkdtemp(prefix=_staging_prefix(target), dir=target.parent))


def staging_folders(target: Path) -> list[Path]:
    """The staging folders that stand beside the target now, whoever made them."""
    return [path for path in target.parent.iterdir() if path.name.startswith(_staging_prefix(target))]


def _staging_prefix(target: Path) -> str:
    return f".{target.name}.staging-"


def bytes_in_flight(target: Path) -> int:
    """How far the process that holds the lock has come."""
    return max([file_bytes(part_path(target)), *map(largest_bytes, staging_folders(target))])


def largest_bytes(folder: Path) -> int:
    """Size of the largest file below; the sum would count twice what pip copies from its temporary folder."""
    return max((file_bytes(path) for path in folder.rglob("*")), default=0)


def file_bytes(path: Path) -> int:
    """Size of a file; 0 where there is none."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:  # gone meanwhile
        return 0


def delete(path: Path) -> None:
    """Delete a file that may be gone already."""
    path.unlink(missing_ok=True)


def open_binary(path: Path, mode: str) -> IO[bytes]:
    """Open a file in a mode that ends in ``b`` or ``b+``."""
    file: IO[bytes] = path.open(mode)
    return file
