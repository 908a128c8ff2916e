"""Names in the settings that lead nowhere, or probably not where they were meant to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from farm_notebook.config import FarmConfig
from farm_notebook.config.problems import near
from farm_notebook.config.toml import as_key
from farm_notebook.errors import FarmError
from farm_notebook.providers import is_provider, similar_provider, unknown_provider
from farm_notebook.router.hints import alias_hint
from farm_notebook.router.names import is_known, look_up

__all__ = ["DeadEnd", "find_dead_ends"]

_ENVIRONMENTS = ("development", "staging", "production")


@dataclass(frozen=True, slots=True)
class DeadEnd:
    """One such name.

    Args:
        key: Of the setting that it stands in, as TOML writes it.
        text: What is wrong with it.
        is_certain: Whether no request can get through; else it may be as it was meant.
    """

    key: str
    text: str
    is_certain: bool = False


def find_dead_ends(config: FarmConfig) -> Iterator[DeadEnd]:
    """All of them, as far as the settings alone can tell; each circle of aliases once.

    Args:
        config: The settings.
    """
    told = set[frozenset[str]]()  # by the words alone: a circle is told of in the order it was entered
    for found in (*_of_names(config), *_of_default(config)):
        words = frozenset(
            re.findall(r"[\w-]+", found.text if found.is_certain else f"{found.key} {found.text}")
        )
        if words not in told:
            told.add(words)
            yield found
    yield from _of_providers(config)
    yield from _of_environment(config)


def _of_names(config: FarmConfig) -> Iterator[DeadEnd]:
    for key, name in _written(config):
        try:
            if is_known(name, config):
                continue
        except FarmError as error:
            yield DeadEnd(key, str(error), is_certain=True)
            continue
        yield from _mistyped(key, name, config)


def _mistyped(key: str, name: str, config: FarmConfig) -> Iterator[DeadEnd]:
    if meant := alias_hint(name, config) or _provider_hint(name, config):
        yield DeadEnd(key, f"{name!r} is taken for a model of the default provider. {meant}")


def _provider_hint(name: str, config: FarmConfig) -> str:
    provider, separator, model = name.partition(":")
    close = similar_provider(provider, config)
    return f"Did you mean '{close}{separator}{model}'?" if close else ""


def _of_default(config: FarmConfig) -> Iterator[DeadEnd]:
    routed = config.routing.get(config.environment)
    key = "model" if routed is None else as_key(("routing", config.environment))
    name = config.model if routed is None else routed
    try:
        look_up(None, config)
        is_found = is_known(name, config)
    except FarmError as error:
        yield DeadEnd(key, str(error), is_certain=True)
    else:
        if not is_found:
            yield from _mistyped(key, name, config)


def _of_providers(config: FarmConfig) -> Iterator[DeadEnd]:
    for path, names in ((("limits", "per"), config.limits.per), (("prices",), config.prices)):
        for name in names:
            provider = name.partition(":")[0]
            if not is_provider(provider, config):
                yield DeadEnd(as_key((*path, name)), str(unknown_provider(provider, config)))


def _of_environment(config: FarmConfig) -> Iterator[DeadEnd]:
    known = {*config.routing, *_ENVIRONMENTS}
    if config.environment not in known and (hint := near(config.environment, known)):
        yield DeadEnd("environment", f"{config.environment!r} has no line in routing.{hint}")


def _written(config: FarmConfig) -> Iterator[tuple[str, str]]:
    """Every name of a model in the settings but the default one, and the key of its setting."""
    for environment, name in config.routing.items():
        if environment != config.environment:
            yield as_key(("routing", environment)), name
    for alias, meant in config.aliases.items():
        names = {
            "model": () if meant.model is None else (meant.model,),
            "deployments": tuple(place.model for place in meant.deployments),
            "fallback": meant.fallback or (),
        }
        for setting, several in names.items():
            yield from ((as_key(("aliases", alias, setting)), name) for name in several)
    yield from (("fallback.chain", name) for name in config.fallback.chain)
