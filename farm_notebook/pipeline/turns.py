"""Whose turn it is to claim something of a ledger: first come, first served, within one process.

Who claims something of the same scopes stands in one line, and passes one after the other. Who stands in
another line passes by those before it, unless one of them waits for something that it would take too. So a
model at a limit of its own holds up no other, and a large request is not overtaken for ever by small ones.
"""

from __future__ import annotations

import asyncio
import math
import weakref
from collections import Counter, deque
from collections.abc import Sequence

from farm_notebook.stores.ledger import WINDOW_S, Claim, Ledger, Refusal, Reservation

__all__ = ["Place", "Turns", "turns_at"]

SHORTEST_WAIT_S = 0.001  # the moment that was computed and the one that comes differ in their last digits


class Turns:
    """All who wait for one ledger, on one event loop."""

    def __init__(self) -> None:
        self._lines: dict[frozenset[str], deque[Place]] = {}
        self._waiting: Counter[str] = Counter()  # how many are to claim something of a scope
        self._last_number = 0

    def join(self, ledger: Ledger, claims: Sequence[Claim]) -> Place:
        """Take a place at the end of a line; it has to be left, with or without what it claims.

        Args:
            ledger: The one that they wait for.
            claims: What is to be granted together.
        """
        self._last_number += 1
        place = Place(self, self._last_number, ledger, claims)
        self._lines.setdefault(place.scopes, deque()).append(place)
        for scope in place.scopes:
            self._waiting[scope] += 1
        return place

    def leave(self, place: Place) -> None:
        """Those behind move up. A place that was left already is left alone."""
        if place.is_left:
            return
        place.is_left = True
        line = self._lines[place.scopes]
        line.remove(place)
        if not line:
            del self._lines[place.scopes]
        for scope in place.scopes:
            self._waiting[scope] -= 1
        self.stir(after=place.number)

    def stir(self, *, after: int = 0) -> None:
        """There may be room, as something was settled: have whoever is first in a line try again.

        Args:
            after: Only those who came after the one with this number.
        """
        for line in self._lines.values():
            if line[0].number > after:
                line[0].woken.set()

    def in_the_way(self, place: Place) -> Place | None:
        """Someone who has to pass before it."""
        for line in self._lines.values():
            if line[0].number < place.number and line[0].bars(place):
                return line[0]
        return None

    def crowd_s(self, claim: Claim) -> float:
        """The seconds from the moment the first of those passes who wait for something, until all have; each
        claims at least one.
        """
        if claim.kind != "window":
            return 0.0
        return WINDOW_S * (math.ceil(self._waiting[claim.scope] / claim.limit) - 1)


class Place:
    """Someone's place in a line; made by ``Turns.join``."""

    def __init__(self, turns: Turns, number: int, ledger: Ledger, claims: Sequence[Claim]) -> None:
        self.number = number
        self.claims = claims
        self.scopes = frozenset([claim.scope for claim in claims])
        self.woken = asyncio.Event()
        self.is_left = False
        self._turns = turns
        self._ledger = ledger
        self._loop = asyncio.get_running_loop()
        self._wanted = self.scopes  # what nobody may claim who came later
        self._room_at = self._loop.time()  # at the earliest
        self._retry_s = math.inf  # where nobody wakes it before

    def bars(self, other: Place) -> bool:
        """Whether another one would take what this one waits for."""
        return not self._wanted.isdisjoint(other.scopes)

    async def claim(self, *also: Claim) -> Reservation | Refusal:
        """Try it now, where it is this one's turn, and leave the place when it was granted.

        Args:
            also: What is to be granted with it, that nobody waits for. Who was refused it leaves.
        """
        self.woken.clear()
        if (before := self._turns.in_the_way(self)) is not None:
            claim = next(claim for claim in self.claims if claim.scope in before._wanted)
            self._retry_s = math.inf
            wait_s = max(0.0, before._room_at - self._loop.time()) + self._turns.crowd_s(claim)
            return Refusal(claim.scope, wait_s, 0.0)
        self._wanted = self.scopes
        outcome = await self._ledger.reserve((*also, *self.claims))
        if isinstance(outcome, Reservation):
            self._turns.leave(self)
            return outcome
        self._wanted = frozenset([outcome.scope])
        self._room_at = self._loop.time() + outcome.wait_s
        self._retry_s = outcome.wait_s
        self._turns.stir(after=self.number)
        return outcome

    async def news(self, within_s: float) -> None:
        """Wait until trying again makes sense, but no longer than some seconds."""
        wait_s = max(SHORTEST_WAIT_S, min(within_s, self._retry_s))
        timer = self._loop.call_later(wait_s, self.woken.set)
        try:
            await self.woken.wait()
        finally:
            timer.cancel()

    def leave(self) -> None:
        """Give the place up, where it was not left yet."""
        self._turns.leave(self)


_all: weakref.WeakKeyDictionary[Ledger, Turns] = weakref.WeakKeyDictionary()


def turns_at(ledger: Ledger) -> Turns:
    """Those who wait for a ledger; whoever uses the same one waits in the same lines."""
    return _all.setdefault(ledger, Turns())
