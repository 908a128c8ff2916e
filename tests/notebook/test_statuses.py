"""What a model is doing, in words."""

from __future__ import annotations

import time

import pytest

from farm_notebook.notebook.statuses import (
    EVENT_COLUMNS,
    STATUS_COLUMNS,
    clock_time,
    event_row,
    facts,
    status_row,
)
from farm_notebook.types import ModelEvent, ModelRef, ModelStatus

REF = ModelRef("huggingface", "./ckpt")
DAY_S = 86_400.0


def cell(status: ModelStatus, column: str) -> str:
    row = status_row(status)
    assert len(row) == len(STATUS_COLUMNS)
    return row[STATUS_COLUMNS.index(column)]


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
    assert cell(status, "use") == use


def test_what_nobody_can_tell_is_a_dash() -> None:
    status = ModelStatus(REF, "failed", detail="torn")
    assert status_row(status) == (str(REF), "failed", "-", "-", "-", "-", "-", "torn")
    assert facts(status) == ""


def test_a_model_on_several_devices_names_them_all() -> None:
    status = ModelStatus(REF, "ready", 3, 16_100_000_000, ("cuda:0", "cuda:1"), is_pinned=True)
    assert cell(status, "where") == "cuda:0, cuda:1"
    assert facts(status) == "16.1 GB on cuda:0, cuda:1, pinned"


def test_a_step_shows_both_states_where_they_differ() -> None:
    row = event_row(ModelEvent(REF, "ready", "loading", time.time(), 3))
    assert dict(zip(EVENT_COLUMNS, row, strict=True))["state"] == "loading → ready"
    assert event_row(ModelEvent(REF, "ready", "ready", time.time(), detail="why"))[2:] == (
        "ready",
        "-",
        "why",
    )


def test_the_day_is_shown_where_it_is_not_today() -> None:
    then = time.time() - 2 * DAY_S
    assert clock_time(then) == time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(then))
    now = time.time()
    shown = clock_time(now)
    assert time.strftime("%H:%M:%S", time.localtime(now)) in shown
