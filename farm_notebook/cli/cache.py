"""``farm cache``: what is kept of answers, and forgetting it."""

from __future__ import annotations

import dataclasses

from farm_notebook.cli.terminal import emit, emit_json
from farm_notebook.farm import Farm
from farm_notebook.reports.tables import duration

__all__ = ["clear", "stats"]


def stats(*, as_json: bool) -> None:
    """Write to stdout what is kept.

    Args:
        as_json: One JSON object of plain figures, rather than lines to read.

    Raises:
        OSError: The file cannot be read.
    """
    farm = Farm()
    found, settings = farm.cache_stats(), farm.config.cache
    if as_json:
        emit_json({"enabled": settings.enabled, **dataclasses.asdict(found)})
        return
    for name, value in (
        *found.facts(),
        ("kept for", duration(settings.ttl_s)),
        *([] if settings.enabled else [("switched off", "by the setting cache.enabled")]),
    ):
        emit(f"{name:<14}{value}", end="\n")


def clear() -> None:
    """Forget every answer, and say how many there were.

    Raises:
        OSError: The file cannot be written.
    """
    count = Farm().cache_clear()
    emit(f"{count:,} answer{'s' * (count != 1)} forgotten", end="\n")
