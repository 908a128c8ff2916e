"""What the models of all providers share: the record of their lives, and the memory they live in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from farm_notebook.config import ModelsConfig
from farm_notebook.holders.ghosts import Ghosts
from farm_notebook.lifecycle.room import Idle, Room
from farm_notebook.lifecycle.states import Journal
from farm_notebook.types import ModelRef, ModelShare, ModelStatus

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
        self._shelves: list[Callable[[], list[ModelStatus]]] = []

    def add_shelf(self, statuses: Callable[[], list[ModelStatus]]) -> Callable[[], None]:
        """Count with the models of one more shelf; what is returned ends that."""
        self._shelves.append(statuses)
        return lambda: self._shelves.remove(statuses) if statuses in self._shelves else None

    def shares(self) -> dict[str, list[ModelShare]]:
        """What the models in memory take of each device; of several devices each is taken to have as much."""
        shares = defaultdict[str, list[ModelShare]](list)
        for status in (status for shelf in tuple(self._shelves) for status in shelf()):
            for device in status.devices:
                part = (status.size_bytes or 0) // len(status.devices)
                shares[device].append(ModelShare(status.ref, part))
        return dict(shares)

    def is_pinned(self, ref: ModelRef) -> bool:
        """Whether a model is never given up for another."""
        return ref in self.pinned or str(ref) in self.settings.pinned

    def is_watched(self, ref: ModelRef) -> bool:
        """Whether a model is loaded anew when its files change."""
        return ref in self.watched
