"""``farm health``: whether each provider can answer, asked all at once."""

from __future__ import annotations

import dataclasses

from rich.table import Table
from rich.text import Text

from farm_notebook.cli.terminal import console, emit_json
from farm_notebook.farm import Farm
from farm_notebook.types import ProviderStatus

__all__ = ["report"]


def report(*, as_json: bool, refresh: bool) -> bool:
    """Write the state of every provider to stdout.

    Args:
        as_json: A JSON array of all that is known of each, rather than a table.
        refresh: Ask anew, whatever was found a moment ago.

    Returns:
        Whether any of them can answer.
    """
    found = Farm().health(refresh=refresh)
    if as_json:
        emit_json([dataclasses.asdict(status) for status in found])
    else:
        _show(found)
    return any(status.healthy for status in found)


def _show(found: list[ProviderStatus]) -> None:
    out = console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("provider", "state", "detail", "fix"):
        table.add_column(column, no_wrap=column in ("provider", "state"))
    for status in found:
        state = Text("well", "green") if status.healthy else Text("not well", "bold red")
        table.add_row(status.name, state, _line(status.detail), _line(status.fix or ""))
    if not out.is_terminal:
        out.width = 1000  # a reader that is no terminal has none; a terminal's lines are folded
    out.print(table, soft_wrap=False)


def _line(text: str) -> str:
    """What a server may have said: one line, and nothing that steers a terminal."""
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in " ".join(text.split())
    )
