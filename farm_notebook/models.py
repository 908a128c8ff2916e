"""Models by hand, of the default farm: ``farm.models.load(...)``, ``farm.models.lease(...)``.

The same calls stand on ``Farm`` and ``AsyncFarm``. Nobody needs them to ask a question, which loads what it
needs.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from farm_notebook.farm import default_farm
from farm_notebook.types import ModelInfo

__all__ = ["lease", "load", "loaded", "unload"]


def load(model: str | None = None) -> None:
    """Fetch a model if need be and bring it into memory; ``Farm.load`` tells how far it is."""
    for _ in default_farm().load(model):
        pass


def unload(model: str | None = None) -> bool:
    """Give a model's memory back; whether it was loaded."""
    return default_farm().unload(model)


def loaded() -> list[ModelInfo]:
    """The models that are in memory now, of every provider that can be reached."""
    return [info for info in default_farm().list_models() if info.loaded]


def lease(model: str | None = None) -> AbstractContextManager[Any]:
    """A model in this process for as long as the block lasts: ``with farm.models.lease(ref) as model``.

    Yields:
        For ``huggingface``: the model's ``module`` and ``tokenizer``, and where it came from.

    Raises:
        InvalidRequestError: The provider's models run in another process.
    """
    return default_farm().lease(model)
