"""The health panel: whether each provider can answer, what to do where it cannot, and its last error."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from html import escape
from typing import TYPE_CHECKING, Any, ClassVar

from farm_notebook.farm import Farm
from farm_notebook.sanitize import printable
from farm_notebook.types import ProviderStatus
from farm_notebook.widgets.outbox import Slices
from farm_notebook.widgets.part import Handler, Part

if TYPE_CHECKING:
    from farm_notebook.widgets.panel import Panel

__all__ = ["HealthPanel", "HealthPart"]

PERIOD_S = 30.0  # between two looks while the panel is visible


def HealthPanel(*, farm: Farm | None = None) -> Panel:
    """The state of every provider, asked every 30 s while it is visible.

    Args:
        farm: Whose providers; without one it is the default farm.

    Raises:
        MissingExtraError: Widgets are not installed.
    """
    from farm_notebook.widgets.panel import Panel

    return Panel("health", [HealthPart(farm)])


class HealthPart(Part):
    """The kernel's side of it.

    Args:
        farm: As for ``Part``.
        clock: Seconds since the epoch.
        options: As for ``Part``.
    """

    name: ClassVar[str] = "health"

    def __init__(
        self, farm: Farm | None = None, *, clock: Callable[[], float] = time.time, **options: Any
    ) -> None:
        super().__init__(farm, **options)
        self._clock = clock
        self._providers: list[ProviderStatus] = []
        self._checked_at: float | None = None
        self._last_errors: dict[str, dict[str, Any]] = {}
        self._looks_under_way = 0
        self.while_shown(PERIOD_S, self._look)

    def slices(self) -> Slices:
        return {
            "providers": [asdict(each) for each in self._providers],
            "last_errors": self._last_errors,
            "checked_at": self._checked_at,
            "is_checking": self._looks_under_way > 0,
        }

    def calls(self) -> Mapping[str, Handler]:
        return {"refresh": self._refresh}

    async def ready(self) -> None:
        if self._checked_at is None:
            await self._look()

    def static_html(self) -> str:
        rows = "\n".join(
            f"<tr><td>{escape(each.name)}</td><td>{_word(each)}</td><td>{escape(each.detail)}</td>"
            f"<td>{escape(each.fix or '')}</td></tr>"
            for each in self._providers
        )
        head = "<tr><th>provider</th><th>state</th><th>detail</th><th>fix</th></tr>"
        return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>\n<p>{escape(self._note())}</p>"

    def static_text(self) -> str:
        lines = [
            printable(
                f"{each.name:<12} {_word(each):<8} {each.detail}" + (f" ({each.fix})" if each.fix else "")
            )
            for each in self._providers
        ]
        return "\n".join([*lines, self._note()])

    def _note(self) -> str:
        if self._checked_at is None:
            return "The providers have not been asked yet."
        if self.farm.tape.settings.mode != "off":  # a time would be another one in the replay
            return f"Asked when {self.farm.tape.path.name} was recorded."
        return time.strftime("Asked on %Y-%m-%d at %H:%M:%S.", time.localtime(self._checked_at))

    async def _refresh(self) -> None:
        await self.glance(self._look)

    async def _look(self) -> None:
        self._looks_under_way += 1
        self.set(is_checking=True)
        try:
            self._providers = await self.farm.health(refresh=True)
            self._checked_at = self._clock()
            for each in self._providers:
                if not each.healthy:
                    self._last_errors[each.name] = {"detail": each.detail, "at": self._checked_at}
            self.settled()
        finally:
            self._looks_under_way -= 1
            self.set(**self.slices())


def _word(status: ProviderStatus) -> str:
    return "ok" if status.healthy else "not ok"
