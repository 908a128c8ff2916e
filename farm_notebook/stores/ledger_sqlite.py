"""A ledger in a SQLite file, for the processes of one user on this machine.

Granting and settling take some 0.1 ms on the event loop's own thread: handing them to another one would take
as long. While another process writes to the file it is tried again a moment later, and others on the loop get
their turn. What may take longer, opening and replacing it, is done in threads.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from farm_notebook.stores.file import is_busy, is_damage
from farm_notebook.stores.ledger import Refusal, Reservation
from farm_notebook.stores.ledger_file import LedgerFile
from farm_notebook.stores.ledger_shared import SharedLedger

__all__ = ["SQLiteLedger"]

BUSY_S = 2.0  # how long another process may write to the file; no healthy one takes a hundredth of that
PAUSES_S = (0.0005, 0.005)  # between two tries meanwhile; at random, so that two do not keep step
RETRY_S = 60.0  # how long a file that cannot be used is left alone

T = TypeVar("T")


class SQLiteLedger(SharedLedger):
    """A ledger in one file; see ``Ledger``. Nothing is opened until it is first used.

    Args:
        path: The file; its folder is made if need be.
        clock: Seconds since 1970.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        super().__init__(str(path), clock=clock)

    def _begin(self) -> None:
        super()._begin()
        self._file: LedgerFile | None = None
        self._opening = threading.Lock()
        self._unusable_until = 0.0
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
        while time.monotonic() >= self._unusable_until:
            if (file := self._file or await asyncio.to_thread(self._open)) is None:
                break
            try:
                done = work(file)
            except sqlite3.Error as error:
                if not is_busy(error):
                    await asyncio.to_thread(self._note_failure, error, file)
                    continue
                give_up_at = give_up_at or time.monotonic() + BUSY_S
                if time.monotonic() > give_up_at:
                    self._leave_alone(error)
                    break
                await asyncio.sleep(random.uniform(*PAUSES_S))
            else:
                self._owed.clear()
                return done
        return None

    def _pay_soon(self) -> None:
        if self._payment is None:
            self._payment = asyncio.get_running_loop().call_soon(self._pay)

    def _pay(self) -> None:
        """Settle what is owed. What cannot be is settled later, at the latest with the next claims."""
        self._payment = None
        if not self._owed or self._file is None:
            return
        try:
            self._file.settle(self._owed, self._clock)
        except sqlite3.Error as error:
            pause_s = random.uniform(*PAUSES_S) if is_busy(error) else RETRY_S
            self._payment = asyncio.get_running_loop().call_later(pause_s, self._pay)
        else:
            self._owed.clear()

    async def _close(self) -> None:
        if self._payment is not None:
            self._payment.cancel()
            self._payment = None
        self._unusable_until = 0.0  # it is worth a last try
        if self._file is not None and self._owed:
            await self._asked(lambda file: file.settle(self._owed, self._clock))
        file, self._file = self._file, None
        self._forget()
        self._unusable_until = 0.0
        if file is not None:
            file.close()

    def _open(self) -> LedgerFile | None:
        with self._opening:
            if self._file is None and time.monotonic() >= self._unusable_until:
                try:
                    self._file = LedgerFile(self.path)
                    self._file.tidy(self._clock())
                except (sqlite3.Error, OSError) as error:
                    self._leave_alone(error)
                else:
                    self._tell_of_damage(self._file.set_aside)
            return self._file

    def _note_failure(self, error: sqlite3.Error, file: LedgerFile) -> None:
        """Replace a damaged file; with any other failure leave it alone for a while."""
        with self._opening:
            if self._file is not file:
                return  # it was replaced while it was used
            if not is_damage(error):
                self._leave_alone(error)
                return
            self._file = None
            self._forget()
            try:
                self._file = file.replaced()
            except (sqlite3.Error, OSError) as problem:
                self._leave_alone(problem)
            else:
                self._tell_of_damage(self._file.set_aside)

    def _leave_alone(self, error: Exception) -> None:
        self._unusable_until = time.monotonic() + RETRY_S
        self._tell(f"cannot be used ({error})")

    def _tell_of_damage(self, set_aside: Path | None) -> None:
        if set_aside is not None:
            what = f"was no ledger, or a damaged one; it was renamed to {set_aside.name!r}"
            self._tell(what, "A new one is used, and counts from 0.")
