"""A model's place on the shelf: what is in it now, and what is being done to it."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

from farm_notebook.lifecycle.job import Job
from farm_notebook.lifecycle.states import StateMachine
from farm_notebook.lifecycle.version import Version
from farm_notebook.types import LoadOptions, ModelStatus

__all__ = ["Slot"]

K = TypeVar("K")
T = TypeVar("T")


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
        self.job: Job[None] | None = None  # the load under way
        self.options = LoadOptions()

    @property
    def held(self) -> Version[T] | None:
        """What takes memory."""
        return self.version or self.aside

    def status(self, *, is_pinned: bool, is_watched: bool) -> ModelStatus:
        """What can be told of it."""
        held = self.held
        status = ModelStatus(
            self.machine.ref,
            self.machine.state,
            is_pinned=is_pinned,
            is_watched=is_watched,
            detail=self.machine.detail,
        )
        if held is None:
            return status
        return ModelStatus(
            self.machine.ref,
            self.machine.state,
            held.facts.generation,
            held.facts.size_bytes,
            held.facts.devices if self.version else ("cpu",),
            held.users,
            held.leases,
            held.idle_s,
            is_pinned,
            is_watched,
            self.machine.detail,
        )
