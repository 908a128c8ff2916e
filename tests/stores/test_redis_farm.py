"""Farms of a team share kept answers, limits and budgets through a Redis server, and go on without it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis_server import RedisServer

from farm_notebook.errors import BudgetExceededError, LimitReachedError
from farm_notebook.farm import Farm

pytestmark = pytest.mark.slow


@pytest.fixture
def team(own_server: RedisServer, tmp_path: Path) -> Iterator[list[Farm]]:
    """Two machines: farms with folders of their own and one server."""
    settings: dict[str, Any] = {
        "model": "scripted:sample-5",
        "redis": {"url": own_server.url},
        "cache": {"enabled": True},
        "retry": {"attempts": 1},
        "limits": {"requests_per_minute": 3, "longest_wait_s": 0},
        "budget": {"tokens_per_day": 100},
    }
    farms = [Farm(cache_dir=tmp_path / name, **settings) for name in ("ada", "bob")]
    yield farms
    for farm in farms:
        farm.close()


def test_what_one_asked_another_has(team: list[Farm]) -> None:
    ada, bob = team
    first = ada.chat("Throw the dice.", seed=7, max_tokens=5)
    assert ada.cache_stats().entries == 1, "which waits until it is written"
    again = bob.chat("Throw the dice.", seed=7, max_tokens=5)
    assert again.cached
    assert again.text == first.text


def test_what_one_asked_counts_for_all(team: list[Farm]) -> None:
    ada, bob = team
    for farm in (ada, bob, ada):
        farm.chat("hello", max_tokens=5)
    for farm in team:
        with pytest.raises(LimitReachedError, match="requests_per_minute"):
            farm.chat("hello", max_tokens=5)


def test_what_one_spent_is_spent(team: list[Farm]) -> None:
    ada, bob = team
    ada.chat("hello", max_tokens=60)
    with pytest.raises(BudgetExceededError, match="tokens_per_day"):
        bob.chat("hello", max_tokens=97)


def test_without_the_server_each_goes_on_by_itself(
    team: list[Farm], own_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    ada, bob = team
    ada.chat("hello", max_tokens=5)
    own_server.kill()
    with caplog.at_level(logging.WARNING, "farm_notebook"):
        for number in range(2):
            assert ada.chat(f"hello {number}", max_tokens=5, temperature=0).text
            assert bob.chat(f"hello {number}", max_tokens=5, temperature=0).text
        with pytest.raises(LimitReachedError):
            ada.chat("hello", max_tokens=5)
    told = [record.getMessage() for record in caplog.records]
    # Each says so once. Whether its connection was reset or a new one refused is a matter of luck.
    kept = [message for message in told if message.endswith("Answers are not kept there until it can be.")]
    counted = [
        message for message in told if message.endswith("Until it can be, each process counts for itself.")
    ]
    assert (len(kept), len(counted)) == (len(team), len(team)), told
    assert len(told) == len(kept) + len(counted), told
