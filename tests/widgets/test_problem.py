"""What is told of an error: ours has a title, no secret is told, and a foreign one is one line."""

from __future__ import annotations

import logging

import pytest

from farm_notebook import errors
from farm_notebook.widgets.problem import LONGEST_LINE, TITLES, Problem, problem_of


def same(text: str) -> str:
    return text


def masked(text: str) -> str:
    return text.replace("sk-secret", "***")


def test_every_title_is_of_one_kind_of_error() -> None:
    assert len(set(TITLES.values())) == len(TITLES)
    assert problem_of(errors.FarmError("x"), same).title == TITLES[errors.FarmError]


def test_an_error_keeps_its_words() -> None:
    error = errors.ModelNotFoundError("There is no model 'x'. There are 'y' and 'z'.")
    assert problem_of(error, same) == Problem("There is no such model", str(error))


def test_a_command_at_the_end_is_the_fix() -> None:
    error = errors.MissingExtraError('It needs x. Run: pip install "farm-notebook[x]"')
    assert problem_of(error, same) == Problem(
        "A package is missing", "It needs x.", 'pip install "farm-notebook[x]"'
    )


def test_an_error_of_a_class_that_is_not_known_has_its_parents_title() -> None:
    class Special(errors.RateLimitedError):
        pass

    assert problem_of(Special("wait"), same).title == TITLES[errors.RateLimitedError]


def test_a_foreign_error_is_one_short_line_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        told = problem_of(KeyError("a\nb" * 400), same)
    assert told.message.startswith("KeyError: ")
    assert "\n" not in told.message
    assert len(told.message) == LONGEST_LINE
    assert "A panel's call failed" in caplog.text


@pytest.mark.parametrize(
    "error", [errors.ProviderError("sk-secret is bad. Run: x sk-secret"), ValueError("sk-secret")]
)
def test_a_secret_is_neither_told_nor_logged(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise error
    except (errors.ProviderError, ValueError) as raised:
        told = problem_of(raised, masked)
    assert "***" in told.message
    assert "sk-secret" not in f"{told}{caplog.text}"
