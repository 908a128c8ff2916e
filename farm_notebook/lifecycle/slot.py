"""The places on a shelf: what is in each now, and what is being done to it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Generic, TypeVar

from farm_notebook.lifecycle.job import Job
from farm_notebook.lifecycle.loader import Loader
from farm_notebook.lifecycle.states import Journal, StateMachine
from farm_notebook.lifecycle.version import Version
from farm_notebook.types import LoadOptions, ModelStatus

__all__ = ["Slot", "Slots"]

K = TypeVar("K")
T = TypeVar("T")

HOST = ("cpu",)


class Slot(Generic[K, T]):
    """One model, in memory or not.

    Args:
        key: Which one.
        machine: Its state.
    """

    def __init__(self, key: K, machine: StateMachine) -> None:
        self.key = key
        self.machine = machine
        self.lock = asyncio.Lock()  # whoever loads, replaces or gives up what is in it has this
        self.version: Version[T] | None = None  # who answers now
        self.aside: Version[T] | None = None  # set aside in host memory
        self.generations: list[Version[T]] = []  # all that are in memory, oldest first
        self.job: Job[None] | None = None  # the last load, until whoever waited for it has begun on the model
        self.options = LoadOptions()  # of what is in it
        self.is_restarting = False  # its process died, and may die again at once

    @property
    def loading(self) -> Job[None] | None:
        """The load under way."""
        return self.job if self.job is not None and not self.job.task.done() else None

    @property
    def is_idle(self) -> bool:
        """Whether nobody has anything of what is in it, waits for it or does anything to it."""
        held = self.held
        return held is not None and held.is_idle and self.job is None and not self.lock.locked()

    @property
    def held(self) -> Version[T] | None:
        """What takes memory, and is not on its way out."""
        return self.version or self.aside

    @property
    def old(self) -> list[Version[T]]:
        """Those in memory that do not answer any more, but for one that somebody is giving up or moving."""
        spared = {id(self.held)} | {id(newest) for newest in self.generations[-1:] if self.lock.locked()}
        return [version for version in self.generations if id(version) not in spared]

    @property
    def status(self) -> ModelStatus:
        """What can be told of it; of one on its way out too. Whether it is pinned or watched, others know."""
        shown = self.held or next(reversed(self.generations), None)
        facts = shown.facts if shown is not None else None
        return ModelStatus(
            self.machine.ref,
            self.machine.state,
            generation=facts.generation if facts else None,
            size_bytes=facts.size_bytes if facts else None,
            devices=() if facts is None else HOST if shown is self.aside else facts.devices,
            users=shown.users if shown else 0,
            leases=shown.leases if shown else 0,
            idle_s=shown.idle_s if shown else None,
            detail=self.machine.detail,
        )


class Slots(Generic[K, T]):
    """One for each model that was ever asked for.

    Args:
        loader: Knows the models.
        journal: Where their lives are told.
    """

    def __init__(self, loader: Loader[K, T], journal: Journal) -> None:
        self._loader = loader
        self._journal = journal
        self._slots: dict[K, Slot[K, T]] = {}

    def __iter__(self) -> Iterator[Slot[K, T]]:
        return iter(tuple(self._slots.values()))

    def at(self, key: K) -> Slot[K, T]:
        """The one of a model."""
        if key not in self._slots:
            self._slots[key] = Slot(key, StateMachine(self._loader.ref(key), self._journal))
        return self._slots[key]

    def base(self, slot: Slot[K, T]) -> Slot[K, T] | None:
        """The one of what a model stands on."""
        base = self._loader.base(slot.key)
        return None if base is None else self.at(base)

    def dependents(self, slot: Slot[K, T]) -> list[Slot[K, T]]:
        """Those of what stands on a model if it is in memory, or will when it is."""
        return [each for each in self if self.base(each) is slot]
