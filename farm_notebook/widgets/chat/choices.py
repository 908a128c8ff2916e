"""The models that a conversation may be switched to."""

from __future__ import annotations

from typing import Any

from farm_notebook.farm import AsyncFarm
from farm_notebook.types import ModelInfo

__all__ = ["model_choices"]

MOST = 500


async def model_choices(farm: AsyncFarm) -> list[dict[str, Any]]:
    """Aliases, then what the providers list that can chat; of each provider first what is at hand."""
    aliases = [
        {"name": name, "group": "aliases", "note": alias.model or "", "is_at_hand": True, "sees": False}
        for name, alias in sorted(farm.config.aliases.items())
    ]
    infos = [info for info in await farm.list_models() if _can_chat(info)]
    infos.sort(key=lambda info: (info.ref.provider, not info.loaded, not info.available, info.ref.model))
    return (aliases + [_choice(info) for info in infos])[:MOST]


def _can_chat(info: ModelInfo) -> bool:
    return info.capabilities is None or "chat" in info.capabilities


def _choice(info: ModelInfo) -> dict[str, Any]:
    return {
        "name": str(info.ref),
        "group": info.ref.provider,
        "note": "loaded" if info.loaded else "" if info.available else "to be fetched",
        "is_at_hand": info.available or info.loaded,
        "sees": "vision" in (info.capabilities or ()),
    }
