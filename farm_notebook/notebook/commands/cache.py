"""``%farm cache``: what is kept of answers, forgetting it, and whether any are kept from now on."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from farm_notebook.notebook.line import LineParser
from farm_notebook.notebook.session import Session
from farm_notebook.notebook.tables import Table

if TYPE_CHECKING:
    from farm_notebook.config import CacheConfig
    from farm_notebook.stores import StoreStats

__all__ = ["add_arguments", "run"]

ACTIONS = ("stats", "clear", "on", "off")


def add_arguments(parser: LineParser) -> None:
    parser.add_word("action", ACTIONS, help="what is kept; forget it; keep answers, or not, in this session")


def run(session: Session, arguments: argparse.Namespace) -> Table[StoreStats] | None:
    """Show the figures of the store, empty it, or switch it on or off for this session."""
    farm = session.farm
    match arguments.action:
        case "stats":
            return _table(farm.cache_stats(), farm.config.cache)
        case "clear":
            count = farm.cache_clear()
            print(f"{count:,} answer{'s' * (count != 1)} forgotten.")
        case action:
            farm.reload(cache={"enabled": action == "on"})
            print(f"Answers are {'kept, and given again' if action == 'on' else 'neither kept nor given'}.")
    return None


def _table(found: StoreStats, settings: CacheConfig) -> Table[StoreStats]:
    from farm_notebook.reports.tables import duration

    rows = (*found.facts(), ("kept for", duration(settings.ttl_s)))
    return Table(("cache", "on" if settings.enabled else "off"), rows, (found,))
