"""Tells of every setting its value and where it came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from farm_notebook.config.layers import Source, Sources
from farm_notebook.config.load import load_with_sources
from farm_notebook.config.masking import masked
from farm_notebook.config.settings import FarmConfig
from farm_notebook.config.toml import as_key
from farm_notebook.config.values import Section
from farm_notebook.config.variables import KeyPath

__all__ = ["SettingOrigin", "explain_settings"]


@dataclass(frozen=True, slots=True)
class SettingOrigin:
    """One setting, and who set it.

    Args:
        key: As TOML writes it, ``cache.ttl_s``.
        value: What holds; what may be secret in it is masked.
        source: Which kind of source set it.
        place: The variable, the file and the key in it, or the argument; empty for a default.
        weaker: Where else it is set, to no effect.
    """

    key: str
    value: Any
    source: Source
    place: str = ""
    weaker: tuple[str, ...] = ()


def explain_settings(
    overrides: Mapping[str, Any] | None = None, *, folder: Path | None = None
) -> list[SettingOrigin]:
    """Every setting in the order in which they are documented.

    Args:
        overrides: As for ``load_config``.
        folder: Likewise.

    Raises:
        ConfigError: A setting is not valid.
    """
    config, sources = load_with_sources(overrides, folder=folder)
    return [_origin(path, value, sources) for path, value in _leaves(config, ())]


def _origin(path: KeyPath, value: Any, sources: Sources) -> SettingOrigin:
    setters = [layer for layer in sources.layers if layer.sets(path)]
    shown = masked(path, sorted(value) if isinstance(value, frozenset) else value)
    if not setters:
        return SettingOrigin(as_key(path), shown, "default")
    strongest, *weaker = setters
    places = tuple(layer.place(path) for layer in weaker)
    return SettingOrigin(as_key(path), shown, strongest.source, strongest.place(path), places)


def _leaves(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    """What has no settings in it; a section's go one by one, and those of a mapping too."""
    if isinstance(value, Section):
        for name in type(value).model_fields:
            yield from _leaves(getattr(value, name), (*path, name))
    elif isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _leaves(inner, (*path, str(name)))
    elif isinstance(value, tuple) and any(isinstance(one, FarmConfig | Section) for one in value):
        yield path, [one.model_dump(exclude_unset=True) for one in value]
    else:
        yield path, value
