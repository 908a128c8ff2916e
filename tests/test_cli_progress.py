"""The line of progress on a terminal's stderr: what it says, and that it leaves."""

from __future__ import annotations

import io
import re
import sys
from typing import Any

import pytest

from farm_notebook.cli.terminal import ProgressLine
from farm_notebook.types import (
    Event,
    LoadProgress,
    ModelRef,
    Queued,
    Rerouted,
    Retrying,
    Routed,
    Started,
    TextDelta,
)

REF, OTHER = ModelRef("scripted", "echo"), ModelRef("far", "away")
HOSTILE = "refused [/bold]\x1b]0;title\x07\n\x1b[2J"


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def look(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """A terminal on stderr; not a fixture, because pytest sets stderr anew when a test begins."""
    for name in ("TERM", "NO_COLOR", "TTY_INTERACTIVE", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    made = Screen()
    monkeypatch.setattr(sys, "stderr", made)
    return made


def drawn(line: ProgressLine) -> str:
    """What stands on the line now; empty where there is none."""
    bar: Any = line._bar
    if bar is None:
        return ""
    (task,) = bar.tasks
    return f"{task.description} {task.fields['amount']}".strip()


def test_who_is_asked_and_what_is_waited_for_is_told_until_the_first_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = look(monkeypatch)
    steps: list[tuple[Event, str]] = [
        (
            Queued(REF, "limits.requests_per_minute of scripted", 12.42),
            "waiting 12.4 s for limits.requests_per_minute of scripted",
        ),
        (Queued(REF, "limits.concurrency of scripted", 0.0), "waiting for limits.concurrency of scripted"),
        (Started(REF), ""),
        (Rerouted(REF, OTHER, "connection refused"), "scripted:echo: connection refused; asking far:away"),
        (Started(OTHER), "scripted:echo: connection refused; asking far:away"),
        (LoadProgress("load", 0), "loading the model"),
        (
            LoadProgress("load", 0, 270_000_000, "cuda:0", 3_100_000_000),
            "loading the model 270.0 MB to cuda:0, where 3.1 GB are free",
        ),
        (LoadProgress("load", 27_000_000, 270_000_000), "loading the model 27.0 MB of 270.0 MB"),
        (Started(OTHER), ""),
        (Retrying(OTHER, "it is busy", 0.5), "waiting to ask again 0.5 s: it is busy"),
        (Rerouted(OTHER, REF, "it is busy"), "far:away: it is busy; asking scripted:echo"),
        (TextDelta("Hi"), ""),
    ]
    with ProgressLine() as line:
        for event, said in steps:
            line.show(event)
            assert drawn(line) == said
    assert "connection refused" in screen.getvalue()


def test_why_a_model_was_chosen_stays_on_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = look(monkeypatch)
    with ProgressLine() as line:
        line.show(Routed(REF, "no other model is here"))
        line.show(TextDelta("Hi"))
    assert "asking scripted:echo: no other model is here" in screen.getvalue()
    assert screen.getvalue().endswith("\n")


@pytest.mark.parametrize(
    "event", [Routed(REF, HOSTILE), Rerouted(REF, OTHER, HOSTILE), Retrying(REF, HOSTILE, 1.0)]
)
def test_a_server_cannot_steer_the_terminal(event: Event, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = look(monkeypatch)
    with ProgressLine() as line:
        line.show(event)
    assert "refused [/bold]" in screen.getvalue()
    assert "\x1b]0" not in screen.getvalue()
    assert "\x1b[2J" not in screen.getvalue()
    assert not re.search("\x07", screen.getvalue())


def test_where_nobody_looks_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.StringIO()
    monkeypatch.setattr(sys, "stderr", pipe)
    with ProgressLine() as line:
        for event in (Routed(REF, "why"), Rerouted(REF, OTHER, "refused"), Queued(REF, "limits.x", 1.0)):
            line.show(event)
    assert pipe.getvalue() == ""
