"""What calls came to, and which they were: as tables for people, as frames, and as a plot."""

from __future__ import annotations

from farm_notebook.reports.call import CallReport, call_report
from farm_notebook.reports.calls import HistoryReport, history_report, open_history
from farm_notebook.reports.comparison import Comparison
from farm_notebook.reports.outcome import Outcome
from farm_notebook.reports.report import UsageReport, usage_report
from farm_notebook.reports.since import Since, as_moment

__all__ = [
    "CallReport",
    "Comparison",
    "HistoryReport",
    "Outcome",
    "Since",
    "UsageReport",
    "as_moment",
    "call_report",
    "history_report",
    "open_history",
    "usage_report",
]
