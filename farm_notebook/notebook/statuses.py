"""What models in memory are doing, in words: for tables, and for lines about one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TypeVar

from farm_notebook.notebook.tables import Table
from farm_notebook.types import ModelEvent, ModelStatus

__all__ = ["clock_time", "event_table", "facts", "status_table", "where"]

T = TypeVar("T")

STATUS_COLUMNS = ("model", "state", "generation", "size", "where", "use", "marks", "detail")
EVENT_COLUMNS = ("when", "model", "state", "generation", "detail")
UNKNOWN = "-"


def status_table(statuses: Iterable[ModelStatus], *, if_none: str) -> Table[ModelStatus]:
    """A line a model.

    Args:
        statuses: What each does.
        if_none: What is said where there is none.
    """
    return _table(STATUS_COLUMNS, tuple(statuses), _status_row, if_none)


def event_table(events: Iterable[ModelEvent], *, if_none: str) -> Table[ModelEvent]:
    """A line a step.

    Args:
        events: What happened.
        if_none: What is said where nothing did.
    """
    return _table(EVENT_COLUMNS, tuple(events), _event_row, if_none)


def _table(
    columns: tuple[str, ...], values: tuple[T, ...], row: Callable[[T], tuple[str, ...]], if_none: str
) -> Table[T]:
    """The last column, the details, is there only where one of them has some."""
    rows = [row(value) for value in values]
    shown = len(columns) if any(cells[-1] for cells in rows) else -1
    return Table(columns[:shown], tuple(cells[:shown] for cells in rows), values, "" if values else if_none)


def _status_row(status: ModelStatus) -> tuple[str, ...]:
    return (
        str(status.ref),
        status.state,
        UNKNOWN if status.generation is None else str(status.generation),
        _size(status) or UNKNOWN,
        ", ".join(status.devices) or UNKNOWN,
        _use(status),
        _marks(status) or UNKNOWN,
        status.detail,
    )


def _event_row(event: ModelEvent) -> tuple[str, ...]:
    return (
        clock_time(event.at),
        str(event.ref),
        event.state if event.state == event.before else f"{event.before} → {event.state}",
        UNKNOWN if event.generation is None else str(event.generation),
        event.detail,
    )


def facts(status: ModelStatus) -> str:
    """What is known of a model in memory, as in ``270 MB on cuda:0, pinned``; maybe nothing."""
    return ", ".join(filter(None, (where(status), _marks(status))))


def where(status: ModelStatus) -> str:
    """How large it is and where, as in ``270 MB on cuda:0``; maybe nothing."""
    place = f"on {', '.join(status.devices)}" if status.devices else ""
    return " ".join(filter(None, (_size(status), place)))


def clock_time(at: float) -> str:
    """A moment in local time; today's without the day.

    Args:
        at: Seconds since the epoch.
    """
    moment = datetime.fromtimestamp(at)
    is_today = moment.date() == datetime.now().date()
    return moment.strftime("%H:%M:%S" if is_today else "%Y-%m-%d %H:%M:%S")


def _size(status: ModelStatus) -> str:
    from rich.filesize import decimal

    return "" if status.size_bytes is None else decimal(status.size_bytes)


def _use(status: ModelStatus) -> str:
    busy = [_counted(status.users, "answer")] * bool(status.users)
    busy += [_counted(status.leases, "lease")] * bool(status.leases)
    if busy or status.idle_s is None:
        return ", ".join(busy) or UNKNOWN
    return f"idle {_age(status.idle_s)}"


def _marks(status: ModelStatus) -> str:
    return ", ".join(["pinned"] * status.is_pinned + ["watched"] * status.is_watched)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def _age(age_s: float) -> str:
    if age_s < 60:
        return f"{age_s:.0f} s"
    return f"{age_s / 60:.0f} min" if age_s < 3600 else f"{age_s / 3600:.1f} h"
