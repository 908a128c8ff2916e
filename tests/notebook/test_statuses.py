"""What a model is doing, in words."""

from __future__ import annotations

import time

import pytest

from farm_notebook.notebook.statuses import clock_time, event_table, facts, status_table
from farm_notebook.types import ModelEvent, ModelRef, ModelStatus

REF = ModelRef("huggingface", "./ckpt")
DAY_S = 86_400.0


def cells(status: ModelStatus) -> dict[str, str]:
    table = status_table([status], if_none="none")
    assert (table.values, table.note) == ((status,), "")
    return dict(zip(table.columns, *table.rows, strict=True))


@pytest.mark.parametrize(
    ("status", "use"),
    [
        (ModelStatus(REF, "ready", users=1), "1 answer"),
        (ModelStatus(REF, "ready", users=2, leases=1), "2 answers, 1 lease"),
        (ModelStatus(REF, "ready", idle_s=12.4), "idle 12 s"),
        (ModelStatus(REF, "ready", idle_s=200.0), "idle 3 min"),
        (ModelStatus(REF, "aside", idle_s=5400.0), "idle 1.5 h"),
        (ModelStatus(REF, "loading"), "-"),
    ],
)
def test_who_uses_a_model_or_since_when_nobody_does(status: ModelStatus, use: str) -> None:
    assert cells(status)["use"] == use


def test_what_nobody_can_tell_is_a_dash() -> None:
    status = ModelStatus(REF, "failed", detail="torn")
    told = {"model": str(REF), "state": "failed", "detail": "torn"}
    assert cells(status) == dict.fromkeys(("generation", "size", "where", "use", "marks"), "-") | told
    assert facts(status) == ""


def test_a_model_on_several_devices_names_them_all() -> None:
    status = ModelStatus(REF, "ready", 3, 16_100_000_000, ("cuda:0", "cuda:1"), is_pinned=True)
    assert cells(status)["where"] == "cuda:0, cuda:1"
    assert facts(status) == "16.1 GB on cuda:0, cuda:1, pinned"


def test_details_have_a_column_where_there_are_any() -> None:
    plain, failed = ModelStatus(REF, "ready"), ModelStatus(REF, "failed", detail="torn")
    assert "detail" not in status_table([plain], if_none="none").columns
    table = status_table([plain, failed], if_none="none")
    assert [row[-1] for row in table.rows] == ["", "torn"]


def test_where_there_is_none_that_is_said() -> None:
    for table in (status_table([], if_none="No model."), event_table([], if_none="No model.")):
        assert (len(table), table.note) == (0, "No model.")


def test_a_step_shows_both_states_where_they_differ() -> None:
    steps = [
        ModelEvent(REF, "ready", "loading", time.time(), 3),
        ModelEvent(REF, "ready", "ready", time.time(), detail="why"),
    ]
    table = event_table(steps, if_none="none")
    assert [row[2:] for row in table.rows] == [("loading → ready", "3", ""), ("ready", "-", "why")]


def test_the_day_is_shown_where_it_is_not_today() -> None:
    then = time.time() - 2 * DAY_S
    assert clock_time(then) == time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(then))
    now = time.time()
    shown = clock_time(now)
    assert time.strftime("%H:%M:%S", time.localtime(now)) in shown
