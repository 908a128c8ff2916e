"""All panels in one, each below a tab."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm_notebook.farm import Farm
from farm_notebook.threads import DEFAULT_THREAD
from farm_notebook.widgets.chat import ChatPart
from farm_notebook.widgets.gpu import GPUPart
from farm_notebook.widgets.health import HealthPart
from farm_notebook.widgets.models import ModelsPart
from farm_notebook.widgets.usage import UsagePart

if TYPE_CHECKING:
    from farm_notebook.widgets.panel import Panel

__all__ = ["Dashboard"]


def Dashboard(*, thread: str = DEFAULT_THREAD, farm: Farm | None = None) -> Panel:
    """Chat, models, devices, health and usage in one panel; only the open tab is looked after.

    Args:
        thread: The conversation of the chat.
        farm: Whose models; without one it is the default farm.

    Raises:
        MissingExtraError: Widgets are not installed.
    """
    from farm_notebook.widgets.panel import Panel

    parts = (
        ChatPart(farm, thread=thread),
        ModelsPart(farm),
        GPUPart(farm),
        HealthPart(farm),
        UsagePart(farm),
    )
    return Panel("dashboard", parts)
