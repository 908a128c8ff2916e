"""The reports: what a user reads of calls, and that nothing unknown is shown as nothing."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from farm_notebook.errors import InvalidRequestError, MissingExtraError
from farm_notebook.reports import HistoryReport, UsageReport, as_moment, history_report, usage_report
from farm_notebook.reports.tables import dollars, duration
from farm_notebook.stores.calls import CallRecord, UsageRow
from farm_notebook.stores.history import History
from farm_notebook.types import ChatMessage, ChatRequest, ModelRef, Timings, ToolCall, Usage

CLOUD, LOCAL = ModelRef("openai", "gpt-4o"), ModelRef("llamacpp", "smollm2:135m")
NOW = 1_790_000_000.0
RECORD = CallRecord(
    at=NOW,
    kind="chat",
    request=ChatRequest(CLOUD, (ChatMessage("user", "What is the capital of France?"),)),
    ref=CLOUD,
    texts=("Paris",),
    usage=Usage(1_000, 500),
    cost=0.0125,
    timings=Timings(first_token_s=0.25, total_s=2.0, tokens_per_s=40.0),
    finish_reason="stop",
    is_taken=True,
)


@pytest.fixture
async def history(tmp_path: Path) -> AsyncIterator[History]:
    made = History(tmp_path / "history.sqlite", keep_days=100_000, max_bytes=50_000_000)
    yield made
    await made.aclose()


# Since when


@pytest.mark.parametrize(
    ("since", "moment"),
    [
        (None, None),
        (5.0, 5.0),
        ("30m", NOW - 1_800),
        ("12h", NOW - 43_200),
        (" 7d ", NOW - 7 * 86_400),
        ("1.5w", NOW - 10.5 * 86_400),
        (timedelta(days=2), NOW - 2 * 86_400),
        ("2026-05-31", datetime(2026, 5, 31).timestamp()),
        ("2026-05-31T12:30", datetime(2026, 5, 31, 12, 30).timestamp()),
        ("2026-05-31T12:30+00:00", datetime(2026, 5, 31, 12, 30, tzinfo=UTC).timestamp()),
        (datetime(2026, 5, 31, tzinfo=UTC), datetime(2026, 5, 31, tzinfo=UTC).timestamp()),
    ],
)
def test_a_moment_is_an_age_or_a_day(since: Any, moment: float | None) -> None:
    assert as_moment(since, now=NOW) == moment


@pytest.mark.parametrize("since", ["", "yesterday", "7", "-3d", "2026-13-01", "99999999999999w"])
def test_what_is_no_moment_is_quoted_with_what_would_be(since: str) -> None:
    with pytest.raises(InvalidRequestError, match="Valid: an age, as in 30m") as raised:
        as_moment(since)
    assert repr(since) in str(raised.value)


# Usage


@pytest.fixture
async def report(history: History) -> UsageReport:
    """Calls of a model with a price, of one without, and of one that runs here."""
    unpriced = ModelRef("groq", "mystery")
    for record in (
        RECORD,
        replace(RECORD, at=NOW - 86_400, timings=Timings(first_token_s=0.75, tokens_per_s=20.0)),
        replace(RECORD, is_cached=True, cost=0.0),
        replace(RECORD, ref=LOCAL, cost=0.0, usage=Usage(1_000_000, None)),
        replace(RECORD, ref=LOCAL, error="BackendCrashedError", finish_reason=None, cost=0.0, usage=Usage()),
        replace(RECORD, ref=unpriced, cost=None),
    ):
        history.record(record)
    return await usage_report(history)


async def test_a_table_has_a_row_a_model_and_a_total(report: UsageReport) -> None:
    lines = [" ".join(line.split()) for line in str(report).splitlines()]
    assert lines[:5] == [
        "model requests cached failed input output cost first token tokens/s",
        "groq:mystery 1 0 0 1,000 500 unknown 0.25 s 40",
        "llamacpp:smollm2:135m 2 0 1 1,000,000 0 $0.00 0.25 s 40",
        "openai:gpt-4o 2 1 0 2,000 1,000 $0.0250 0.50 s 30",
        "total 5 1 1 1,003,000 1,500 $0.0250 + ? - -",
    ]
    assert str(report).endswith("Nobody told the tokens of 2 requests. The price of 1 request is not known.")


async def test_a_notebook_shows_it_as_markdown(report: UsageReport) -> None:
    shown = report._repr_mimebundle_()
    assert r"| openai:gpt-4o | 2 | 1 | 0 | 2,000 | 1,000 | \$0.0250 | 0.50 s | 30 |" in shown["text/markdown"]
    assert shown["text/plain"] == str(report)


async def test_who_cancelled_is_shown_only_where_someone_did(history: History, report: UsageReport) -> None:
    assert "cancelled" not in str(report)
    history.record(replace(RECORD, error="cancelled", finish_reason=None, cost=None, usage=Usage()))
    assert "cancelled" in str(await usage_report(history))


async def test_what_was_refused_is_no_request_and_shown_only_where_something_was(
    history: History, report: UsageReport
) -> None:
    assert "refused" not in str(report)
    refused = replace(RECORD, error="BudgetExceededError", finish_reason=None, usage=Usage(), cost=None)
    history.record(replace(refused, is_taken=False, timings=Timings()))
    found = await usage_report(history)
    assert (found.total.requests, found.total.refused) == (report.total.requests, 1)
    assert found.note == report.note
    lines = [" ".join(line.split()) for line in str(found).splitlines()]
    assert lines[0] == "model requests cached refused failed input output cost first token tokens/s"
    assert lines[3] == "openai:gpt-4o 2 1 1 0 2,000 1,000 $0.0250 0.50 s 30"


async def test_what_calls_are_not_put_together_by_is_quoted_with_what_they_are(history: History) -> None:
    with pytest.raises(InvalidRequestError, match=r"by='colour' is not valid\. Valid: 'model', 'day',"):
        await usage_report(history, "colour")  # type: ignore[arg-type]


async def test_without_calls_it_says_so(history: History) -> None:
    report = await usage_report(history, since="7d")
    assert str(report) == "No calls so far."
    assert report._repr_mimebundle_()["text/markdown"] == "No calls so far."
    assert len(report.to_dataframe()) == 0


async def test_a_frame_has_every_figure(history: History, report: UsageReport) -> None:
    frame = report.to_dataframe()
    assert [*frame["model"]] == ["groq:mystery", "llamacpp:smollm2:135m", "openai:gpt-4o"]
    assert [*frame["cached"]] == [0, 0, 1]
    assert [*frame["unpriced"]] == [1, 0, 0]
    days = (await usage_report(history, "day")).to_dataframe()
    assert [*days["requests"]] == [1, 4]
    assert days["day"].is_monotonic_increasing


async def test_since_leaves_older_calls_out(history: History, report: UsageReport) -> None:
    (row,) = (await usage_report(history, "provider", since=NOW - 3_600)).rows[-1:]
    assert (row.key, row.requests) == ("openai", 1)


@pytest.mark.parametrize(
    ("cost", "has_more", "shown"),
    [
        (None, False, "unknown"),
        (0.0, False, "$0.00"),
        (0.00001, False, "under $0.0001"),
        (0.0123, False, "$0.0123"),
        (1234.5, False, "$1,234.50"),
        (0.5, True, "$0.5000 + ?"),
    ],
)
def test_a_cost_is_shown_so_that_little_is_not_nothing(
    cost: float | None, has_more: bool, shown: str
) -> None:
    assert dollars(cost, has_more=has_more) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(3_600.0, "1:00:00"), (90_061.0, "1 day, 1:01:01"), (1e15, "ever"), (float("inf"), "ever")],
)
def test_a_time_that_no_calendar_holds_is_for_ever(value: float, shown: str) -> None:
    assert duration(value) == shown


def test_what_is_not_trusted_is_made_harmless() -> None:
    report = UsageReport("notebook", (UsageRow("<script>alert(1)</script>\x1b[31m|", requests=1),))
    shown = report._repr_mimebundle_()
    assert "<script>" not in shown["text/markdown"]
    assert "\x1b" not in shown["text/plain"]
    assert r"\|" in shown["text/markdown"]


# The plot


def total(axes: Any) -> float:
    """Of all bars."""
    return float(sum(bar.get_height() for bar in axes.patches))


PNG = b"\x89PNG\r\n\x1a\n"


async def test_the_plot_is_a_static_picture_of_each_day_and_model(report: UsageReport) -> None:
    figure = report.plot()
    requests, tokens, cost = figure.axes
    heights = {
        container.get_label(): [bar.get_height() for bar in container] for container in requests.containers
    }
    assert heights == {
        "openai:gpt-4o": [1, 1],
        "llamacpp:smollm2:135m": [0, 2],
        "groq:mystery": [0, 1],
        "kept answers": [0, 1],
    }
    assert total(tokens) == 1_004_500
    assert total(cost) == pytest.approx(0.025)
    assert "1 requests have no known price" in cost.get_title("left")
    shown = figure._repr_png_()  # type: ignore[attr-defined]  # what IPython asks
    assert shown.startswith(PNG)
    assert len(shown) > 5_000


def test_days_without_calls_are_in_the_plot_and_rare_models_share_a_colour() -> None:
    rows = tuple(
        UsageRow(f"p:model{number}", "2026-01-01" if number % 2 else "2026-03-01", requests=20 - number)
        for number in range(9)
    )
    figure = UsageReport("model", (), rows).plot()
    labels = [container.get_label() for container in figure.axes[0].containers]
    assert labels == [*(f"p:model{number}" for number in range(5)), "other models"]
    assert {len(container) for container in figure.axes[0].containers} == {60}
    figure.savefig(io.BytesIO())


def test_a_plot_of_nothing_says_so() -> None:
    figure = UsageReport("model", ()).plot()
    assert [text.get_text() for text in figure.texts] == ["no calls so far"]
    free = UsageReport("model", (), (UsageRow("a:b", "2026-01-01", requests=1),)).plot()
    assert [text.get_text() for text in free.axes[2].texts] == ["none"]
    unknown = UsageReport("model", (), (UsageRow("a:b", "2026-01-01", requests=1, unpriced=1),)).plot()
    assert [text.get_text() for text in unknown.axes[2].texts] == ["unknown"]


def test_without_pandas_or_matplotlib_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    report = UsageReport("model", (UsageRow("a:b", requests=1),))
    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match="pip install pandas"):
        report.to_dataframe()
    with pytest.raises(MissingExtraError, match="pip install matplotlib"):
        report.plot()


def test_importing_it_loads_neither() -> None:
    program = (
        "import sys, farm_notebook.reports\n"
        "assert not {'pandas', 'matplotlib', 'numpy', 'rich.table'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# Calls


@pytest.fixture
async def calls(history: History) -> HistoryReport:
    """A call that went well, a kept one, a failed one, one that was left, and one that asks for a tool."""
    tool = ToolCall("1", "weather", "{}")
    for number, record in enumerate(
        (
            RECORD,
            replace(RECORD, is_cached=True, cost=0.0),
            replace(
                RECORD, error="RateLimitedError", problem="too many", is_taken=False, cost=None, texts=()
            ),
            replace(RECORD, error="cancelled", cost=None, texts=("Par",), usage=Usage()),
            replace(RECORD, ref=LOCAL, cost=None, texts=(), tool_calls=(tool,)),
        )
    ):
        history.record(replace(record, at=NOW + 60 * number))
    return await history_report(history)


async def test_calls_are_lines_newest_first_with_what_came_of_them(calls: HistoryReport) -> None:
    lines = [line.split("  ") for line in str(calls).splitlines()[1:]]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert [(line[0], line[2], line[4:]) for line in cells] == [
        ("5", "llamacpp:smollm2:135m", ["(calls weather)", "500", "unknown"]),
        ("4", "openai:gpt-4o", ["(cancelled) Par", "-", "unknown"]),
        ("3", "openai:gpt-4o", ["(RateLimitedError) too many", "500", "-"]),
        ("2", "openai:gpt-4o", ["Paris", "500", "cached"]),
        ("1", "openai:gpt-4o", ["Paris", "500", "$0.0125"]),
    ]
    assert "| What is the capital of France? | Paris |" in calls._repr_mimebundle_()["text/markdown"]


async def test_a_report_of_calls_is_a_sequence_of_them(calls: HistoryReport) -> None:
    assert len(calls) == 5
    assert calls[-1].text == "Paris"
    assert [call.id for call in calls[:2]] == [5, 4]
    assert [call.id for call in calls] == [5, 4, 3, 2, 1]


async def test_a_frame_of_calls_has_their_figures_and_times(calls: HistoryReport) -> None:
    frame = calls.to_dataframe()
    assert [*frame["id"]] == [5, 4, 3, 2, 1]
    assert {"question", "text", "input_tokens", "first_token_s", "cost"} <= {*frame.columns}
    assert frame["at"].iloc[-1].timestamp() == NOW


async def test_no_such_calls_is_an_answer_too(history: History) -> None:
    assert str(await history_report(history, "nowhere")) == "No such calls."
