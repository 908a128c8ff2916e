"""What happened to a model by itself is told once, with the next answer of it."""

from __future__ import annotations

import re
import time

import pytest

from farm_notebook.notebook.news import News
from farm_notebook.types import ModelEvent, ModelRef

REF = ModelRef("huggingface", "./ckpt")
OTHER = ModelRef("huggingface", "./other")
START = time.time()  # times of day are shown, and a day's end would show the day, too

RENEWED = ModelEvent(REF, "ready", "reloading", START + 1, 3)
REFUSED = ModelEvent(REF, "ready", "reloading", START + 2, 3, "not reloaded: It is torn.")
DIED = ModelEvent(REF, "failed", "ready", START + 3, None, "Its process died. It is started again.")
GONE = ModelEvent(REF, "failed", "reloading", START + 4, None, "not reloaded: Nothing of it is left.")


def news() -> News:
    return News(clock=lambda: START)


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (RENEWED, r"huggingface:./ckpt was loaded anew at [\d :-]+ \(generation 3\)\."),
        (REFUSED, r"huggingface:./ckpt was not loaded anew at [\d :-]+: It is torn; generation 3 goes on\."),
        (DIED, r"huggingface:./ckpt failed at [\d :-]+: Its process died\. It is started again\."),
        (GONE, r"huggingface:./ckpt was not loaded anew at [\d :-]+: Nothing of it is left\."),
    ],
)
def test_what_happened_is_one_sentence(event: ModelEvent, said: str) -> None:
    assert re.fullmatch(said, news().of(REF, [event], until=START + 9))


@pytest.mark.parametrize(
    "event",
    [
        ModelEvent(REF, "ready", "loading", START + 1, 1),
        ModelEvent(REF, "failed", "loading", START + 1, None, "torn"),  # whoever loaded it was told
        ModelEvent(REF, "ready", "reloading", START + 1, 2, "not reloaded: it was stopped"),
        ModelEvent(REF, "draining", "ready", START + 1),
        ModelEvent(REF, "absent", "unloading", START + 1),
    ],
)
def test_what_its_user_made_happen_is_no_news(event: ModelEvent) -> None:
    assert news().of(REF, [event], until=START + 9) == ""


def test_it_is_told_once_and_the_last_of_it() -> None:
    told = news()
    assert "not loaded anew" in told.of(REF, [RENEWED, REFUSED], until=START + 9)
    assert told.of(REF, [RENEWED, REFUSED], until=START + 10) == ""


def test_what_happened_during_the_answer_is_told_with_the_next() -> None:
    told = news()
    assert told.of(REF, [RENEWED], until=START + 0.5) == ""
    assert "was loaded anew" in told.of(REF, [RENEWED], until=START + 2)


def test_each_model_has_its_own_news() -> None:
    told = news()
    assert told.of(OTHER, [RENEWED], until=START + 9) == ""
    assert "was loaded anew" in told.of(REF, [RENEWED], until=START + 9)


def test_what_was_before_or_is_known_already_is_not_told() -> None:
    told = News(clock=lambda: START + 5)
    assert told.of(REF, [RENEWED], until=START + 9) == ""
    told = News(clock=lambda: START + 1.5)
    told.skip(REF)
    assert told.of(REF, [RENEWED], until=START + 9) == ""
