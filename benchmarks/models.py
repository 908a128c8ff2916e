"""The embedded model on this machine, for the benchmarks that need a real one."""

from __future__ import annotations

from pathlib import Path

from farm_notebook import loop
from farm_notebook.config import EMBEDDED_MODEL, load_config
from farm_notebook.weights.catalog import lookup
from farm_notebook.weights.fetch import fetch, local_path

__all__ = ["EMBEDDED", "embedded_file"]

EMBEDDED = EMBEDDED_MODEL


def embedded_file() -> Path:
    """The embedded model's file, fetched first where it is missing."""
    model, config = lookup(EMBEDDED.partition(":")[2]), load_config()

    async def bring() -> None:
        async for _ in fetch(model, config):
            pass

    loop.run_blocking(bring())
    return local_path(model, config)
