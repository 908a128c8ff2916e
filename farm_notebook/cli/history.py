"""``farm history``: the calls that were made, one of them in full, and forgetting them."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import typer

from farm_notebook import loop
from farm_notebook.cli.terminal import console, emit, emit_json, is_terminal, note
from farm_notebook.config import load_config
from farm_notebook.reports import HistoryReport, UsageReport, call_report, history_report, open_history
from farm_notebook.stores.calls import Call

__all__ = ["clear", "emit_table", "find", "show"]


def emit_table(report: HistoryReport | UsageReport) -> None:
    """Write a report's table to stdout: as wide as a terminal, or as plain text."""
    out = console()
    if out.is_terminal:
        out.print(report.grid(), soft_wrap=False)
    else:
        emit(report.plain(), end="\n")


def find(search: str | None, *, model: str | None, since: str | None, limit: int, as_json: bool) -> None:
    """Write calls to stdout, newest first.

    Args:
        search: Words of the prompt or of the answer.
        model: Of this model only.
        since: An age or a day; see ``reports.as_moment``.
        limit: So many at most.
        as_json: A JSON array of all that is known of each, rather than a table.

    Raises:
        InvalidRequestError: ``since`` is no moment.
        OSError: The file cannot be read.
    """
    config = load_config()
    history = open_history(config)
    report = loop.run_blocking(history_report(history, search, model=model, since=since, limit=limit))
    loop.run_blocking(history.aclose())
    if as_json:
        emit_json([_without_messages(call) for call in report])
    elif report:
        emit_table(report)
    else:
        emit("no such calls" if search or model or since else "no calls so far", end="\n")
    if not config.history.enabled:
        note("The history is switched off by FARM_HISTORY__ENABLED.")


def show(number: int, *, as_json: bool) -> None:
    """Write one call to stdout, with the whole conversation that was sent.

    Raises:
        InvalidRequestError: There is none of that number.
        OSError: The file cannot be read.
    """
    history = open_history(load_config())
    report = loop.run_blocking(call_report(history, number))
    loop.run_blocking(history.aclose())
    if as_json:
        emit_json(dataclasses.asdict(report.call))
    else:
        emit(report.plain(), end="\n")


def clear(*, is_allowed: bool) -> None:
    """Forget every call, and say how many there were. Who sits at a terminal is asked first.

    Args:
        is_allowed: Without asking.

    Raises:
        OSError: The file cannot be written.
    """
    if not is_allowed and is_terminal(sys.stdin) and not typer.confirm("Forget every call?", err=True):
        raise typer.Exit(1)
    history = open_history(load_config())
    count = loop.run_blocking(history.clear())
    loop.run_blocking(history.aclose())
    emit(f"{count:,} call{'s' * (count != 1)} forgotten", end="\n")


def _without_messages(call: Call) -> dict[str, Any]:
    plain = dataclasses.asdict(call)
    del plain["messages"]
    return plain
