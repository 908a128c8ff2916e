"""Models and their providers: their names, and what is said of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = [
    "Capability",
    "LoadOptions",
    "ModelEvent",
    "ModelInfo",
    "ModelRef",
    "ModelState",
    "ModelStatus",
    "ProviderStatus",
]

Capability = Literal["chat", "completion", "embedding", "tools", "vision", "reasoning"]
ModelState = Literal[
    "absent",  # not in memory
    "loading",
    "ready",
    "reloading",  # its files are read anew; who asks meanwhile is answered, or waits where both do not fit
    "draining",  # it goes once the answers under way have ended
    "aside",  # in host memory, from where it comes back without a load
    "unloading",
    "failed",  # the last load of it failed, or its process died
]


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model's full name, ``provider:model``, e.g. ``llamacpp:smollm2:135m``."""

    provider: str
    model: str

    def __str__(self) -> str:
        return f"{self.provider}:{self.model}"


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a provider says of one of its models; ``None`` where it does not say.

    ``available`` models answer without a fetch, ``loaded`` ones at once; ``location`` is the file or folder
    of a model that is on this machine.
    """

    ref: ModelRef
    size_bytes: int | None = None
    context_tokens: int | None = None
    digest: str | None = None
    license: str | None = None
    available: bool = False
    loaded: bool = False
    location: str | None = None
    description: str = ""
    capabilities: frozenset[Capability] | None = None


@dataclass(frozen=True, slots=True)
class ProviderStatus:
    """Whether a provider can answer now, in words a user can act on."""

    name: str
    healthy: bool
    detail: str
    fix: str | None = None


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How one model is to be loaded, where that differs from the settings; ``None`` is as they say.

    Args:
        device: ``cpu``, ``cuda:1``, ``auto``.
        dtype: As torch names it, e.g. ``bfloat16``.
    """

    device: str | None = None
    dtype: str | None = None


@dataclass(frozen=True, slots=True)
class ModelEvent:
    """One step in the life of a model.

    Args:
        ref: The model.
        state: It is in from now on.
        before: The state it was in; the same where something happened in it, such as a failed reload.
        at: Seconds since the epoch.
        generation: Of the weights that answer now; it grows with every load in this process.
        detail: Why, in a line; empty where the state says it all.
    """

    ref: ModelRef
    state: ModelState
    before: ModelState
    at: float
    generation: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A model that is in memory, or was to be; ``None`` where nobody can tell.

    Args:
        ref: The model.
        state: What it is doing.
        generation: Of its weights; it grows with every load in this process.
        size_bytes: Of its weights in memory.
        devices: Where they lie, e.g. ``cuda:0``; ``cpu`` is host memory.
        users: Answers under way.
        leases: Blocks ``with farm.models.lease(...)`` that have it.
        idle_s: Seconds since the last of them ended; ``None`` while there is one.
        is_pinned: It is never evicted for another.
        is_watched: It is loaded anew when its files change.
        base: What it stands on, as an adapter does; ``None`` where it stands alone.
        detail: Of a failure, why.
    """

    ref: ModelRef
    state: ModelState
    generation: int | None = None
    size_bytes: int | None = None
    devices: tuple[str, ...] = ()
    users: int = 0
    leases: int = 0
    idle_s: float | None = None
    is_pinned: bool = False
    is_watched: bool = False
    base: ModelRef | None = None
    detail: str = ""
