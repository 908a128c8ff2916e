"""``%farm gpu``: the devices, as a table that is a sequence of ``DeviceStats``."""

from __future__ import annotations

import argparse

from farm_notebook.devices.reading import device_problems, device_stats_with_load
from farm_notebook.devices.words import COLUMNS, device_row
from farm_notebook.notebook.line import LineParser
from farm_notebook.notebook.session import Session
from farm_notebook.notebook.tables import Table
from farm_notebook.types import DeviceStats

__all__ = ["add_arguments", "run"]


def add_arguments(parser: LineParser) -> None:
    """It takes none."""


def run(session: Session, arguments: argparse.Namespace) -> Table[DeviceStats]:
    """Read all devices."""
    found = device_stats_with_load(session.farm.models.shares())
    return Table(COLUMNS, tuple(device_row(each) for each in found), found, " ".join(device_problems()))
