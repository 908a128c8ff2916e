"""The devices that models run on: their memory and load, what is reserved of them, and where a model is put.

    from farm_notebook.devices import device_stats, ledger, place

    with ledger.book(lambda reserved: place(size_bytes, device_stats(), reserved=reserved)) as booking:
        load(booking.placement, report=booking.placed)

Nothing here knows of providers or models but their sizes.
"""

from __future__ import annotations

from farm_notebook.devices.ledger import Booking, Ledger, Reservation, ledger
from farm_notebook.devices.placement import SPARE_BYTES, Placement, place
from farm_notebook.devices.reading import Reader, device_problems, device_stats
from farm_notebook.devices.sampler import Sample, Sampler

__all__ = [
    "SPARE_BYTES",
    "Booking",
    "Ledger",
    "Placement",
    "Reader",
    "Reservation",
    "Sample",
    "Sampler",
    "device_problems",
    "device_stats",
    "ledger",
    "place",
]
