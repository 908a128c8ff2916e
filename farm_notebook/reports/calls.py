"""The history report: calls, newest first, a line each."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, overload

from farm_notebook.config import FarmConfig
from farm_notebook.reports import tables
from farm_notebook.reports.since import Since, as_moment
from farm_notebook.reports.tables import Column
from farm_notebook.stores.calls import CANCELLED, Call
from farm_notebook.stores.history import History

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["HistoryReport", "history_report", "open_history"]

EXCERPT_CHARS = 100  # of a text, in a table
_COLUMNS = (
    Column("id", is_number=True),
    Column("when"),
    Column("model"),
    Column("asked", may_be_cut=True),
    Column("answer", may_be_cut=True),
    Column("tokens", is_number=True),
    Column("cost", is_number=True),
)


@dataclass(frozen=True, slots=True)
class HistoryReport(Sequence[Call]):
    """Calls, newest first; a sequence of them that shows itself as a table."""

    calls: tuple[Call, ...]

    @overload
    def __getitem__(self, index: int) -> Call: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Call]: ...
    def __getitem__(self, index: int | slice) -> Call | Sequence[Call]:
        return self.calls[index]

    def __len__(self) -> int:
        return len(self.calls)

    def __iter__(self) -> Iterator[Call]:
        return iter(self.calls)

    def grid(self) -> Table:
        """The table for a terminal, as rich draws it."""
        return tables.grid(_COLUMNS, self._lines())

    def plain(self) -> str:
        """The table as text."""
        return tables.text(_COLUMNS, self._lines())

    def to_dataframe(self) -> Any:
        """A ``pandas.DataFrame`` with a row for each call, and all that is known of it but its messages.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        rows: list[dict[str, object]] = []
        for call in self.calls:
            row = dataclasses.asdict(call)
            for inner in ("usage", "timings"):
                row |= row.pop(inner)
            del row["messages"]
            rows.append(row | {"at": datetime.fromtimestamp(call.at).astimezone()})
        return tables.frame(rows)

    def __str__(self) -> str:
        return tables.text(_COLUMNS, self._lines()) if self.calls else "No such calls."

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        shown = tables.markdown(_COLUMNS, self._lines()) if self.calls else "No such calls."
        return {"text/markdown": shown, "text/plain": str(self)}

    def _lines(self) -> list[list[str]]:
        return [
            [
                str(call.id),
                datetime.fromtimestamp(call.at).strftime("%Y-%m-%d %H:%M"),
                call.model,
                _excerpt(call.question),
                _excerpt(_outcome(call)),
                tables.UNKNOWN
                if call.usage.output_tokens is None
                else tables.count(call.usage.output_tokens),
                "cached"
                if call.is_cached
                else tables.dollars(call.cost)
                if call.is_taken
                else tables.UNKNOWN,
            ]
            for call in self.calls
        ]


def open_history(config: FarmConfig) -> History:
    """The history of a configuration, to be read."""
    kept = config.history
    return History(config.history_path, keep_days=kept.keep_days, max_bytes=kept.max_bytes, texts=kept.texts)


async def history_report(
    history: History,
    search: str | None = None,
    *,
    model: str | None = None,
    since: Since = None,
    limit: int | None = 20,
) -> HistoryReport:
    """Find calls in a history.

    Args:
        history: Where they are.
        search: See ``History.calls``, and so for the others.
        model: See there.
        since: See ``as_moment``.
        limit: See there.

    Raises:
        InvalidRequestError: ``since`` is no moment.
        OSError: The history cannot be read.
    """
    found = await history.calls(search=search, model=model, since=as_moment(since), limit=limit)
    return HistoryReport(tuple(found))


def _outcome(call: Call) -> str:
    """What came of a call: its answer, or why there is none."""
    if call.error == CANCELLED:
        return f"(cancelled) {call.text or ''}"
    if call.error is not None:
        return f"({call.error}) {call.problem or ''}"
    asked_for = ", ".join(tool_call.name for tool_call in call.tool_calls)
    return call.text or (f"(calls {asked_for})" if asked_for else "")


def _excerpt(words: str | None) -> str:
    return tables.UNKNOWN if words is None else tables.line(words[: 2 * EXCERPT_CHARS])[:EXCERPT_CHARS]
