"""The chat panel: one conversation, streamed, with what can be done about it.

The conversation is a thread of ``farm_notebook.threads``, so that a cell with ``%%farm_chat`` and the panel
go on with each other's. The page's side is below ``js/src/chat``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm_notebook.threads import DEFAULT_THREAD
from farm_notebook.widgets.chat.part import ChatPart
from farm_notebook.widgets.chat.settings import ChatSettings

if TYPE_CHECKING:
    from farm_notebook.farm import Farm
    from farm_notebook.widgets.panel import Panel

__all__ = ["ChatPanel", "ChatPart"]


def ChatPanel(
    *,
    thread: str = DEFAULT_THREAD,
    model: str | None = None,
    system: str | None = None,
    farm: Farm | None = None,
) -> Panel:
    """A conversation with a model, in the notebook.

    Args:
        thread: Which conversation; that of ``%%farm_chat`` without ``--thread`` where none is named.
        model: Who answers; without it the farm's default, as it is at each question.
        system: A system message for what is asked in this panel.
        farm: Whose models; without one it is the default farm.

    Raises:
        FarmError: The model's name leads nowhere.
        MissingExtraError: Widgets are not installed.
    """
    from farm_notebook.widgets.panel import Panel

    part = ChatPart(farm, thread=thread, model=model, settings=ChatSettings(system=system))
    return Panel("chat", [part])
