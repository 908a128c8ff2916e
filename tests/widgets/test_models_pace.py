"""The pace of a transfer: its speed of late, and what remains."""

from __future__ import annotations

import pytest

from farm_notebook.widgets.models.pace import WINDOW_S, Pace


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pace(clock: Clock) -> Pace:
    return Pace(clock=clock)


def test_at_first_nothing_is_said(pace: Pace) -> None:
    assert (pace.bytes_per_s, pace.remaining_s(100)) == (None, None)
    pace.add("fetch", 10)
    assert (pace.bytes_per_s, pace.remaining_s(100)) == (None, None)


def test_the_rest_takes_as_long_as_the_speed_says(pace: Pace, clock: Clock) -> None:
    pace.add("fetch", 0)
    clock.now += 2
    pace.add("fetch", 200)
    assert (pace.bytes_per_s, pace.remaining_s(1_000)) == (100.0, 8.0)
    assert pace.remaining_s(None) is None
    assert pace.remaining_s(100) == 0


def test_what_was_long_ago_counts_no_more(pace: Pace, clock: Clock) -> None:
    pace.add("fetch", 0)
    for _ in range(20):
        clock.now += 1
        pace.add("fetch", 0)
    for step in range(1, 8):
        clock.now += 1
        pace.add("fetch", 100 * step)
    assert pace.bytes_per_s == pytest.approx(100.0, rel=0.01)


def test_a_transfer_that_stands_still_slows_down(pace: Pace, clock: Clock) -> None:
    pace.add("fetch", 0)
    clock.now += 1
    pace.add("fetch", 100)
    clock.now += 9
    assert pace.bytes_per_s == 10.0


def test_one_that_has_not_moved_has_no_end(pace: Pace, clock: Clock) -> None:
    pace.add("fetch", 50)
    clock.now += WINDOW_S
    pace.add("fetch", 50)
    assert (pace.bytes_per_s, pace.remaining_s(100)) == (0.0, None)


def test_another_stage_begins_anew(pace: Pace, clock: Clock) -> None:
    pace.add("fetch", 0)
    clock.now += 1
    pace.add("fetch", 1_000_000)
    pace.add("load", 0)
    clock.now += 1
    pace.add("load", 10)
    assert pace.bytes_per_s == 10.0
