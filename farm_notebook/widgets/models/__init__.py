"""The panel of the models: found, chosen, loaded, fetched and given up.

The page's side is below ``js/src/models``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm_notebook.widgets.models.part import ModelsPart

if TYPE_CHECKING:
    from farm_notebook.farm import Farm
    from farm_notebook.widgets.panel import Panel

__all__ = ["ModelPicker", "ModelsPart"]


def ModelPicker(*, farm: Farm | None = None) -> Panel:
    """Every model there is, to search, to choose as the default of this notebook, and to load or fetch.

    Args:
        farm: Whose models; without one it is the default farm.

    Raises:
        MissingExtraError: Widgets are not installed.
    """
    from farm_notebook.widgets.panel import Panel

    return Panel("models", [ModelsPart(farm)])
