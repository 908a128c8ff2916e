"""What stands below a panel for readers who have no kernel: HTML and text, saved with the notebook.

It is an output of its own, below the widget's. As long as the panel lives in a page, its script hides it
there. A page that finds no model for a widget's view writes a line about that in its place; the static
output's stylesheet hides such a line. Viewers that sanitise outputs drop the stylesheet, and show no widgets
either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from farm_notebook.widgets.part import Part

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["StaticOutput", "static_bundle"]

PERIOD_S = 2.0  # between two updates: each is kept in the notebook's document

# JupyterLab's words for a view without a model ("Loading widget...", then "model not found") are bare text in
# the output; a live widget is elements. (Selectors are of children only: else each change anywhere in a live
# widget would have the page look through all of it.)
_STYLE = (
    ".jp-OutputArea-child:has(+ .jp-OutputArea-child > .jp-OutputArea-output > .farm-static)"
    " > .jp-OutputArea-output:not(:has(> *)){display:none}"
)


def static_bundle(panel_id: str, parts: Sequence[Part]) -> dict[str, str]:
    """The mime bundle of some parts' present state."""
    markup = "\n".join(filter(None, (part.static_html() for part in parts)))
    classes = f"farm-static farm-static-{panel_id}"
    return {
        "text/html": f'<style>{_STYLE}</style>\n<div class="{classes}">{markup}</div>',
        "text/plain": "\n\n".join(part.static_text() for part in parts),
    }


class StaticOutput:
    """The static output of one panel, wherever it is displayed.

    Args:
        panel_id: The panel's name in the page.
        parts: What it shows.
        period_s: Seconds between two updates.
    """

    def __init__(self, panel_id: str, parts: Sequence[Part], *, period_s: float = PERIOD_S) -> None:
        self._panel_id = panel_id
        self._parts = parts
        self._period_s = period_s
        self._publisher: Any = None
        self._context = copy_context()
        self._shown: dict[str, str] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._making: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()  # what was made later is shown later

    def publish(self, shell: InteractiveShell) -> None:
        """Display it as an output of the running cell; later updates reach it."""
        self._publisher = shell.display_pub
        self._context = copy_context()  # it says which cell an update belongs to
        self._shown = static_bundle(self._panel_id, self._parts)
        self._write(update=False)

    def update(self) -> None:
        """Have it made anew within ``period_s``. On the farm's loop."""
        if self._publisher is not None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._period_s, self._begin)

    async def update_now(self) -> None:
        """Make it anew, if it would differ. On the farm's loop, which goes on meanwhile."""
        self.stop()
        if self._publisher is None:
            return
        async with self._lock:
            bundle = await asyncio.to_thread(static_bundle, self._panel_id, self._parts)
            if bundle != self._shown:
                self._shown = bundle
                self._context.copy().run(self._write, update=True)

    def stop(self) -> None:
        """Leave it as it is."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _begin(self) -> None:
        self._making = asyncio.get_running_loop().create_task(self.update_now())

    def _write(self, *, update: bool) -> None:
        transient = {"display_id": f"farm-{self._panel_id}"}
        self._publisher.publish(data=self._shown, metadata={}, transient=transient, update=update)
