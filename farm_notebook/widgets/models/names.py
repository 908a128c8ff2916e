"""Names that can be chosen: the default of the moment, and what else stands for models."""

from __future__ import annotations

from farm_notebook.config import AUTO, FarmConfig
from farm_notebook.errors import FarmError
from farm_notebook.router import is_dynamic, look_up

__all__ = ["aliases", "named_default"]


def named_default(config: FarmConfig) -> dict[str, str]:
    """What answers where no model is named, as ``name``.

    Returns:
        With the model as ``ref``, which is empty where only the moment can tell, or the name leads nowhere.
    """
    name = config.routing.get(config.environment, config.model)
    try:
        ref = look_up(None, config).ref
    except FarmError:  # a request will say why
        return {"name": name, "ref": ""}
    return {"name": name, "ref": "" if is_dynamic(ref) else str(ref)}


def aliases(config: FarmConfig) -> list[dict[str, str]]:
    """Names with what they stand for, in a note."""
    found = [{"name": AUTO, "note": "whichever model is at hand"}]
    for name, alias in sorted(config.aliases.items()):
        stands_for = alias.model or ", ".join(place.model for place in alias.deployments)
        found.append({"name": name, "note": stands_for})
    return found
