"""Providers of installed packages, which name them in the entry point group ``farm_notebook.providers``."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from farm_notebook.errors import ConfigError
from farm_notebook.providers.base import AIProvider

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["checked", "installed", "load_installed", "packages_of"]

ENTRY_POINTS = "farm_notebook.providers"


def installed() -> Mapping[str, tuple[EntryPoint, ...]]:
    """The entry points by their names; more than one of a name is an error when it is asked for.

    To read the metadata of every package takes a while, so it is done again only after a folder of
    ``sys.path`` has changed, as it does by ``%pip install`` in a running kernel.
    """
    return _scanned(tuple((place, _changed_at(place)) for place in sys.path))


def packages_of(name: str) -> list[str]:
    """The packages that bring a provider of this name."""
    return sorted(entry.dist.name if entry.dist else entry.value for entry in installed()[name])


def load_installed(name: str) -> type[AIProvider]:
    """The class behind the one entry point of a name.

    Raises:
        ConfigError: Naming the package, and what is wrong with it.
    """
    packages = ", ".join(map(repr, packages_of(name)))
    entry, *others = installed()[name]
    if others:
        raise ConfigError(f"A provider {name!r} comes with each of {packages}. Uninstall all but one.")
    who = f"The provider {name!r} of the package {packages}"
    try:
        provider = entry.load()
    except Exception as error:
        raise ConfigError(
            f"{who} does not import: {type(error).__name__}: {error}. Update or uninstall that package."
        ) from error
    found = checked(provider, who)
    if found.name != name:
        raise ConfigError(f"{who} calls itself {found.name!r}. Its entry point must have the same name.")
    return found


def checked(provider: object, who: str) -> type[AIProvider]:
    """A class that providers can be made of.

    Args:
        provider: What was registered or installed.
        who: Begins the sentence of the error.

    Raises:
        ConfigError: What the class lacks.
    """
    if not (isinstance(provider, type) and issubclass(provider, AIProvider)):
        raise ConfigError(f"{who} is {provider!r}, which is no subclass of farm_notebook's AIProvider.")
    if missing := sorted(provider.__abstractmethods__):
        raise ConfigError(f"{who} does not define {', '.join(missing)}.")
    name = getattr(provider, "name", None)
    if not isinstance(name, str) or not name or not name.replace("-", "_").isidentifier():
        raise ConfigError(
            f"{who} has the name {name!r}. Give the class a name of letters, digits, '-' and '_', as in "
            "name = 'shout'; it stands before the ':' of a model."
        )
    return provider


@lru_cache(maxsize=1)
def _scanned(places: tuple[tuple[str, int | None], ...]) -> Mapping[str, tuple[EntryPoint, ...]]:
    """``places`` is what the answer depends on: the folders, and when each was last changed."""
    from importlib.metadata import entry_points

    found: dict[str, tuple[EntryPoint, ...]] = {}
    for entry in entry_points(group=ENTRY_POINTS):
        found[entry.name] = (*found.get(entry.name, ()), entry)
    return found


def _changed_at(place: str) -> int | None:
    try:
        return os.stat(place or ".").st_mtime_ns
    except OSError:
        return None
