"""What tells that a checkpoint's files have changed, and are all there: cheap enough to ask twice a second.

What tells one checkpoint from another for good is its ``digest``.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from fnmatch import fnmatch
from pathlib import Path

from farm_notebook.errors import FarmError
from farm_notebook.providers.huggingface.checkpoint import read_header, weight_files, whole_bytes
from farm_notebook.providers.huggingface.digest import DIGESTED
from farm_notebook.providers.huggingface.gguf_header import gguf_tensors

__all__ = ["fingerprint", "is_being_written"]

ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
PASSING = (".tmp*", "*.tmp", "*.part", "*.incomplete")  # names of files that will have another one when whole
PASSING_S = 10.0  # since it was last written to: what is older was left behind
HEAD_BYTES = 4096  # of a file's content that are looked at, behind the header of safetensors


def fingerprint(folder: Path, gguf: str | None = None) -> str | None:
    """A short text that is another one when a checkpoint's files are others.

    It is made of their names, sizes, times and inodes, of the place behind symbolic links, and of how the
    weights begin. No more is read than that.

    Args:
        folder: Of a model or of an adapter; it may be a link.
        gguf: The one file that is the model.

    Returns:
        ``None`` while the checkpoint is surely not whole: a file is missing, is still being written, or is
        something else.
    """
    place = os.path.realpath(folder)
    try:
        if gguf is not None:
            names, heads = [gguf], [_start_of_gguf(Path(place, gguf))]
        else:
            names = sorted(
                name for name in os.listdir(place) if any(fnmatch(name, known) for known in DIGESTED)
            )
            heads = _starts(Path(place), names)
        if not heads:
            return None
        marks: list[object] = [place, heads]
        for name in names:
            file = os.stat(os.path.join(place, name))
            marks.append((name, file.st_size, file.st_mtime_ns, file.st_ino, file.st_dev))
    except (
        OSError,
        FarmError,
        ValueError,
        TypeError,
    ):
        return None  # a file went while it was looked at, or is not whole yet
    return hashlib.sha256(repr(marks).encode()).hexdigest()


def is_being_written(folder: Path) -> bool:
    """Whether a saver is at work in a checkpoint's folder, of which all files may be whole, and of before.

    safetensors 0.8 writes to ``.tmpXXXXXX``, which gets its name at the end, minutes after the configuration.
    """
    try:
        with os.scandir(folder) as entries:
            passing = [entry for entry in entries if any(fnmatch(entry.name, name) for name in PASSING)]
            return any(abs(time.time() - entry.stat().st_mtime) < PASSING_S for entry in passing)
    except OSError:
        return False  # it has its name by now, or the folder is gone


def _starts(folder: Path, names: list[str]) -> list[bytes]:
    """How the weights begin; none where there are no weights."""
    is_adapter = "config.json" not in names
    config, single = ADAPTER if is_adapter else ("config.json", "")
    if not isinstance(json.loads((folder / config).read_bytes()), dict):
        raise TypeError(config)
    if is_adapter:
        return [_start(folder / single)]
    if files := weight_files(folder.name, folder):
        return [_start(file) for file in files]
    return [_head(folder / name, 0) for name in names if fnmatch(name, "pytorch_model*.bin")]


def _start(file: Path) -> bytes:
    """The header of a whole safetensors file, and the first of its numbers.

    Raises:
        FarmError: It is no such file.
        ValueError: It is not whole.
    """
    header = read_header(file)
    if file.stat().st_size != whole_bytes(header):
        raise ValueError(file)
    return hashlib.sha256(header + _head(file, 8 + len(header))).digest()


def _start_of_gguf(file: Path) -> bytes:
    gguf_tensors(file)  # which sees whether all of it is there
    return _head(file, 0)


def _head(file: Path, at: int) -> bytes:
    with file.open("rb") as stream:
        stream.seek(at)
        return stream.read(HEAD_BYTES)
