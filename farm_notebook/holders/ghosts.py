"""Models that were given up and are still in memory, because somebody holds them or a part of them."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from farm_notebook.holders.names import Holder, Namespace, unseen
from farm_notebook.holders.references import bases_of
from farm_notebook.holders.search import holders_of
from farm_notebook.holders.tensors import StorageWatch, storages_of, tensors_on, tensors_with_history

__all__ = ["Ghost", "Ghosts"]


class Ghost:
    """A model that is about to be given up. It is watched from here on, and not kept.

    Args:
        model: A torch module, of which every part is watched, or any other object.
        ref: Of the model.
        generation: Of the model.
        size_bytes: What it takes; found out where it is a torch module.
    """

    def __init__(self, model: object, *, ref: str, generation: int, size_bytes: int | None = None) -> None:
        self.ref = ref
        self.generation = generation
        self._storages: tuple[StorageWatch, ...] = ()
        parts: Iterable[object] = [model]
        if _is_module(model):
            self._storages = storages_of(model)
            parts = _parts(model)
        self._parts = tuple(_references(parts))
        found = sum(storage.size_bytes for storage in self._storages)
        self.size_bytes = found if self._storages or size_bytes is None else size_bytes

    @property
    def is_alive(self) -> bool:
        """Whether anything of it is left."""
        return any(storage.is_alive for storage in self._storages) or any(
            part() is not None for part in self._parts
        )

    def held_bytes(self) -> int:
        """How much of its memory is not given back; of an object of unknown parts all or nothing."""
        if not self._storages:
            return self.size_bytes if self.is_alive else 0
        return sum(storage.size_bytes for storage in self._storages if storage.is_alive)

    def objects(self) -> list[object]:
        """All that is left of it, and all tensors in its memory or with a graph that leads back to it."""
        parts = [part for reference in self._parts if (part := reference()) is not None]
        if any(storage.is_alive for storage in self._storages):
            parts += tensors_on({storage.address for storage in self._storages if storage.is_alive})
            parts += tensors_with_history({id(part) for part in parts})
        return list({id(part): part for part in parts}.values())

    def __repr__(self) -> str:
        return f"Ghost({self.ref!r}, generation={self.generation}, held_bytes={self.held_bytes()})"


class Ghosts:
    """Those that are not gone yet."""

    def __init__(self) -> None:
        self._ghosts: list[Ghost] = []

    def add(self, ghost: Ghost) -> None:
        """Watch one more; those that are gone by now are forgotten."""
        self._ghosts = [*self.alive(), ghost]

    def alive(self) -> tuple[Ghost, ...]:
        """Those of which anything is left; the others are forgotten."""
        self._ghosts = [ghost for ghost in self._ghosts if ghost.is_alive]
        return tuple(self._ghosts)

    def held_bytes(self) -> int:
        """How much memory they still take."""
        return sum(ghost.held_bytes() for ghost in self.alive())

    def objects(self) -> list[object]:
        """All that is left of all of them, see ``Ghost.objects``."""
        return list({id(part): part for ghost in self.alive() for part in ghost.objects()}.values())

    def leftovers(self) -> Callable[[object], bool]:
        """Tells whether an object is one of those that are left, or an array in their memory.

        To be asked at once: what is freed meanwhile may give its id to another.
        """
        ids = {id(part) for part in self.objects()}
        return lambda value: id(value) in ids or any(id(base) in ids for base in bases_of(value))

    def explain(self, namespaces: Sequence[Namespace]) -> tuple[tuple[Ghost, tuple[Holder, ...]], ...]:
        """Who holds them, by ghost. Collects garbage first, which takes a moment in a large kernel."""
        gc.collect()
        return tuple(
            (ghost, holders_of(ghost.objects(), namespaces) or (unseen("memory"),)) for ghost in self.alive()
        )


def _is_module(model: Any) -> bool:
    return all(callable(getattr(model, name, None)) for name in ("modules", "parameters", "buffers"))


def _parts(module: Any) -> list[object]:
    return [*module.modules(), *module.parameters(), *module.buffers()]


def _references(parts: Iterable[object]) -> Iterable[weakref.ref[object]]:
    for part in parts:
        with suppress(TypeError):  # of a class that has no weak references
            yield weakref.ref(part)
