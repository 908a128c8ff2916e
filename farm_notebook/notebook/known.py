"""Names of models that a notebook has met, for completion: nobody is asked while a user waits for a key."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from farm_notebook.config import FarmConfig

__all__ = ["KnownModels"]


class KnownModels:
    """Names that were listed or have answered, and those that the settings hold."""

    def __init__(self) -> None:
        self._met: dict[str, None] = {}

    def add(self, names: Iterable[str]) -> None:
        """Remember names."""
        self._met.update(dict.fromkeys(names))

    def names(self) -> list[str]:
        """Each name once: aliases first, then other models of the settings, those loaded, and those met."""
        return list(dict.fromkeys([*_configured(), *self._met]))

    def matching(self, start: str) -> list[str]:
        """Names that begin so, whole or behind their provider."""
        names = self.names()
        behind = [name for name in names if start and name.partition(":")[2].startswith(start)]
        return list(dict.fromkeys([*(name for name in names if name.startswith(start)), *behind]))


def _configured() -> list[str]:
    from farm_notebook.errors import FarmError

    try:
        from farm_notebook.farm import default_farm

        farm = default_farm()
        config = farm.config
    except FarmError:  # a setting is wrong; the next request says which
        return []
    loaded = (str(event.ref) for event in farm.models.events())
    return [*config.aliases, config.model, *config.routing.values(), *_of_providers(config), *loaded]


def _of_providers(config: FarmConfig) -> list[str]:
    sections = {name: config.section(name) for name in (*type(config).model_fields, *config.endpoints)}
    return [
        f"{name}:{model}"
        for name, section in sections.items()
        if (model := getattr(section, "default_model", None)) and getattr(section, "enabled", True)
    ]
