"""SHA-256 digests of model files, computed off the event loop and remembered between runs.

A file is known by its resolved path, size and modification time; when one of them changes the digest is
computed anew. The memory is a convenience: a corrupt or unwritable one only costs the time to compute again.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

__all__ = ["file_digest", "hash_stream"]

CHUNK_BYTES = 1 << 20
MEMORY_NAME = "digests.json"

_memory_lock = threading.Lock()
_hashing_lock = threading.Lock()  # who else wants a digest meanwhile may find it remembered


def hash_stream(
    stream: IO[bytes], *, copy_to: IO[bytes] | None = None, on_bytes: Callable[[int], None] | None = None
) -> str:
    """Hash a stream to its end, and copy it on the way if asked.

    Args:
        stream: Read from where it stands, in pieces of 1 MiB.
        copy_to: Gets every byte that was hashed.
        on_bytes: Called before each piece is written, with its size in bytes. What it raises stops the work.

    Returns:
        The SHA-256, 64 lowercase hexadecimal digits.
    """
    digest = hashlib.sha256()
    while chunk := stream.read(CHUNK_BYTES):
        if on_bytes is not None:
            on_bytes(len(chunk))
        digest.update(chunk)
        if copy_to is not None:
            copy_to.write(chunk)
    return digest.hexdigest()


async def file_digest(path: Path, cache_dir: Path) -> str:
    """The SHA-256 of a file, computed in a thread the first time and remembered after.

    Args:
        path: The file.
        cache_dir: The folder of ``digests.json``; made if missing.

    Returns:
        64 lowercase hexadecimal digits.

    Raises:
        OSError: The file cannot be read.
    """
    return await asyncio.to_thread(_file_digest, path, cache_dir / MEMORY_NAME)


def _file_digest(path: Path, memory: Path) -> str:
    path = path.resolve()
    if (known := _known(path, memory)) is not None:
        return known
    with _hashing_lock:
        if (known := _known(path, memory)) is not None:
            return known
        identity = _identity(path)
        with path.open("rb") as stream:
            digest = hash_stream(stream)
        # A file that changed while it was read has no digest worth remembering.
        if _identity(path) == identity:
            _remember(memory, path, {**identity, "sha256": digest})
        return digest


def _known(path: Path, memory: Path) -> str | None:
    entry = _recall(memory).get(str(path))
    if not isinstance(entry, dict) or not isinstance(digest := entry.get("sha256"), str):
        return None
    return digest if _identity(path).items() <= entry.items() else None


def _identity(path: Path) -> dict[str, int]:
    status = path.stat()
    return {"size_bytes": status.st_size, "mtime_ns": status.st_mtime_ns}


def _recall(memory: Path) -> dict[str, Any]:
    """What is remembered, by path; nothing where the file is missing, unreadable or not ours."""
    try:
        entries = json.loads(memory.read_bytes())
    except (OSError, ValueError):
        return {}
    return entries if isinstance(entries, dict) else {}


def _remember(memory: Path, path: Path, entry: dict[str, Any]) -> None:
    """Add one entry, atomically. Of two processes at once one may lose its entry, never the file its form."""
    with _memory_lock, contextlib.suppress(OSError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        entries = {known: value for known, value in _recall(memory).items() if Path(known).exists()}
        entries[str(path)] = entry
        descriptor, name = tempfile.mkstemp(prefix=f".{MEMORY_NAME}-", dir=memory.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(entries, file, indent=1)
            os.replace(name, memory)
        except BaseException:
            os.unlink(name)
            raise
