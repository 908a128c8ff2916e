"""An error shows no secret: not in its own words, not in its notes, and not in what led to it."""

from __future__ import annotations

import traceback

import pytest

from farm_notebook.config.masking import MASK, mask_error

SECRET = "planted-0123456789"


def mask(text: str) -> str:
    return text.replace(SECRET, MASK)


class FixedWords(Exception):
    """It does not say what it was made with."""

    def __str__(self) -> str:
        return f"refused with {SECRET}"


def shown(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def after(error: BaseException, above: BaseException, *, as_cause: bool = True) -> BaseException:
    """An error as it is when it was raised from another one, or while that was handled."""
    setattr(error, "__cause__" if as_cause else "__context__", above)
    return error


def test_an_error_and_its_notes_lose_the_secrets() -> None:
    error = RuntimeError(f"Bearer {SECRET} was refused", 401)
    error.add_note(f"It was sent {SECRET}.")
    assert mask_error(error, mask)
    assert error.args == ("Bearer *** was refused", 401)
    assert SECRET not in shown(error)
    assert "It was sent ***." in shown(error)


@pytest.mark.parametrize("as_cause", [True, False], ids=["cause", "context"])
def test_what_led_to_it_is_dropped_where_it_shows_one(as_cause: bool) -> None:
    above = after(ValueError("in between"), OSError(f"no way for {SECRET}"))
    error = after(RuntimeError("failed"), above, as_cause=as_cause)
    assert SECRET in shown(error)
    assert mask_error(error, mask)
    assert SECRET not in shown(error)
    assert "failed" in shown(error)


@pytest.mark.parametrize("as_cause", [True, False], ids=["cause", "context"])
def test_what_led_to_it_and_shows_none_is_kept(as_cause: bool) -> None:
    error = after(RuntimeError("failed"), OSError("no route"), as_cause=as_cause)
    before = shown(error)
    assert mask_error(error, mask)
    assert shown(error) == before


def test_the_notes_of_what_led_to_it_count_too() -> None:
    above = OSError("no route")
    above.add_note(f"It was sent {SECRET}.")
    error = after(RuntimeError("failed"), above)
    assert mask_error(error, mask)
    assert SECRET not in shown(error)


def test_the_members_of_a_group_count_as_what_led_to_it() -> None:
    error = after(RuntimeError("failed"), ExceptionGroup("several", [OSError(f"no way for {SECRET}")]))
    assert mask_error(error, mask)
    assert SECRET not in shown(error)


def test_errors_that_led_to_each_other_are_looked_at_once() -> None:
    one, other = RuntimeError("one"), RuntimeError("other")
    one.__cause__, other.__cause__ = other, one
    assert mask_error(one, mask)


def test_one_that_does_not_say_what_it_was_made_with_is_told_as_such() -> None:
    assert not mask_error(FixedWords(), mask)
