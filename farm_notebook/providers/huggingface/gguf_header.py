"""What a GGUF file says of the tensors in it, read without any of them.

The package ``gguf`` reads all of a file's metadata, which takes seconds where a vocabulary is among it.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from farm_notebook.errors import LoadError, MissingExtraError
from farm_notebook.providers.huggingface.runtime import INSTALL
from farm_notebook.providers.huggingface.stored import StoredTensor

__all__ = ["gguf_tensors"]

VERSIONS = (2, 3)
SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # bytes, by the type's number
STRING, ARRAY = 8, 9
ALIGNMENT_KEY, ALIGNMENT = b"general.alignment", 32


def gguf_tensors(file: Path) -> Mapping[str, StoredTensor]:
    """The tensors of a whole GGUF file by their names, with the places of their bytes in the file.

    Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, version 3.

    Raises:
        LoadError: This is no such file, or a part of it is missing.
        MissingExtraError: The package gguf, which knows the sizes of its number formats, is not installed.
    """
    try:
        status = file.stat()
        return _read(file, status.st_size, status.st_mtime_ns, status.st_ino)
    except (OSError, ValueError, KeyError, struct.error) as error:
        raise LoadError(f"{str(file)!r} is no whole GGUF file: {error}. Fetch it again.") from error


@lru_cache(maxsize=16)  # it is asked for again at every look at whether the file has changed
def _read(file: Path, size: int, *_: int) -> Mapping[str, StoredTensor]:
    with file.open("rb") as stream:
        if stream.read(4) != b"GGUF":
            raise ValueError("it does not begin as one")
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            tensors = _Reader(content).tensors()
    end = max((tensor.end for tensor in tensors.values()), default=0)
    if size < end:
        raise ValueError(f"it should have {end:,} bytes and has {size:,}")
    return MappingProxyType(tensors)


class _Reader:
    """Goes through a file from its begin.

    Args:
        content: Of the file.
    """

    def __init__(self, content: mmap.mmap) -> None:
        self._content = content
        self._at = 4

    def tensors(self) -> dict[str, StoredTensor]:
        try:
            from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
        except ImportError as error:
            raise MissingExtraError(f"GGUF files need the package gguf: {INSTALL}") from error

        (version,) = self._take("<I")
        if version not in VERSIONS:
            raise ValueError(f"its version is {version}; valid are {', '.join(map(str, VERSIONS))}")
        count, keys = self._take("<QQ")
        alignment = ALIGNMENT
        for _ in range(keys):
            name, (kind,) = self._string(), self._take("<I")
            if name == ALIGNMENT_KEY:
                (alignment,) = self._take("<I")
            else:
                self._skip(kind)
        infos = []
        for _ in range(count):
            name, (dimensions,) = self._string(), self._take("<I")
            elements = math.prod(self._take(f"<{dimensions}Q"))
            of_type, offset = self._take("<IQ")
            infos.append((name.decode(), elements, GGMLQuantizationType(of_type), offset))
        start = -(-self._at // alignment) * alignment
        tensors = {}
        for label, elements, form, offset in infos:
            block, block_bytes = GGML_QUANT_SIZES[form]
            begin = start + offset
            end = begin + elements // block * block_bytes
            tensors[label] = StoredTensor(form.name, elements, begin, end)
        return tensors

    def _take(self, form: str) -> tuple[int, ...]:
        values = struct.unpack_from(form, self._content, self._at)
        self._at += struct.calcsize(form)
        return values

    def _string(self) -> bytes:
        (length,) = self._take("<Q")
        self._at += length
        return self._content[self._at - length : self._at]

    def _skip(self, kind: int, count: int = 1) -> None:
        """Go behind values of one type."""
        if kind == STRING:
            content, at = self._content, self._at
            for _ in range(count):  # of a vocabulary: 100,000 and more
                at += 8 + int.from_bytes(content[at : at + 8], "little")
            self._at = at
        elif kind == ARRAY:
            for _ in range(count):
                inner, length = self._take("<IQ")
                self._skip(inner, length)
        else:
            self._at += SCALARS[kind] * count
