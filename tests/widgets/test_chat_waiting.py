"""What is told of an answer until it begins."""

from __future__ import annotations

import pytest

from farm_notebook.types import (
    Event,
    Finished,
    LoadProgress,
    ModelRef,
    PromptProgress,
    Queued,
    ReasoningDelta,
    Rerouted,
    Retrying,
    Routed,
    Started,
    TextDelta,
)
from farm_notebook.widgets.chat.waiting import waiting_note

A, B = ModelRef("toy", "a"), ModelRef("toy", "b")


@pytest.mark.parametrize(
    ("event", "note"),
    [
        (TextDelta("x"), ""),
        (ReasoningDelta("x"), ""),
        (Routed(A, "it is at hand"), "Asking toy:a: it is at hand"),
        (Routed(A, ""), None),
        (Rerouted(A, B, "busy\nnow"), "toy:a: busy now; asking toy:b"),
        (Queued(A, "its turn", 12.3), "Waiting 12 s for its turn"),
        (Queued(A, "its turn", 0.0), "Waiting for its turn"),
        (Retrying(A, "\x1b[2Joverloaded", 3.0), "Asking again in 3 s: [2Joverloaded"),
        (LoadProgress("load", 50, 200), "Loading the model 25%"),
        (LoadProgress("fetch", 50, None), "Fetching the model"),
        (PromptProgress(1_500, 20_000), "Reading the prompt, 1,500 of 20,000 tokens"),
        (Started(A), None),
        (Finished("stop"), None),
    ],
)
def test_each_event_has_its_words(event: Event, note: str | None) -> None:
    assert waiting_note(event) == note


def test_a_whole_page_of_an_error_is_one_line() -> None:
    note = waiting_note(Retrying(A, "word\n" * 1_000, 1.0))
    assert note is not None
    assert len(note) == 200
    assert note.endswith("…")
