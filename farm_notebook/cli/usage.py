"""``farm usage``: what the calls came to."""

from __future__ import annotations

import dataclasses

from farm_notebook import loop
from farm_notebook.cli.history import emit_table
from farm_notebook.cli.terminal import emit, emit_json
from farm_notebook.config import load_config
from farm_notebook.reports import open_history, usage_report
from farm_notebook.stores.calls import UsageBy

__all__ = ["usage"]


def usage(by: UsageBy, *, since: str | None, as_json: bool) -> None:
    """Write requests, tokens, cost and speed to stdout.

    Args:
        by: What the calls of one row have in common.
        since: An age or a day; see ``reports.as_moment``.
        as_json: A JSON array of plain figures, rather than a table.

    Raises:
        InvalidRequestError: ``since`` is no moment.
        OSError: The file cannot be read.
    """
    history = open_history(load_config())
    report = loop.run_blocking(usage_report(history, by, since=since))
    loop.run_blocking(history.aclose())
    if as_json:
        emit_json([dataclasses.asdict(row) for row in report.rows])
        return
    if report.rows:
        emit_table(report)
        emit("\n")
    emit(report.note, end="\n")
