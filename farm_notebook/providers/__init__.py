"""The table of providers: a name, and where its class is. A class is imported when it is first asked for.

Three things fill it: the classes built in here, those that installed packages name in the entry point group
``farm_notebook.providers``, and ``register_provider``. The configuration adds a name for each of its
OpenAI-compatible endpoints. A name that is taken is not taken away by a package.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from farm_notebook.config import FarmConfig
from farm_notebook.errors import ConfigError, UnknownProviderError
from farm_notebook.providers.base import AIProvider

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["is_provider", "make_provider", "provider_names", "register_provider"]

ENTRY_POINTS = "farm_notebook.providers"
_BUILT_IN = {
    "llamacpp": "farm_notebook.providers.llamacpp.provider:LlamaCppProvider",
    "scripted": "farm_notebook.providers.scripted:ScriptedProvider",
}
_ENDPOINT = "farm_notebook.providers.openai.provider:OpenAIProvider"
_registered: dict[str, type[AIProvider]] = {}


def provider_names(config: FarmConfig) -> tuple[str, ...]:
    """Every name that can stand before the ``:`` of a model ref."""
    return tuple(dict.fromkeys((*_BUILT_IN, *_registered, *_installed(), *config.endpoints)))


def is_provider(name: str, config: FarmConfig) -> bool:
    """Whether ``name`` is one of ``provider_names``; those that need no look at installed packages first."""
    return any(name in names for names in (_BUILT_IN, _registered, config.endpoints)) or name in _installed()


def register_provider(provider: type[AIProvider]) -> type[AIProvider]:
    """Make a provider available under its ``name``; usable as a class decorator.

    A class of a name that is already there takes its place, in farms that have not used the old one yet.
    """
    _registered[provider.name] = provider
    return provider


def make_provider(name: str, config: FarmConfig) -> AIProvider:
    """The provider of a name, for a configuration.

    Raises:
        UnknownProviderError: Quoting the name, listing the valid ones.
        ConfigError: An installed package's provider does not import.
    """
    if name in _registered:
        return _registered[name](config)
    if name in _BUILT_IN:
        return _load(_BUILT_IN[name])(config)
    if name in _installed():
        return _load_installed(_installed()[name])(config)
    if name in config.endpoints:
        return _load(_ENDPOINT)(config, name)
    names = provider_names(config)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise UnknownProviderError(f"No provider is called {name!r}. Valid: {', '.join(sorted(names))}.{hint}")


@cache
def _installed() -> dict[str, EntryPoint]:
    """The providers of installed packages; read once, since that reads the metadata of every package."""
    from importlib.metadata import entry_points

    return {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}


@cache
def _load(place: str) -> Callable[..., AIProvider]:
    module, _, attribute = place.partition(":")
    provider: Callable[..., AIProvider] = getattr(import_module(module), attribute)
    return provider


def _load_installed(entry: EntryPoint) -> type[AIProvider]:
    package = entry.dist.name if entry.dist else entry.value
    try:
        provider = entry.load()
    except Exception as error:
        raise ConfigError(
            f"The provider {entry.name!r} of the package {package!r} does not import: "
            f"{type(error).__name__}: {error}. Update or uninstall that package."
        ) from error
    if not (isinstance(provider, type) and issubclass(provider, AIProvider)):
        raise ConfigError(
            f"The provider {entry.name!r} of the package {package!r} is {provider!r}, "
            "which is no subclass of farm_notebook's AIProvider. Update or uninstall that package."
        )
    return provider
