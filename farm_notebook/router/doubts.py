"""What makes a name doubtful that may yet be a model's: nobody lists it, or another name is near."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

from farm_notebook.config import AUTO, FarmConfig
from farm_notebook.errors import FarmError
from farm_notebook.providers import similar_provider
from farm_notebook.router.hints import alias_hint, provider_hint
from farm_notebook.router.names import is_known, look_up
from farm_notebook.router.picking import ASK_S
from farm_notebook.types import ModelInfo, ModelRef

__all__ = ["doubt"]


async def doubt(
    name: str,
    config: FarmConfig,
    list_models: Callable[[], Awaitable[list[ModelInfo]]],
    *,
    deadline_s: float = ASK_S,
) -> str:
    """Why a request with a name may fail, in a line; empty where nothing speaks against it.

    A provider may have models that it does not list, and where none can be asked nobody knows.

    Args:
        name: As a user writes it.
        config: The settings.
        list_models: Asks all providers for their models.
        deadline_s: How long to wait for them.

    Raises:
        FarmError: The name leads nowhere in any case.
    """
    name = name.strip()
    ref, is_explicit = look_up(name, config).ref, is_known(name, config)
    if name in config.aliases or ref.model == AUTO or _is_file(ref.model):
        return ""
    meant = "" if is_explicit else _meant(name, config)
    infos = await _listed(ref, list_models, deadline_s)
    if any(info.ref.model == ref.model for info in infos):
        return ""
    if infos:
        who = "No provider lists" if ref.provider == AUTO else f"{ref.provider} does not list"
        told = f"{who} {ref.model!r} now, so that a request with it may fail."
    else:
        told = f"{name!r} is taken for a model of the default provider." if meant else ""
    return " ".join(words for words in (told, meant) if words)


async def _listed(
    ref: ModelRef, list_models: Callable[[], Awaitable[list[ModelInfo]]], deadline_s: float
) -> list[ModelInfo]:
    """The models of whoever is meant; none where they cannot be told."""
    try:
        async with asyncio.timeout(deadline_s):
            infos = await list_models()
    except (TimeoutError, FarmError):
        return []
    return [info for info in infos if ref.provider in (AUTO, info.ref.provider)]


def _is_file(model: str) -> bool:
    return os.path.isfile(os.path.expanduser(model))


def _meant(name: str, config: FarmConfig) -> str:
    if hint := alias_hint(name, config) or provider_hint(name, config):
        return hint
    close = similar_provider(name, config)
    return f"Did you mean {close!r}?" if close else ""
