"""What ledgers of several processes have in common: each process counts for itself as well.

What a process is granted is granted by its own count first. So it is held to its limits while the shared
count is away or lost, and what its own count refuses needs no look at the shared one.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from farm_notebook.stores.fork import ForkSafe
from farm_notebook.stores.ledger import NOTHING, Claim, Ledger, Refusal, Reservation
from farm_notebook.stores.ledger_memory import MemoryLedger

__all__ = ["ALONE", "NAME", "Debt", "SharedLedger"]

NAME = "ledger of limits and budgets"  # to the user
ALONE = "Until it can be, each process counts for itself."  # when the shared count cannot be used

_log = logging.getLogger("farm_notebook")


@dataclass(frozen=True, slots=True)
class Debt:
    """A settlement that the shared count has not heard of yet.

    Args:
        reservation: What ends.
        at: When the shared count granted it, by its own clock.
        used: Amounts that take the place of what was claimed, by scope.
    """

    reservation: Reservation
    at: float
    used: Mapping[str, float]


class SharedLedger(ForkSafe, Ledger):
    """The part of a ledger that is the same wherever the shared count is.

    Args:
        location: Of the shared count, for the user.
        clock: Seconds, for the process's own count.
    """

    def __init__(self, location: str, *, clock: Callable[[], float]) -> None:
        self._location = location
        self._clock = clock
        self._told: set[str] = set()
        super().__init__()

    def _begin(self) -> None:
        self._own = MemoryLedger(clock=self._clock)
        self._granted: dict[int, Debt] = {}  # by the shared count, with nothing used so far
        self._owed: list[Debt] = []

    async def reserve(self, claims: Sequence[Claim]) -> Reservation | Refusal:
        own = self._own.reserve_now(claims)
        if isinstance(own, Refusal):
            return own
        try:
            shared = await self._reserve(own)
        except BaseException:
            self._own.settle(own, own.unused)
            raise
        if isinstance(shared, Refusal):
            self._own.settle(own, own.unused)
            return shared
        if shared is not None:
            self._granted[own.id] = Debt(own, shared, NOTHING)
        return own

    def settle(self, reservation: Reservation, used: Mapping[str, float] = NOTHING) -> None:
        self._own.settle(reservation, used)
        if (granted := self._granted.pop(reservation.id, None)) is not None:
            self._owed.append(Debt(reservation, granted.at, used))
            self._pay_soon()

    async def usage(self, scope: str) -> float:
        shared = await self._usage(scope)
        return await self._own.usage(scope) if shared is None else shared

    async def aclose(self) -> None:
        self._owed += self._granted.values()
        self._granted.clear()
        await self._own.aclose()
        await self._close()

    @abstractmethod
    async def _reserve(self, reservation: Reservation) -> float | Refusal | None:
        """Ask the shared count, after what is owed to it; when it granted the claims by its own clock, or
        ``None`` where it is away.
        """

    @abstractmethod
    async def _usage(self, scope: str) -> float | None:
        """What is used of a scope by all; ``None`` where the shared count is away."""

    @abstractmethod
    def _pay_soon(self) -> None:
        """Have the shared count hear of what is owed to it, without waiting for that."""

    @abstractmethod
    async def _close(self) -> None:
        """Pay what is owed, and let go of files and connections."""

    def _forget(self) -> None:
        """The shared count was lost, and what it granted with it."""
        self._granted.clear()
        self._owed.clear()

    def _tell(self, what: str, then: str = ALONE, *, kind: str = "") -> None:
        """Warn, of each thing once, or once of each kind."""
        if (kind or what) not in self._told:
            self._told.add(kind or what)
            _log.warning("The %s %r %s. %s", NAME, self._location, what, then)
