"""The contract of a store: values by key, kept for a while."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

__all__ = ["Store", "StoreStats"]

GETS_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class StoreStats:
    """What a store holds.

    Args:
        entries: Values that are not too old to be given.
        value_bytes: Of those values.
        file_bytes: What the store takes on disk, or of a server's memory.
        hits: How often values were given, by whichever process: those values, or all since the store was
            cleared where it does not count each one's.
        oldest_s: Age of the oldest of them in seconds; ``None`` where there is none.
        location: The file, or the address.
        max_bytes: What ``file_bytes`` is kept below; ``None`` where that is the server's own business.
    """

    entries: int
    value_bytes: int
    file_bytes: int
    hits: int
    oldest_s: float | None
    location: str
    max_bytes: int | None = None

    def facts(self) -> tuple[tuple[str, str], ...]:
        """What there is to tell a user, each with a word for it."""
        from rich.filesize import decimal  # only for a display

        bound = "bounded by the server" if self.max_bytes is None else f"of at most {decimal(self.max_bytes)}"
        oldest = "-" if self.oldest_s is None else f"{timedelta(seconds=round(self.oldest_s))} ago"
        return (
            ("answers", f"{self.entries:,}, given {self.hits:,} time{'s' * (self.hits != 1)}"),
            ("size", f"{decimal(self.file_bytes)} {bound}"),
            ("oldest", oldest),
            ("where", self.location),
        )


class Store(ABC):
    """Values by key; an old one, or one that was not used for long, is dropped.

    A store that breaks costs time and never an answer: ``get`` and ``put`` raise nothing for a full disk, a
    damaged file or a missing server. Such a fault is logged as a warning, once, and until it is over there is
    nothing in the store.
    """

    @abstractmethod
    async def get(self, key: str) -> bytes | None:
        """The value last put under a key, unless it is too old; fast enough for an event loop."""

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Those values of many that are there, by key; others on the event loop get their turn meanwhile."""
        found: dict[str, bytes] = {}
        for number, key in enumerate(keys):
            if number % GETS_AT_ONCE == GETS_AT_ONCE - 1:
                await asyncio.sleep(0)
            if (value := await self.get(key)) is not None:
                found[key] = value
        return found

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
