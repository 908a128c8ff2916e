"""The panel of usage in the kernel: the report of the history, for the period that was chosen."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any, cast

import pytest

from farm_notebook.config import FarmConfig
from farm_notebook.errors import InvalidRequestError
from farm_notebook.farm import Farm
from farm_notebook.reports import UsageReport
from farm_notebook.stores.calls import UsageRow
from farm_notebook.widgets.usage import UsagePanel, UsagePart

from .pages import Page

ROW = UsageRow("<b>m</b>", requests=3, cached=1, input_tokens=30, output_tokens=12, cost=0.5)
DAY = UsageRow("<b>m</b>", "2026-03-01", requests=3, cached=1, input_tokens=30, output_tokens=12, cost=0.5)


def toy_farm(report: UsageReport | Exception) -> Farm:
    """A farm whose history comes to this; ``asked`` says for which periods it was asked."""

    async def usage(by: str, *, since: str | None = None) -> UsageReport:
        farm.asked.append(since)
        if isinstance(farm.report, Exception):
            raise farm.report
        return cast(UsageReport, farm.report)

    config = FarmConfig()
    farm = SimpleNamespace(core=SimpleNamespace(usage=usage, config=config), config=config)
    farm.report, farm.asked = report, []
    return cast(Farm, farm)


FULL = UsageReport("model", (ROW,), (DAY,))


def test_the_page_gets_the_figures_by_model_and_by_day(page: Page) -> None:
    UsagePanel(farm=toy_farm(FULL))
    page.look("usage")
    page.wait_until(lambda: bool(page.state.get("rows")))
    assert (page.state["rows"][0]["key"], page.state["rows"][0]["cost"]) == ("<b>m</b>", 0.5)
    assert page.state["daily"][0]["day"] == "2026-03-01"
    assert page.state["total"]["requests"] == 3
    assert "medians" in page.state["note"]


def test_a_period_that_there_is_not_is_quoted_with_the_valid_ones() -> None:
    period: Any = "7x"
    with pytest.raises(InvalidRequestError, match=r"'7x' is not valid\. Valid: '1d', '7d', '30d', 'all'\."):
        UsagePanel(farm=toy_farm(FULL), period=period)


def test_another_period_is_asked_for_at_once(page: Page) -> None:
    farm: Any = toy_farm(FULL)
    UsagePanel(farm=farm, period="1d")
    page.look()
    assert page.call("usage", "choose", period="all") is None
    assert page.state["period"] == "all"
    assert farm.asked[-1] is None
    assert page.call("usage", "choose", period="30d") is None
    assert farm.asked[-1] == "30d"


def test_a_period_that_there_is_not_is_refused(page: Page) -> None:
    UsagePanel(farm=toy_farm(FULL))
    page.look()
    error = page.call("usage", "choose", period="yesterday")
    assert error is not None
    assert "'1d', '7d', '30d' or 'all'" in error["message"]


def test_a_history_that_cannot_be_read_is_told_of(page: Page) -> None:
    UsagePanel(farm=toy_farm(InvalidRequestError("the disk is gone")))
    page.look()
    error = page.call("usage", "refresh")
    assert error is not None
    assert error["message"] == "the disk is gone"


async def test_the_static_output_holds_a_figure_and_a_table_and_is_escaped() -> None:
    part = UsagePart(toy_farm(FULL))
    await part.ready()
    markup = part.static_html()
    assert (
        '<img alt="Requests, tokens and cost by day and model" src="data:image/png;base64,iVBORw0K' in markup
    )
    assert "&lt;b&gt;m&lt;/b&gt;" in markup
    assert "<b>" not in markup
    assert "<b>m</b>" in part.static_text()
    await part.aclose()


async def test_without_matplotlib_there_is_the_table_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    part = UsagePart(toy_farm(FULL))
    await part.ready()
    assert "<img" not in part.static_html()
    assert "&lt;b&gt;m&lt;/b&gt;" in part.static_html()
    await part.aclose()


async def test_without_calls_it_says_so() -> None:
    part = UsagePart(toy_farm(UsageReport("model", ())))
    await part.ready()
    assert part.static_html() == "<p>No calls so far.</p>"
    assert part.static_text() == "No calls so far."
    await part.aclose()
