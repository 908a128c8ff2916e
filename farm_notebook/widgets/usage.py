"""The panel of what calls came to: requests, tokens, cost, speed and kept answers, day by day."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Mapping
from dataclasses import asdict
from html import escape
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, get_args

from farm_notebook.errors import InvalidRequestError, MissingExtraError
from farm_notebook.farm import Farm
from farm_notebook.reports import UsageReport
from farm_notebook.widgets.outbox import Slices
from farm_notebook.widgets.part import Handler, Part

if TYPE_CHECKING:
    from farm_notebook.widgets.panel import Panel

__all__ = ["Period", "UsagePanel", "UsagePart"]

_PRE = '<pre style="font-family: monospace">'  # which pages that nbconvert makes do not take for granted
PERIOD_S = 5.0  # between two looks while the panel is visible

Period: TypeAlias = Literal["1d", "7d", "30d", "all"]


def UsagePanel(*, farm: Farm | None = None, period: Period = "7d") -> Panel:
    """Requests, tokens, cost, speed and kept answers over time; the notebook keeps a static figure of them.

    Args:
        farm: Whose history; without one it is the default farm.
        period: How far back, to begin with.

    Raises:
        MissingExtraError: Widgets are not installed.
        InvalidRequestError: There is no such period.
    """
    from farm_notebook.widgets.panel import Panel

    return Panel("usage", [UsagePart(farm, period=period)])


class UsagePart(Part):
    """The kernel's side of it.

    Args:
        farm: As for ``Part``.
        period: How far back, to begin with.
        options: As for ``Part``.
    """

    name: ClassVar[str] = "usage"

    def __init__(self, farm: Farm | None = None, *, period: Period = "7d", **options: Any) -> None:
        if period not in get_args(Period):
            valid = ", ".join(map(repr, get_args(Period)))
            raise InvalidRequestError(f"period={period!r} is not valid. Valid: {valid}.")
        super().__init__(farm, **options)
        self._period: Period = period
        self._report = UsageReport("model", ())
        self._picture = ""
        self.while_shown(PERIOD_S, self._look)

    def slices(self) -> Slices:
        report = self._report
        return {
            "period": self._period,
            "rows": [asdict(row) for row in report.rows],
            "total": asdict(report.total),
            "daily": [asdict(row) for row in report.daily],
            "note": report.note,
        }

    def calls(self) -> Mapping[str, Handler]:
        return {"choose": self._choose, "refresh": self._look}

    async def ready(self) -> None:
        await self._look()
        await self._draw()

    def static_html(self) -> str:
        table = f"{_PRE}{escape(self._report.plain())}</pre>" if self._report.rows else ""
        return f"{self._picture}{table}<p>{escape(self._report.note)}</p>"

    def static_text(self) -> str:
        return str(self._report)

    async def _choose(self, period: Period) -> None:
        self._period = period
        await self._look()

    async def _look(self) -> None:
        since = None if self._period == "all" else self._period
        report = await self.farm.usage("model", since=since)
        has_changed, self._report = report != self._report, report
        if has_changed:
            await self._draw()
        self.set(**self.slices())

    async def _draw(self) -> None:
        """The static figure, for a page without a kernel; where matplotlib is not installed there is none."""
        if not self._report.rows:
            self._picture = ""
            return
        try:
            png = await asyncio.to_thread(_png, self._report)
        except MissingExtraError:
            return
        source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
        self._picture = f'<img alt="Requests, tokens and cost by day and model" src="{source}" width="640">'
        self.settled()


def _png(report: UsageReport) -> bytes:
    picture = io.BytesIO()
    report.plot().savefig(picture, format="png", dpi=80)
    return picture.getvalue()
