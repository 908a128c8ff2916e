"""A model on the shelf: its weights, what answers with them, and which files they are from."""

from __future__ import annotations

from dataclasses import dataclass

from farm_notebook.providers.huggingface.engine import Engine
from farm_notebook.providers.huggingface.loaded import LoadedModel
from farm_notebook.providers.huggingface.parking import Parked

__all__ = ["Resident"]


@dataclass(eq=False, slots=True)
class Resident:
    """One generation of a model in memory.

    Args:
        loaded: Its weights.
        engine: Answers with them; ``None`` for a model that only embeds.
        fingerprint: Of the files as they were when it was loaded.
        is_sharing: Most of its weights are another model's too.
        digest: Of the same, once it was asked for.
        parked: Its weights in host memory, while they are nowhere else.
    """

    loaded: LoadedModel
    engine: Engine | None
    fingerprint: str | None
    is_sharing: bool = False
    digest: str | None = None
    parked: Parked | None = None
