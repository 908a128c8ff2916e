"""The table of providers: a name, and where its class is. A class is imported when it is first asked for."""

from __future__ import annotations

import difflib
from importlib import import_module

from farm_notebook.errors import UnknownProviderError
from farm_notebook.providers.base import AIProvider

__all__ = ["provider_class", "provider_names", "register_provider"]

_TABLE: dict[str, str | type[AIProvider]] = {
    "llamacpp": "farm_notebook.providers.llamacpp.provider:LlamaCppProvider",
    "scripted": "farm_notebook.providers.scripted:ScriptedProvider",
}


def provider_names() -> tuple[str, ...]:
    """Every name that can stand before the ``:`` of a model ref."""
    return tuple(_TABLE)


def register_provider(provider: type[AIProvider]) -> type[AIProvider]:
    """Make a provider available under its ``name``; usable as a class decorator."""
    _TABLE[provider.name] = provider
    return provider


def provider_class(name: str) -> type[AIProvider]:
    """The class behind a provider's name.

    Raises:
        UnknownProviderError: Quoting the name, listing the valid ones.
    """
    try:
        entry = _TABLE[name]
    except KeyError:
        close = difflib.get_close_matches(name, _TABLE, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise UnknownProviderError(
            f"No provider is called {name!r}. Valid: {', '.join(sorted(_TABLE))}.{hint}"
        ) from None
    if isinstance(entry, str):
        module, _, attribute = entry.partition(":")
        loaded: type[AIProvider] = getattr(import_module(module), attribute)
        entry = _TABLE[name] = loaded
    return entry
