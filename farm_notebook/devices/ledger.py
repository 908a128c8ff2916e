"""What loads that are under way have still to take of each device's memory.

While a model is loaded, the driver counts only what has arrived. Whoever asks meanwhile what is free must
leave the rest alone. All loads of this process share one ledger, ``ledger``.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from farm_notebook.devices.placement import Placement

__all__ = ["Booking", "Ledger", "Reservation", "ledger"]


class Ledger:
    """Reservations by device. Any thread may call it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._open: list[Reservation] = []

    def reserve(self, device_id: str, size_bytes: int) -> Reservation:
        """Set memory aside for a load that begins; a context manager that gives it back.

        Args:
            device_id: As in ``DeviceStats``.
            size_bytes: What the load will take, at least 0.

        Raises:
            ValueError: A negative size.
        """
        if size_bytes < 0:
            raise ValueError(f"{size_bytes} bytes cannot be reserved on {device_id!r}: give 0 or more.")
        reservation = Reservation(self, device_id, size_bytes)
        with self._lock:
            self._open.append(reservation)
        return reservation

    def book(self, choose: Callable[[Callable[[str], int]], Placement]) -> Booking:
        """Choose devices and reserve on them, with no other load's reservation in between.

        Args:
            choose: Given ``reserved``, tells where to put the model, as ``place`` does; may raise. It reads
                the devices itself: of what was read before, some may have been reported as placed since.
        """
        with self._lock:
            placement = choose(self.reserved)
            return Booking(placement, tuple(self.reserve(*share) for share in placement.shares))

    def reserved(self, device_id: str) -> int:
        """The bytes that loads on a device have yet to take."""
        with self._lock:
            return sum(each.outstanding_bytes for each in self._open if each.device_id == device_id)

    def _close(self, reservation: Reservation) -> None:
        with self._lock:
            self._open = [each for each in self._open if each is not reservation]

    def _begin_anew(self) -> None:
        """In a forked child: its parent's loads are not its own, and the lock may be held by nobody here."""
        self._lock, self._open = threading.RLock(), []


class Reservation:
    """Memory set aside on one device until the block ends or ``release`` is called."""

    def __init__(self, ledger: Ledger, device_id: str, size_bytes: int) -> None:
        self.device_id = device_id
        self.size_bytes = size_bytes
        self._ledger = ledger
        self._placed_bytes = 0

    @property
    def outstanding_bytes(self) -> int:
        """What the load has yet to take."""
        return max(0, self.size_bytes - self._placed_bytes)

    def placed(self, size_bytes: int) -> None:
        """Say how much of it the driver counts by now.

        Args:
            size_bytes: All since the load began. It never shrinks; more than was reserved does no harm.
        """
        with self._ledger._lock:
            self._placed_bytes = max(self._placed_bytes, size_bytes)

    def release(self) -> None:
        """The load has ended, well or not. Calling it again does nothing."""
        self._ledger._close(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class Booking:
    """One load's reservations, of one device or several; a context manager that releases them."""

    def __init__(self, placement: Placement, reservations: tuple[Reservation, ...]) -> None:
        self.placement = placement
        self.reservations = reservations

    def placed(self, size_bytes: int) -> None:
        """Say how much of the whole has arrived; the devices are filled one after the other."""
        for reservation in self.reservations:
            reservation.placed(min(size_bytes, reservation.size_bytes))
            size_bytes = max(0, size_bytes - reservation.size_bytes)

    def release(self) -> None:
        """The load has ended, well or not."""
        for reservation in self.reservations:
            reservation.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


ledger = Ledger()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=ledger._begin_anew)
