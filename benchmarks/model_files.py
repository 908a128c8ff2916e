"""Small models on this machine, for the benchmarks that need a real one."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.checkpoints import SMALL
from benchmarks.measure import run_child
from farm_notebook import loop
from farm_notebook.config import EMBEDDED_MODEL, load_config
from farm_notebook.errors import FetchError
from farm_notebook.weights.catalog import lookup
from farm_notebook.weights.fetch import fetch, local_path

__all__ = ["EMBEDDED", "embedded_file", "small_model"]

EMBEDDED = EMBEDDED_MODEL


def embedded_file() -> Path:
    """The embedded model's file, fetched first where it is missing."""
    model, config = lookup(EMBEDDED.partition(":")[2]), load_config()

    async def bring() -> None:
        async for _ in fetch(model, config):
            pass

    loop.run_blocking(bring())
    return local_path(model, config)


def small_model() -> tuple[Path, str]:
    """The embedded model's file, or where it is neither here nor to be had a folder of random weights; and
    what that is, in words.
    """
    try:
        return embedded_file(), "the embedded 135M model"
    except FetchError:
        return Path(_random_folder().name), "a Llama of the embedded 135M model's shape and random weights"


@cache
def _random_folder() -> TemporaryDirectory[str]:
    """It goes with the process."""
    folder = TemporaryDirectory()
    run_child("model_checkpoint", SMALL.name, "cpu", folder.name)
    return folder
