"""A tensor as a file describes it."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["StoredTensor"]


class StoredTensor(NamedTuple):
    """What a file says of a tensor in it.

    Args:
        dtype: As safetensors or GGUF name it, e.g. ``BF16``, ``Q4_K``.
        elements: How many numbers.
        begin: Of its bytes in the file's data.
        end: The first byte behind it.
    """

    dtype: str
    elements: int
    begin: int
    end: int

    @property
    def size_bytes(self) -> int:
        """In the file."""
        return self.end - self.begin
