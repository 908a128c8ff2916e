"""A ledger of one process: what it counts ends with it."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from farm_notebook.stores.ledger import (
    NOTHING,
    WINDOW_S,
    Claim,
    Ledger,
    Refusal,
    Reservation,
    new_id,
    until_room,
)

__all__ = ["MemoryLedger"]


class MemoryLedger(Ledger):
    """Counts in memory; see ``Ledger``.

    Args:
        clock: Seconds from any fixed moment. Where it is set back, what was granted counts as granted now.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: dict[str, _Window] = {}
        self._totals: dict[str, float] = {}
        self._slots: dict[str, int] = {}
        self._open: dict[int, list[_Share | None]] = {}

    async def reserve(self, claims: Sequence[Claim]) -> Reservation | Refusal:
        return self.reserve_now(claims)

    def reserve_now(self, claims: Sequence[Claim]) -> Reservation | Refusal:
        """The same without a word to the event loop."""
        now = self._clock()
        for claim in claims:
            if (refusal := self._refusal(claim, now)) is not None:
                return refusal
        shares: list[_Share | None] = []
        for claim in claims:
            share: _Share | None = None
            if claim.kind == "window":
                share = self._windows[claim.scope].add(now, claim.amount)
            elif claim.kind == "slot":
                self._slots[claim.scope] = self._slots.get(claim.scope, 0) + 1
            else:
                self._totals[claim.scope] = self._totals.get(claim.scope, 0.0) + claim.amount
            shares.append(share)
        reservation = Reservation(new_id(), tuple(claims))
        self._open[reservation.id] = shares
        return reservation

    def settle(self, reservation: Reservation, used: Mapping[str, float] = NOTHING) -> None:
        shares = self._open.pop(reservation.id, None)
        if shares is None:
            return
        for claim, share in zip(reservation.claims, shares, strict=True):
            if claim.kind == "slot":
                self._slots[claim.scope] -= 1
            elif claim.scope in used and share is not None:
                self._windows[claim.scope].change(share, used[claim.scope])
            elif claim.scope in used:
                self._totals[claim.scope] += used[claim.scope] - claim.amount

    async def usage(self, scope: str) -> float:
        if scope in self._windows:
            window = self._windows[scope]
            window.pass_by(self._clock())
            return window.used
        return self._totals.get(scope, 0.0) + self._slots.get(scope, 0)

    async def aclose(self) -> None:
        self._open.clear()
        self._slots.clear()

    def _refusal(self, claim: Claim, now: float) -> Refusal | None:
        if claim.kind != "window":
            counts: Mapping[str, float] = self._slots if claim.kind == "slot" else self._totals
            used = counts.get(claim.scope, 0)
            return Refusal(claim.scope, math.inf, claim.limit - used) if claim.excess(used) else None
        window = self._windows.setdefault(claim.scope, _Window())
        window.pass_by(now)
        if not (excess := claim.excess(window.used)):
            return None
        entries = ((share.at, share.amount) for share in window.shares)
        return Refusal(claim.scope, until_room(excess, entries, now), claim.limit - window.used)


@dataclass(slots=True)
class _Share:
    at: float
    amount: float
    is_counted: bool = True  # until it has passed by


@dataclass(slots=True)
class _Window:
    """What was granted in the last 60 seconds, oldest first, and the sum of it."""

    shares: deque[_Share] = field(default_factory=deque)
    used: float = 0.0

    def add(self, at: float, amount: float) -> _Share:
        share = _Share(at, amount)
        self.shares.append(share)
        self.used += amount
        return share

    def change(self, share: _Share, amount: float) -> None:
        """Put another amount in a share's place, unless it has passed by."""
        if share.is_counted:
            self.used += amount - share.amount
            share.amount = amount

    def pass_by(self, now: float) -> None:
        """Let go of what was granted 60 seconds ago or earlier."""
        shares = self.shares
        if shares and shares[-1].at > now:
            for share in shares:
                share.at = min(share.at, now)
        while shares and shares[0].at <= now - WINDOW_S:
            share = shares.popleft()
            share.is_counted = False
            self.used -= share.amount
