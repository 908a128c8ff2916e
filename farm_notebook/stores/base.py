"""The contract of a store: values by key, kept for a while."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

__all__ = ["Store", "StoreStats"]


@dataclass(frozen=True, slots=True)
class StoreStats:
    """What a store holds.

    Args:
        entries: Values that are not too old to be given.
        value_bytes: Of those values.
        file_bytes: What the store takes on disk.
        hits: How often those values were given, by whichever process.
        oldest_s: Age of the oldest of them in seconds; ``None`` where there is none.
        location: The file, or the address.
    """

    entries: int
    value_bytes: int
    file_bytes: int
    hits: int
    oldest_s: float | None
    location: str


class Store(ABC):
    """Values by key; an old one, or one that was not used for long, is dropped.

    A store that breaks costs time and never an answer: ``get`` and ``put`` raise nothing for a full disk, a
    damaged file or a missing server. Such a fault is logged as a warning, once, and until it is over there is
    nothing in the store.
    """

    @abstractmethod
    async def get(self, key: str) -> bytes | None:
        """The value last put under a key, unless it is too old; fast enough for an event loop."""

    @abstractmethod
    def put(self, key: str, value: bytes) -> None:
        """Keep a value. It can be got at once; it is written in the background, whole or not at all."""

    @abstractmethod
    async def stats(self) -> StoreStats:
        """What the store holds now.

        Raises:
            OSError: It cannot be read.
        """

    @abstractmethod
    async def clear(self) -> int:
        """Drop everything, and give its space back; how many values there were.

        Raises:
            OSError: It cannot be written.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Write what is not written yet, and let go of files and connections; the next call opens them."""
