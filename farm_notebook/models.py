"""Models by hand, of the default farm: ``farm.models.load(...)``, ``farm.models.lease(...)``.

The same calls stand on ``Farm.models``, and on ``AsyncFarm.models`` for coroutines. Nobody needs them to ask
a question, which loads what it needs.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from farm_notebook.farm import default_farm
from farm_notebook.farm.freeing import FreeReport
from farm_notebook.types import ModelEvent, ModelRef, ModelStatus

__all__ = [
    "events",
    "free",
    "held",
    "lease",
    "load",
    "loaded",
    "reload",
    "swap",
    "unload",
    "unload_all",
    "unwatch",
    "watch",
    "watched",
]


def load(
    model: str | None = None,
    *,
    device: str | None = None,
    dtype: str | None = None,
    pin: bool | None = None,
) -> None:
    """Fetch a model if need be and bring it into memory; ``Farm.models.load`` tells how far it is.

    Args:
        model: As in a request; ``None`` is the default one.
        device: Where to: ``cpu``, ``cuda:1``, ``auto``; ``None`` is as before, or as the settings say.
        dtype: In which number format, as torch names it.
        pin: Whether it is never to be given up for another; ``None`` leaves that as it is.

    Raises:
        OutOfMemoryError: It does not fit; says what could be unloaded.
    """
    for _ in default_farm().models.load(model, device=device, dtype=dtype, pin=pin):
        pass


def reload(model: str | None = None, *, drain_s: float | None = None) -> None:
    """Have a model answer from its files as they are now; where they do not work, the old one goes on.

    Args:
        model: Which one.
        drain_s: How long answers of the old one may take to end; 0 ends them.

    Raises:
        LoadError: The files are not whole, or do not work.
    """
    for _ in default_farm().models.reload(model, drain_s=drain_s):
        pass


def swap(leaving: str, coming: str) -> None:
    """Have one model take the place of another, in the memory that one of them needs."""
    for _ in default_farm().models.swap(leaving, coming):
        pass


def unload(model: str | None = None, *, interrupt: bool = False) -> bool:
    """Give a model's memory back; whether it was loaded.

    Args:
        model: Which one.
        interrupt: End the answers under way, rather than wait for them.
    """
    return default_farm().models.unload(model, interrupt=interrupt)


def unload_all(*, interrupt: bool = False) -> tuple[ModelRef, ...]:
    """Give the memory of every model back; which they were."""
    return default_farm().models.unload_all(interrupt=interrupt)


def free() -> FreeReport:
    """Unload all idle models, give back what nobody uses, and tell what still holds memory.

    Pinned models stay, as do those that answer or are leased. ``print`` tells what came of it in lines.
    """
    return default_farm().models.free()


def loaded() -> list[ModelStatus]:
    """The models that are in memory, on their way there, or failed to get there."""
    return default_farm().models.loaded()


def watch(model: str | None = None) -> bool:
    """Load a model anew whenever its files change, or its version on a server; whether that is new."""
    return default_farm().models.watch(model)


def unwatch(model: str | None = None) -> bool:
    """Leave a model as it is loaded; whether it was watched."""
    return default_farm().models.unwatch(model)


def watched() -> tuple[ModelRef, ...]:
    """The models that are watched, also those that are not in memory."""
    return default_farm().models.watched()


def held() -> dict[str, int]:
    """Models that were given up and that something still holds, with how many bytes; ``free`` tells who."""
    return default_farm().models.held()


def events() -> tuple[ModelEvent, ...]:
    """What happened to the models of this process: the last 500 steps, oldest first."""
    return default_farm().models.events()


def lease(model: str | None = None) -> AbstractContextManager[Any]:
    """A model in this process for as long as the block lasts: ``with farm.models.lease(ref) as model``.

    Yields:
        For ``huggingface``: the model's ``module`` and ``tokenizer``, and where it came from.

    Raises:
        InvalidRequestError: The provider's models run in another process.
    """
    return default_farm().models.lease(model)
