"""A key is what it is when a request is made; the files are looked through once in a while."""

from __future__ import annotations

from pathlib import Path

import pytest

from farm_notebook.config import FarmConfig, load_config
from farm_notebook.providers.keys import BELIEVED_S, ServerKey

VARIABLE = "FARM_TEST_SERVER_KEY"


class Clock:
    """Seconds, moved by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FarmConfig:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)
    return load_config({})


def test_without_a_variable_there_is_no_key(config: FarmConfig) -> None:
    assert ServerKey(None, config)() == ""


def test_what_the_environment_holds_counts_at_once(
    config: FarmConfig, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(".env").write_text(f"{VARIABLE}=of-the-file\n")
    key = ServerKey(VARIABLE, config, clock=clock)
    assert key() == "of-the-file"
    for value in ("first", " second "):
        monkeypatch.setenv(VARIABLE, value)
        assert key() == value.strip()
    monkeypatch.delenv(VARIABLE)
    assert key() == "of-the-file"


def test_what_a_file_holds_is_believed_for_a_moment(config: FarmConfig, clock: Clock) -> None:
    key = ServerKey(VARIABLE, config, clock=clock)
    assert key() == ""
    Path(".env").write_text(f"{VARIABLE}=of-the-file\n")
    clock.now += BELIEVED_S / 2
    assert key() == ""
    clock.now += BELIEVED_S / 2
    assert key() == "of-the-file"
