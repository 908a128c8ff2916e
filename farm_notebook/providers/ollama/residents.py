"""The models in the server's memory, in the words of the farm, and what this process saw happen to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from farm_notebook.lifecycle.states import Journal
from farm_notebook.providers.ollama.client import PROVIDER
from farm_notebook.providers.ollama.names import short_name
from farm_notebook.types import ModelRef, ModelState, ModelStatus

__all__ = ["Residents"]

DEVICES = {True: ("gpu",), False: ("cpu",)}  # which GPU, the server does not say


class Residents:
    """Tells of models that come and go. The server unloads them too, of which nobody hears until he asks.

    Args:
        journal: Where it is told.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._states: dict[str, ModelState] = {}

    def tell(self, model: str, state: ModelState, detail: str = "") -> None:
        """A model is in a state from now on; that it is in it already is no news."""
        name = short_name(model)
        before = self._states.get(name, "absent")
        if state != before:
            self._states[name] = state
            self._journal.add(ModelRef(PROVIDER, name), state, before, detail=detail)

    def statuses(self, running: list[Mapping[str, Any]]) -> list[ModelStatus]:
        """What the server has in memory, after its ``/api/ps``.

        Source: https://github.com/ollama/ollama/blob/main/docs/api.md, "List Running Models"
        """
        return [
            ModelStatus(
                ModelRef(PROVIDER, short_name(str(entry.get("model") or entry.get("name")))),
                "ready",
                size_bytes=entry.get("size"),
                devices=DEVICES[bool(entry.get("size_vram"))],
            )
            for entry in running
        ]
