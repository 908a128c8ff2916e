"""What the models of all providers share: the record of their lives, and the memory they live in."""

from __future__ import annotations

from farm_notebook.config import ModelsConfig
from farm_notebook.holders.ghosts import Ghosts
from farm_notebook.lifecycle.room import Idle, Room
from farm_notebook.lifecycle.states import Journal
from farm_notebook.types import ModelRef

__all__ = ["Idle", "Lifecycle"]


class Lifecycle:
    """The one place where models of different providers know of each other. It belongs to the farm's loop.

    Args:
        settings: Of models; they may be changed later.
    """

    def __init__(self, settings: ModelsConfig | None = None) -> None:
        self.settings = settings or ModelsConfig()
        self.journal = Journal()
        self.pinned = set[ModelRef]()  # beside those of the settings
        self.watched = set[ModelRef]()
        self.ghosts = Ghosts()
        self.room = Room(lambda: self.settings, self.is_pinned)

    def is_pinned(self, ref: ModelRef) -> bool:
        """Whether a model is never given up for another."""
        return ref in self.pinned or str(ref) in self.settings.pinned

    def is_watched(self, ref: ModelRef) -> bool:
        """Whether a model is loaded anew when its files change."""
        return ref in self.watched
