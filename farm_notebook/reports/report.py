"""The usage report: requests, tokens, cost and speed of the calls in a history."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from farm_notebook.errors import InvalidRequestError
from farm_notebook.reports import tables
from farm_notebook.reports.since import Since, as_moment
from farm_notebook.reports.tables import Column
from farm_notebook.stores.calls import UsageBy, UsageRow
from farm_notebook.stores.history import History

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table

__all__ = ["UsageReport", "usage_report"]

_COLUMNS = (
    Column("requests", is_number=True),
    Column("cached", is_number=True),
    Column("refused", is_number=True),
    Column("failed", is_number=True),
    Column("cancelled", is_number=True),
    Column("input", is_number=True),
    Column("output", is_number=True),
    Column("cost", is_number=True),
    Column("first token", is_number=True),
    Column("tokens/s", is_number=True),
)
_RARE = ("refused", "cancelled")  # shown only where there are some


@dataclass(frozen=True, slots=True)
class UsageReport:
    """What calls came to; shows itself as a table, in a notebook and in a terminal.

    Args:
        by: What the calls of a row have in common.
        rows: A row for each.
        daily: The same calls by model and day, for the plot.
    """

    by: UsageBy
    rows: tuple[UsageRow, ...]
    daily: tuple[UsageRow, ...] = ()

    @property
    def total(self) -> UsageRow:
        """All rows in one. How fast all models are together is no figure of use, and so is left out."""
        added = (
            *("requests", "cached", "refused", "failed", "cancelled"),
            *("input_tokens", "output_tokens", "uncounted", "cost", "unpriced"),
        )
        return UsageRow("total", **{name: sum(getattr(row, name) for row in self.rows) for name in added})

    @property
    def note(self) -> str:
        """What the figures leave out, and what they count."""
        if not self.rows:
            return "No calls so far."
        total, words = self.total, ["Kept answers used nothing and are counted apart; times are medians."]
        if total.uncounted:
            words.append(f"Nobody told the tokens of {_requests(total.uncounted)}.")
        if total.unpriced:
            words.append(f"The price of {_requests(total.unpriced)} is not known.")
        return " ".join(words)

    def grid(self) -> Table:
        """The table for a terminal, as rich draws it."""
        return tables.grid(*self._table())

    def plain(self) -> str:
        """The table as text."""
        return tables.text(*self._table())

    def to_dataframe(self) -> Any:
        """A ``pandas.DataFrame`` with a row for each of ``rows``, and all of their figures.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        plain = [dataclasses.asdict(row) for row in self.rows]
        return tables.frame([{self.by: row.pop("key")} | _without(row, "day") for row in plain])

    def plot(self) -> Figure:
        """Requests, tokens and cost by day and model, as a static figure.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        from farm_notebook.reports.plot import plot

        return plot(self.daily)

    def __str__(self) -> str:
        return tables.text(*self._table(), self.note) if self.rows else self.note

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        shown = tables.markdown(*self._table(), self.note) if self.rows else self.note
        return {"text/markdown": shown, "text/plain": str(self)}

    def _table(self) -> tuple[tuple[Column, ...], list[list[str]]]:
        total = self.total
        rows = [*self.rows, *([total] if len(self.rows) > 1 else [])]
        shown = [each for each in _COLUMNS if each.title not in _RARE or getattr(total, each.title)]
        cells = [dict(zip((column.title for column in _COLUMNS), _cells(row), strict=True)) for row in rows]
        lines = [
            [row.key or "(unknown)", *(of_row[c.title] for c in shown)]
            for row, of_row in zip(rows, cells, strict=True)
        ]
        return (Column(self.by, may_be_cut=True), *shown), lines


async def usage_report(history: History, by: UsageBy = "model", *, since: Since = None) -> UsageReport:
    """Add up the calls of a history.

    Args:
        history: Where they are.
        by: What the calls of one row have in common.
        since: See ``as_moment``.

    Raises:
        InvalidRequestError: ``by`` is nothing that calls are put together by, or ``since`` is no moment.
        OSError: The history cannot be read.
    """
    if by not in get_args(UsageBy):
        raise InvalidRequestError(
            f"by={by!r} is not valid. Valid: {', '.join(map(repr, get_args(UsageBy)))}."
        )
    moment = as_moment(since)
    rows = await history.usage(by, since=moment)
    daily = await history.usage("model", since=moment, per_day=True)
    return UsageReport(by, tuple(rows), tuple(daily))


def _cells(row: UsageRow) -> list[str]:
    is_priced = row.cost > 0 or row.unpriced < row.requests - row.failed - row.cancelled
    return [
        tables.count(row.requests),
        tables.count(row.cached),
        tables.count(row.refused),
        tables.count(row.failed),
        tables.count(row.cancelled),
        tables.count(row.input_tokens),
        tables.count(row.output_tokens),
        tables.dollars(row.cost if is_priced or not row.unpriced else None, has_more=row.unpriced > 0),
        tables.seconds(row.first_token_median_s),
        tables.UNKNOWN if row.tokens_per_s_median is None else f"{row.tokens_per_s_median:,.0f}",
    ]


def _requests(number: int) -> str:
    return f"{number:,} request{'s' * (number != 1)}"


def _without(values: dict[str, object], name: str) -> dict[str, object]:
    return {key: value for key, value in values.items() if key != name}
