"""``farm gpu``: the devices that models run on, and who uses their memory."""

from __future__ import annotations

import dataclasses

from rich.table import Table

from farm_notebook.cli.terminal import console, emit_json, note
from farm_notebook.devices.reading import device_problems, device_stats_with_load
from farm_notebook.devices.words import COLUMNS, device_row

__all__ = ["show"]

_RIGHT = ("ours", "others", "free", "load", "temperature", "power")


def show(*, as_json: bool) -> None:
    """Write every device to stdout, and what is wrong with a driver to stderr.

    Args:
        as_json: A JSON array of all that is known of each, rather than a table.
    """
    found = device_stats_with_load()
    if as_json:
        emit_json([dataclasses.asdict(each) for each in found])
    else:
        out = console()
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in COLUMNS:
            table.add_column(column, justify="right" if column in _RIGHT else "left")
        for each in found:
            table.add_row(*device_row(each))
        if not out.is_terminal:
            out.width = 1000  # a reader that is no terminal has none; a terminal's lines are folded
        out.print(table, soft_wrap=False)
    for problem in device_problems():
        note(problem)
