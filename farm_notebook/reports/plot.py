"""The plot of a usage report: requests, tokens and cost, a bar a day, a colour a model."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING

from farm_notebook.errors import MissingExtraError
from farm_notebook.sanitize import printable
from farm_notebook.stores.calls import UsageRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot"]

# Told apart also by those who see few colours. Source: https://sronpersonalpages.nl/~pault/ ("bright")
_COLOURS = ("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377")
FEW_DAYS = 8  # up to which each has its name
SMALL_CHANGE = 0.1  # US dollars; where all is less, cents are divided
_OTHERS = "other models"
_GREY, _PALE, _INK = "#9A9A9A", "#DDDDDD", "#333333"


def plot(rows: Sequence[UsageRow]) -> Figure:
    """Draw rows by model and day. The figure is not one of pyplot's, and shows itself in a notebook.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("A plot needs matplotlib: pip install matplotlib") from None

    class Shown(Figure):
        def _repr_png_(self) -> bytes:
            picture = io.BytesIO()
            self.savefig(picture, format="png", bbox_inches="tight")
            return picture.getvalue()

    figure = Shown(figsize=(8.0, 6.6), dpi=110, layout="constrained")
    if not rows:
        figure.text(0.5, 0.5, "no calls so far", ha="center", color=_INK)
        return figure
    days, models = _days(rows), _models(rows)
    top, middle, bottom = figure.subplots(3, 1, sharex=True)
    unpriced = sum(row.unpriced for row in rows)
    _bars(top, rows, days, models, lambda row: row.requests)
    _kept(top, rows, days)
    _bars(middle, rows, days, models, lambda row: row.input_tokens + row.output_tokens)
    _bars(bottom, rows, days, models, lambda row: row.cost, if_none="unknown" if unpriced else "none")
    _dress(top, "Requests")
    _dress(middle, "Tokens, of prompts and answers")
    _dress(
        bottom, "Cost in US dollars" + (f" ({unpriced:,} requests have no known price)" if unpriced else "")
    )
    digits = 2 if bottom.get_ylim()[1] >= SMALL_CHANGE else 4
    bottom.yaxis.set_major_formatter(lambda value, _: f"${value:,.{digits}f}")
    _date_axis(bottom, days)
    figure.legend(
        *top.get_legend_handles_labels(), loc="outside upper left", ncols=3, frameon=False, fontsize=9
    )
    return figure


def _days(rows: Sequence[UsageRow]) -> list[date]:
    """Every day from the first to the last, also those without calls."""
    known = [date.fromisoformat(row.day) for row in rows]
    first, last = min(known), max(known)
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def _models(rows: Sequence[UsageRow]) -> dict[str, str]:
    """The colour of each model; those that were asked least share one."""
    asked: dict[str, int] = defaultdict(int)
    for row in rows:
        asked[row.key] += row.requests + row.cached
    ranked = sorted(asked, key=lambda model: (-asked[model], model))
    room = len(_COLOURS) if len(ranked) <= len(_COLOURS) else len(_COLOURS) - 1
    return dict(zip(ranked[:room], _COLOURS, strict=False)) | ({_OTHERS: _GREY} if ranked[room:] else {})


def _bars(
    axes: Axes,
    rows: Sequence[UsageRow],
    days: Sequence[date],
    models: dict[str, str],
    figure_of: Callable[[UsageRow], float],
    *,
    if_none: str = "none",
) -> None:
    """A bar a day, of one piece a model; a word where there is nothing to draw."""
    heights = {model: dict.fromkeys(days, 0.0) for model in models}
    for row in rows:
        heights[row.key if row.key in models else _OTHERS][date.fromisoformat(row.day)] += figure_of(row)
    below = [0.0] * len(days)
    for model, colour in models.items():
        values = [heights[model][day] for day in days]
        axes.bar(days, values, 0.8, below, color=colour, label=printable(model), linewidth=0)  # type: ignore[arg-type]
        below = [low + value for low, value in zip(below, values, strict=True)]
    if not any(below):
        axes.set(ylim=(0, 1), yticks=[0])
        axes.text(0.5, 0.5, if_none, transform=axes.transAxes, ha="center", va="center", color=_GREY)


def _kept(axes: Axes, rows: Sequence[UsageRow], days: Sequence[date]) -> None:
    """What was answered by kept answers, on top of the requests."""
    if not any(row.cached for row in rows):
        return
    asked, kept = dict.fromkeys(days, 0), dict.fromkeys(days, 0)
    for row in rows:
        asked[date.fromisoformat(row.day)] += row.requests
        kept[date.fromisoformat(row.day)] += row.cached
    low, high = [*asked.values()], [*kept.values()]
    axes.bar(days, high, 0.8, low, color=_PALE, label="kept answers", linewidth=0)  # type: ignore[arg-type]


def _dress(axes: Axes, title: str) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.set_title(title, loc="left", fontsize=10, color=_INK)
    if len(axes.get_yticks()) > 1:
        axes.yaxis.set_major_locator(MaxNLocator(4, integer="US" not in title))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_GREY)
    axes.grid(axis="y", color="#EEEEEE", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=9, colors=_INK)


def _date_axis(axes: Axes, days: Sequence[date]) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, DateFormatter

    if len(days) <= FEW_DAYS:
        axes.set_xticks(days)  # type: ignore[arg-type]  # of dates, as all that is drawn along this axis
        axes.xaxis.set_major_formatter(DateFormatter("%b %d"))  # type: ignore[no-untyped-call]  # matplotlib's
    else:
        locator = AutoDateLocator(maxticks=8)  # type: ignore[no-untyped-call]  # likewise
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    margin = timedelta(days=max(1, (FEW_DAYS - len(days)) / 2))  # a single day is no wall
    axes.set_xlim(days[0] - margin, days[-1] + margin)  # type: ignore[arg-type]
