"""What calls came to, and which they were: as tables for people, as frames, and as a plot."""

from __future__ import annotations

from farm_notebook.reports.calls import HistoryReport, history_report
from farm_notebook.reports.report import UsageReport, usage_report
from farm_notebook.reports.since import Since, as_moment

__all__ = ["HistoryReport", "Since", "UsageReport", "as_moment", "history_report", "usage_report"]
