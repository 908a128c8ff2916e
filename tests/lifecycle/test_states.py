"""The life of a model as a state machine, and the record of it."""

from __future__ import annotations

import itertools
from typing import get_args

import pytest

from farm_notebook.lifecycle.states import KEPT_EVENTS, TRANSITIONS, Journal, StateMachine
from farm_notebook.types import ModelEvent, ModelRef, ModelState

REF = ModelRef("toy", "a")
WAY: dict[ModelState, tuple[ModelState, ...]] = {  # to each state
    "absent": (),
    "loading": ("loading",),
    "ready": ("loading", "ready"),
    "reloading": ("loading", "ready", "reloading"),
    "draining": ("loading", "ready", "draining"),
    "unloading": ("loading", "ready", "draining", "unloading"),
    "aside": ("loading", "ready", "draining", "unloading", "aside"),
    "failed": ("loading", "failed"),
}


def at(state: ModelState, journal: Journal | None = None) -> StateMachine:
    machine = StateMachine(REF, journal or Journal())
    for step in WAY[state]:
        machine.to(step)
    return machine


def test_every_state_has_its_transitions() -> None:
    assert set(TRANSITIONS) == set(get_args(ModelState))
    assert set().union(*TRANSITIONS.values()) == set(get_args(ModelState))


@pytest.mark.parametrize(("before", "state"), [*itertools.product(TRANSITIONS, TRANSITIONS)])
def test_only_the_transitions_that_are_written_down_are_taken(before: ModelState, state: ModelState) -> None:
    machine = at(before)
    if state in TRANSITIONS[before]:
        machine.to(state)
        assert machine.state == state
        return
    with pytest.raises(RuntimeError, match=f"toy:a is {before} and cannot become {state}; only "):
        machine.to(state)
    assert machine.state == before


@pytest.mark.parametrize("state", [state for state in TRANSITIONS if state != "absent"])
def test_from_every_state_a_way_leads_back_to_absent(state: ModelState) -> None:
    seen = {state}
    while "absent" not in seen:
        further = seen.union(*(TRANSITIONS[each] for each in seen))
        assert further != seen
        seen = further


def test_a_step_is_told_with_where_it_came_from_and_why() -> None:
    journal = Journal(clock=lambda: 12.5)
    told: list[ModelEvent] = []
    journal.listen(told.append)
    machine = at("reloading", journal)
    machine.to("ready", generation=7, detail="not reloaded: why")
    assert told[-1] == ModelEvent(REF, "ready", "reloading", 12.5, 7, "not reloaded: why")
    assert machine.detail == "not reloaded: why"
    assert journal.events() == tuple(told)


def test_the_journal_keeps_the_last_events_only() -> None:
    journal = Journal()
    for number in range(KEPT_EVENTS + 3):
        journal.add(REF, "ready", "loading", generation=number)
    events = journal.events()
    assert [event.generation for event in events] == list(range(3, KEPT_EVENTS + 3))


def test_a_listener_that_left_is_told_nothing_more() -> None:
    journal = Journal()
    told: list[ModelEvent] = []
    leave = journal.listen(told.append)
    leave()
    leave()
    journal.add(REF, "loading", "absent")
    assert told == []


def test_a_listener_may_leave_while_it_is_told() -> None:
    journal = Journal()
    told: list[str] = []

    def once(event: ModelEvent) -> None:
        told.append("once")
        leave()

    leave = journal.listen(once)
    journal.listen(lambda event: told.append("other"))
    journal.add(REF, "loading", "absent")
    journal.add(REF, "ready", "loading")
    assert told == ["once", "other", "other"]


def test_a_listener_that_fails_is_logged_and_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal()
    told: list[ModelEvent] = []
    journal.listen(lambda event: 1 // 0)
    journal.listen(told.append)
    at("ready", journal)
    assert [event.state for event in told] == ["loading", "ready"]
    assert "A listener to the models' events failed" in caplog.text
