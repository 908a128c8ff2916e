"""What tells one checkpoint from another: a digest over all files that its answers depend on."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from farm_notebook.weights.digest import file_digest

__all__ = ["folder_digest"]

DIGESTED = ("*.safetensors", "*.bin", "*.json", "*.jinja", "*.model", "*.txt", "*.py")


async def folder_digest(folder: Path, gguf: str | None, cache_dir: Path) -> str:
    """SHA-256 over the names and digests of a folder's files, or that of its GGUF file.

    Args:
        folder: Of the checkpoint.
        gguf: The one file that is the model.
        cache_dir: Where digests of files are remembered.

    Returns:
        64 lowercase hexadecimal digits.
    """
    if gguf is not None:
        return await file_digest(folder / gguf, cache_dir)
    whole = hashlib.sha256()
    for file in await asyncio.to_thread(_files, folder):
        whole.update(f"{file.name}\0{await file_digest(file, cache_dir)}\n".encode())
    return whole.hexdigest()


def _files(folder: Path) -> list[Path]:
    return sorted({file for pattern in DIGESTED for file in folder.glob(pattern)})
