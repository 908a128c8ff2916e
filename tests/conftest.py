"""What every test may use: the embedded model, a farm on it, and the proof that nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, settings

from farm_notebook import loop
from farm_notebook.config import load_config
from farm_notebook.farm import Farm
from farm_notebook.providers.scripted import ScriptedProvider
from farm_notebook.weights.catalog import CATALOG
from farm_notebook.weights.fetch import fetch, local_path

pytest.register_assert_rewrite("contract", "running", "saved", "store_contract")

# Tests ask a question twice and expect two answers, and what they ask is nobody's history; those of the cache
# and of the history switch them on, in folders of their own.
os.environ["FARM_CACHE__ENABLED"] = "false"
os.environ["FARM_HISTORY__ENABLED"] = "false"
# Nor does the developer's own farm.toml reach a test.
os.environ["XDG_CONFIG_HOME"] = tempfile.mkdtemp(prefix="farm-tests-config-")

# A shell that starts something in the background has it ignore Ctrl-C, and everything that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes tells how busy the machine is.
settings.register_profile("farm", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("farm")

EMBEDDED = "smollm2:135m"
SOON_S = 20.0  # far more than anything here takes
LET_GO_S = 3.0  # from a close to the last of its tasks and processes


@pytest.fixture(scope="session")
def embedded_file() -> Path:
    """The embedded model's file in the cache folder (``FARM_CACHE_DIR``), fetched if it is not there."""
    model, config = CATALOG[EMBEDDED], load_config()

    async def bring() -> None:
        async for _ in fetch(model, config):
            pass

    loop.run_blocking(bring())
    return local_path(model, config)


@pytest.fixture(scope="session")
def embedded_model(embedded_file: Path) -> str:
    """The full name of the embedded model, which is on this machine."""
    return f"llamacpp:{EMBEDDED}"


@pytest.fixture(scope="session")
def embedded_farm(embedded_model: str) -> Iterator[Farm]:
    """One farm for the whole session, its embedded model loaded; ``embedded_farm.core`` is the async one."""
    with _nothing_left():
        farm = Farm(model=embedded_model)
        for _ in farm.load():
            pass
        yield farm
        farm.close()


@pytest.fixture
def no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a llama.cpp child or a task on the farm's loop that was not there before."""
    if "embedded_farm" in request.fixturenames:  # an earlier test may have closed or killed it
        for _ in request.getfixturevalue("embedded_farm").load():
            pass
    with _nothing_left():
        yield


@pytest.fixture
def no_stream_is_left_open() -> Iterator[None]:
    """Fail a test that leaves a stream of the scripted provider open."""
    assert ScriptedProvider.open_streams == 0
    yield
    give_up_at = time.monotonic() + SOON_S
    while ScriptedProvider.open_streams and time.monotonic() < give_up_at:
        time.sleep(0.01)
    assert ScriptedProvider.open_streams == 0


@pytest.fixture(scope="module")
def no_leaks_in_module() -> Iterator[None]:
    """The same as ``no_leaks``, for what a whole module shares."""
    with _nothing_left():
        yield


@pytest.fixture(scope="session")
def llamacpp_children() -> Callable[[], set[int]]:
    """A function: the process ids of the llama.cpp children of this process."""
    return _children


@contextmanager
def _nothing_left() -> Iterator[None]:
    children, tasks = _children(), _farm_tasks()
    yield
    give_up_at = time.monotonic() + LET_GO_S
    while (new := (_children() - children, _farm_tasks() - tasks)) != (set(), set()):
        if time.monotonic() > give_up_at:
            pytest.fail(f"left behind: llama.cpp children {new[0] or 'none'}, tasks {new[1] or 'none'}")
        time.sleep(0.05)


def _children() -> set[int]:
    found = set()
    for process in psutil.Process().children():
        try:
            if any(Path(word).parts[-2:] == ("llamacpp", "child.py") for word in process.cmdline()):
                found.add(process.pid)
        except psutil.NoSuchProcess:  # also one that ended and waits to be reaped
            continue
    return found


def _farm_tasks() -> set[asyncio.Task[Any]]:
    async def others() -> set[asyncio.Task[Any]]:
        return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}

    return loop.run_blocking(others())
