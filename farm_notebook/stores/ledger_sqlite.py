"""A ledger in a SQLite file, for the processes of one user on this machine.

Granting and settling take some 0.1 ms on the event loop's own thread: handing them to another one would take
as long. What is settled is written with the next claims, or else a moment later. While another process writes
to the file it is tried again a moment later, and others on the loop get their turn. What may take longer,
opening and replacing it, is done in threads.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from farm_notebook.stores.file import is_busy, is_damage
from farm_notebook.stores.keeper import RETRY_S, FileKeeper, Words
from farm_notebook.stores.ledger import Refusal, Reservation
from farm_notebook.stores.ledger_file import LedgerFile
from farm_notebook.stores.ledger_shared import ALONE, NAME, SharedLedger

__all__ = ["SQLiteLedger"]

BUSY_S = 2.0  # how long another process may write to the file; no healthy one takes a hundredth of that
PAUSES_S = (0.0005, 0.005)  # between two tries meanwhile; at random, so that two do not keep step

PAY_S = 0.01  # from a settlement until the file hears of it, unless something is claimed before

T = TypeVar("T")

_WORDS = Words(NAME, foreign="no ledger", loss=ALONE, fresh="A new one is used, and counts from 0.")


class SQLiteLedger(SharedLedger):
    """A ledger in one file; see ``Ledger``. Nothing is opened until it is first used.

    Args:
        path: The file; its folder is made if need be.
        clock: Seconds since 1970.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._keeper = FileKeeper(partial(_opened, clock), path, _WORDS)
        super().__init__(str(path), clock=clock)

    def _begin(self) -> None:
        super()._begin()
        self._payment: asyncio.Handle | None = None

    async def _reserve(self, reservation: Reservation) -> float | Refusal | None:
        return await self._asked(lambda file: file.reserve(reservation, self._owed, self._clock))

    async def _usage(self, scope: str) -> float | None:
        return await self._asked(lambda file: file.usage(scope, self._owed, self._clock))

    async def _asked(self, work: Callable[[LedgerFile], T]) -> T | None:
        """Do something with the file, and pay what is owed, as soon as no other process writes to it.

        Returns:
            What the work does; ``None`` where the file cannot be used.
        """
        give_up_at: float | None = None
        while not self._keeper.is_left_alone:
            if (file := self._keeper.file or await asyncio.to_thread(self._keeper.opened)) is None:
                break
            try:
                done = work(file)
            except sqlite3.Error as error:
                if not is_busy(error):
                    await asyncio.to_thread(self._keeper.note_failure, error, file, when_lost=self._forget)
                    continue
                give_up_at = give_up_at or time.monotonic() + BUSY_S
                if time.monotonic() > give_up_at:
                    self._keeper.leave_alone(error)
                    break
                await asyncio.sleep(random.uniform(*PAUSES_S))
            else:
                self._owed.clear()
                return done
        return None

    def _pay_soon(self) -> None:
        if self._payment is None:
            self._payment = asyncio.get_running_loop().call_later(PAY_S, self._pay)

    def _pay(self) -> None:
        """Settle what is owed. What cannot be is settled later, at the latest with the next claims."""
        self._payment = None
        file = self._keeper.file
        if not self._owed or file is None:
            return
        try:
            file.settle(self._owed, self._clock)
        except sqlite3.Error as error:
            pause_s = random.uniform(*PAUSES_S) if is_busy(error) else RETRY_S
            self._payment = asyncio.get_running_loop().call_later(pause_s, self._pay)
        else:
            self._owed.clear()

    async def _close(self) -> None:
        if self._payment is not None:
            self._payment.cancel()
            self._payment = None
        self._keeper.try_again()  # it is worth a last one
        if self._keeper.file is not None and self._owed:
            await self._asked(lambda file: file.settle(self._owed, self._clock))
        self._forget()
        self._keeper.close()


def _opened(clock: Callable[[], float], path: Path) -> LedgerFile:
    """The ledger in a file, without the sums of days long past."""
    file = LedgerFile(path)
    try:
        file.tidy(clock())
    except sqlite3.Error as error:
        if is_damage(error):
            return file.replaced()
        file.close()
        raise
    return file
