"""A view counts until it says goodbye, or has been silent for too long."""

from __future__ import annotations

from farm_notebook.widgets.views import GONE_S, Views


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_shown_is_what_any_view_shows() -> None:
    views = Views(clock=Clock())
    views.heard("a", ["chat"])
    views.heard("b", ["gpu", "health"])
    assert views.shown() == {"chat", "gpu", "health"}
    views.heard("b", [])
    assert views.shown() == {"chat"}
    assert len(views) == 2


def test_a_view_that_left_shows_nothing() -> None:
    views = Views(clock=Clock())
    views.heard("a", ["chat"])
    views.left("a")
    views.left("never there")
    assert (views.shown(), len(views)) == (frozenset(), 0)


def test_a_view_that_fell_silent_is_gone() -> None:
    clock = Clock()
    views = Views(clock=clock)
    views.heard("a", ["chat"])
    clock.now += GONE_S - 1
    assert views.shown() == {"chat"}
    views.heard("a", ["chat"])
    clock.now += GONE_S - 1
    assert views.shown() == {"chat"}
    clock.now += 1
    assert (views.shown(), len(views)) == (frozenset(), 0)
