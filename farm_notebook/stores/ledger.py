"""The contract of a ledger: what may still be asked and spent, counted for all who share it.

What is counted, and how much of it is allowed, is said with each claim. So a ledger needs no settings, and
those who share one may be held to different limits.
"""

from __future__ import annotations

import math
import random
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple

__all__ = [
    "NOTHING",
    "WINDOW_S",
    "Claim",
    "ClaimKind",
    "Ledger",
    "Refusal",
    "Reservation",
    "new_id",
    "until_room",
]

WINDOW_S = 60.0
ROUNDING = 1e-9  # sums of prices have no exact last digit

ClaimKind = Literal["window", "slot", "total"]
NOTHING: Mapping[str, float] = MappingProxyType({})


class Claim(NamedTuple):  # of which each answer makes several, and a tuple is made in no time
    """A share of something that is limited.

    Args:
        scope: What is counted, e.g. ``limits/openai/tokens_per_minute``; it is always of the same kind.
        amount: The share; 0 and up. A slot is always one.
        limit: How much may be claimed in all.
        kind: ``window`` counts what was granted in any 60 seconds, ``slot`` what is held at this moment, and
            ``total`` everything there ever was.
    """

    scope: str
    amount: float
    limit: float
    kind: ClaimKind

    def excess(self, used: float) -> float:
        """How much too much it is beside what is used already; nothing where it fits."""
        excess = used + self.amount - self.limit
        return excess if excess > 0.0 and excess > ROUNDING * max(1.0, self.limit) else 0.0


@dataclass(frozen=True, slots=True)
class Reservation:
    """Claims that were granted together, until they are settled."""

    id: int
    claims: tuple[Claim, ...]

    @property
    def unused(self) -> dict[str, float]:
        """What settles it as if it had never been."""
        return {claim.scope: 0.0 for claim in self.claims}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Claims that were not granted, none of them.

    Args:
        scope: The first that has no room.
        wait_s: When to ask again: there will be room in a window, or there may be in slots that other
            processes hold. Infinite where only a settlement makes room.
        left: How much was not used of it; below 0 where more was used than is allowed.
    """

    scope: str
    wait_s: float
    left: float


class Ledger(ABC):
    """Counts what was asked and spent, and grants as much as is allowed. It is for one event loop.

    A ledger that breaks costs exactness and never an answer: nothing here raises for a full disk, a damaged
    file or a missing server. Such a fault is logged as a warning, once, and until it is over each process
    counts for itself.
    """

    @abstractmethod
    async def reserve(self, claims: Sequence[Claim]) -> Reservation | Refusal:
        """Grant all claims at the same moment, or none; fast enough for an event loop.

        Where it is cancelled, nothing was granted. Slots are held until the reservation is settled, or its
        holder is known to be dead.
        """

    @abstractmethod
    def settle(self, reservation: Reservation, used: Mapping[str, float] = NOTHING) -> None:
        """End a reservation: free its slots, and put what was used in place of what was claimed.

        It waits for nothing, so that it can be called wherever a stream may end. Only the first time counts.

        Args:
            reservation: What ``reserve`` granted.
            used: By scope; the others are left as they were claimed. 0 is as if it had never been claimed.
        """

    @abstractmethod
    async def usage(self, scope: str) -> float:
        """What is used of a scope now."""

    @abstractmethod
    async def aclose(self) -> None:
        """Free the slots that are still held, and let go of files and connections. The next call opens
        them again.
        """


def new_id() -> int:
    """A number for a reservation that no other process takes too."""
    return random.getrandbits(53)  # what a double holds exactly, which is what Lua has


def until_room(excess: float, entries: Iterable[tuple[float, float]], now: float) -> float:
    """Seconds until enough of a window has passed; infinite where a claim is larger than its limit.

    Args:
        excess: How much has to pass.
        entries: When each share was granted and how large it is, oldest first.
        now: The present.
    """
    for at, amount in entries:
        excess -= amount
        if excess <= 0:
            return max(0.0, at + WINDOW_S - now)
    return math.inf
