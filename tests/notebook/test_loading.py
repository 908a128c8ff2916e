"""How far a load is, in words; and what the line says when it has ended, failed or was stopped."""

from __future__ import annotations

from collections.abc import Generator
from types import SimpleNamespace
from typing import Any

import pytest

from farm_notebook.errors import LoadError
from farm_notebook.notebook import status
from farm_notebook.notebook.loading import follow
from farm_notebook.progress import LoadSteps
from farm_notebook.types import LoadProgress

GB = 1_000_000_000
MB = 1_000_000


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (
            LoadProgress("load", 0, 270 * MB, "cpu", 3_100 * MB),
            "Loading a:b: 270.0 MB to cpu, where 3.1 GB are free",
        ),
        (LoadProgress("load", 0, 16 * GB, "cuda:0, cuda:1"), "Loading a:b: 16.0 GB to cuda:0, cuda:1"),
        (LoadProgress("load", 0, 270 * MB), "Loading a:b: 270.0 MB"),
        (LoadProgress("load", 0), "Loading a:b …"),
        (LoadProgress("load", 27 * MB, 270 * MB), "Loading a:b … 27 of 270 MB (10%)"),
        (LoadProgress("fetch", 0, 16 * GB), "Fetching a:b … 0.0 of 16.0 GB (0%)"),
        (LoadProgress("fetch", 5 * MB), "Fetching a:b … 5.0 MB"),
        (LoadProgress("verify", 200_000, 400_000), "Verifying a:b … 200 of 400 kB (50%)"),
        (LoadProgress("verify", 400, 400), "Verifying a:b … 0 of 0 kB (100%)"),
    ],
)
def test_a_step_says_what_goes_where_and_how_much_of_it_is_done(step: LoadProgress, said: str) -> None:
    assert LoadSteps("a:b").describe(step) == said


def test_where_it_goes_to_is_told_until_it_is_there() -> None:
    steps = LoadSteps("a:b")
    steps.describe(LoadProgress("load", 0, 4 * MB, "cuda:1", 9 * MB))
    assert steps.describe(LoadProgress("load", MB, 4 * MB)) == "Loading a:b to cuda:1 … 1 of 4 MB (25%)"


def test_the_speed_is_of_this_stage_and_shown_once_it_is_steady() -> None:
    clock = Clock()
    steps = LoadSteps("a:b", clock=clock)
    steps.describe(LoadProgress("fetch", 50 * MB, 100 * MB))  # half of it was there from an earlier try
    clock.now += 0.5
    assert "/s" not in steps.describe(LoadProgress("fetch", 60 * MB, 100 * MB))
    clock.now += 1.5
    assert steps.describe(LoadProgress("fetch", 90 * MB, 100 * MB)).endswith(" (90%), 20.0 MB/s")
    assert "/s" not in steps.describe(LoadProgress("verify", 10 * MB, 100 * MB))
    clock.now += 2
    assert steps.describe(LoadProgress("verify", 100 * MB, 100 * MB)).endswith(", 45.0 MB/s")


def test_a_stage_that_begins_again_has_a_speed_of_its_own() -> None:
    clock = Clock()
    steps = LoadSteps("a:b", clock=clock)
    steps.describe(LoadProgress("load", 90 * MB, 100 * MB))
    clock.now += 5
    steps.describe(LoadProgress("load", 10 * MB, 100 * MB))  # the base is there, and the next file begins
    clock.now += 1
    assert steps.describe(LoadProgress("load", 20 * MB, 100 * MB)).endswith(", 10.0 MB/s")


class Line:
    """Stands in for the cell's line."""

    def __init__(self, shell: object) -> None:
        self.log = LOG

    def show(self, text: str) -> None:
        self.log.append(("show", text))

    def end(self, text: str) -> None:
        self.log.append(("end", text))

    def discard(self) -> None:
        self.log.append(("discard", ""))


LOG: list[tuple[str, str]] = []


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    LOG.clear()
    monkeypatch.setattr(status, "StatusLine", Line)
    return LOG


def loading(error: BaseException | None = None) -> Generator[LoadProgress, None, None]:
    yield LoadProgress("load", 1, 2)
    if error is not None:
        raise error


def followed(error: BaseException | None = None, *, left: str = "") -> None:
    shell: Any = SimpleNamespace()
    follow(shell, "a:b", loading(error), outcome=lambda took_s: "It is there.", left=lambda: left)


def test_the_line_ends_with_the_outcome(log: list[tuple[str, str]]) -> None:
    followed()
    assert [what for what, _ in log] == ["show", "end"]
    assert log[-1] == ("end", "It is there.")


def test_after_a_failure_it_says_what_is_left_or_nothing(log: list[tuple[str, str]]) -> None:
    for left, last in (("The old one answers.", "end"), ("", "discard")):
        with pytest.raises(LoadError, match="torn"):
            followed(LoadError("torn"), left=left)
        assert log[-1] == (last, left)


def test_after_an_interrupt_the_error_says_what_is_left(log: list[tuple[str, str]]) -> None:
    with pytest.raises(KeyboardInterrupt) as caught:
        followed(KeyboardInterrupt(), left="The old one answers.")
    assert str(caught.value) == "You stopped it. The old one answers."
    assert caught.value.__cause__ is None
    assert log[-1] == ("discard", "")
    with pytest.raises(KeyboardInterrupt, match=r"^You stopped it\.$"):
        followed(KeyboardInterrupt())
