"""Every provider keeps the contract; a new one adds one entry to ``subjects``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from contract import ProviderContract, Subject, recorded_io
from subjects import MARKS, SUBJECTS


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=MARKS.get(name, [])) for name in SUBJECTS],
)
def subject(request: pytest.FixtureRequest, no_leaks_in_module: None) -> Iterator[Subject]:
    with SUBJECTS[request.param](request) as subject:
        yield subject


class TestContract(ProviderContract):
    """The shared suite, for each of ``SUBJECTS``."""


def test_the_recorder_of_io_sees_io() -> None:
    with recorded_io() as events:
        open(__file__).close()
    assert len(events) == 1
    assert __file__ in events[0]
