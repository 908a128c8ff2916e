"""Models and their providers: their names, and what is said of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Capability", "ModelInfo", "ModelRef", "ProviderStatus"]

Capability = Literal["chat", "completion", "embedding", "tools", "vision", "reasoning"]


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
