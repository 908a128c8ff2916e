"""The far side of each HTTP provider, for the tests of faults, odd answers, early leaving and secrets."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from faulty_server import serving

from farm_notebook import loop
from faults.dialects import DIALECTS, KEY, Dialect
from faults.far_side import FarSide, until

_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "OLLAMA_URL", "OLLAMA_HOST", "OPENAI_BASE_URL")


@pytest.fixture
def dialect(request: pytest.FixtureRequest) -> Dialect:
    """One HTTP provider's way to speak."""
    found: Dialect = request.param
    return found


@pytest.fixture
def far(dialect: Dialect, no_leaks: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[FarSide]:
    """The far side of a dialect. At the end no socket leads there and no thread is left."""
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("OPENAI_API_KEY", "GROQ_API_KEY"):
        monkeypatch.setenv(name, KEY)
    monkeypatch.setenv("FARM_RETRY__ATTEMPTS", "1")  # a fault is looked at as it is
    loop.run_blocking(asyncio.sleep(0))  # the farm's own thread is no leak
    threads = set(threading.enumerate())
    with serving() as server:
        far = FarSide(dialect, server)
        yield far
        far.close()
        assert until(lambda: not far.open_connections()), f"open: {far.open_connections()}"
    left = {thread.name for thread in set(threading.enumerate()) - threads}
    assert not {name for name in left if not name.startswith("asyncio_")}  # the loop's, to look up host names


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What takes a dialect, or the far side of one, is run for all unless it says for which."""
    marked = any("dialect" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if "dialect" in metafunc.fixturenames and not marked:
        metafunc.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name, indirect=True)
