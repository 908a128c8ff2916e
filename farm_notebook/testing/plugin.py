"""The pytest plugin: notebooks and tests whose calls are replayed. It does nothing unless asked.

pytest imports it at every start (entry point group ``pytest11``), so that nothing but pytest is loaded here;
what options, fixtures and marks ask for is in the modules beside.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import pytest

if TYPE_CHECKING:
    from farm_notebook.farm import Farm
    from farm_notebook.testing.scripted import ScriptedFarm

__all__ = ["Mode", "mode_of", "pytest_addoption", "pytest_configure", "pytest_report_header"]

Mode: TypeAlias = Literal["replay", "record", "auto"]

_MODES: dict[Mode, str] = {
    "replay": "replay the calls of notebooks from their cassettes, NAME.farm.jsonl beside NAME.ipynb, and "
    "block all real requests",
    "record": "make the calls of notebooks and of tests with the fixture farm_replay, and record them",
    "auto": "replay what is recorded, make and record the rest",
}
_MARKS = (
    "farm_real: may ask providers for real, where that is blocked; a notebook runs without its cassette",
    "farm_cassette(file): the cassette of the fixture farm_replay, or its notebook, from the test's folder",
)
_DOES = {"replay": "replayed", "record": "recorded", "auto": "replayed, and recorded where they are missing"}
_has_passed = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, and the setting that blocks real requests."""
    group = parser.getgroup("farm", "farm_notebook: recorded answers")
    for mode, told in _MODES.items():
        group.addoption(f"--farm-{mode}", dest="farm_mode", action="store_const", const=mode, help=told)
    group.addoption(
        "--farm-strict",
        action="store_true",
        help="--farm-replay, and fail where a recorded call was never asked for",
    )
    told = "fail tests that would ask a provider for real, but for those with the mark farm_real"
    group.addoption("--farm-block-requests", action="store_true", help=told)
    parser.addini("farm_block_requests", told, type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marks, and the hooks that the options ask for."""
    for mark in _MARKS:
        config.addinivalue_line("markers", mark)
    mode, is_strict = mode_of(config), config.getoption("farm_strict")
    if is_strict and mode != "replay":
        raise pytest.UsageError(f"--farm-strict goes with --farm-replay, and not with --farm-{mode}.")
    if mode is not None:
        from farm_notebook.testing.notebooks import Notebooks

        config.pluginmanager.register(Notebooks(config, mode, is_strict=is_strict), "farm-notebooks")
    if _is_blocked(config):
        from farm_notebook.testing.blocking import Blocking

        config.pluginmanager.register(Blocking(config), "farm-blocking")


def pytest_report_header(config: pytest.Config) -> str | None:
    """What is done with calls, where it is anything."""
    mode = mode_of(config)
    told = [f"calls are {_DOES[mode]}"] if mode else []
    told += ["real requests are blocked"] if _is_blocked(config) else []
    return f"farm: {', '.join(told)}" if told else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Of a test that is not to ask for real, show where it called, and not what went on in here."""
    if call.excinfo is not None and (_fixtures_of(item) or _is_blocked(item.config)):
        from farm_notebook.testing.failures import shorten

        shorten(call.excinfo.value)
    report: Any = yield
    if call.when == "call" and _fixtures_of(item):
        item.stash[_has_passed] = report.passed
    return report  # type: ignore[no-any-return]


@pytest.fixture
def farm_replay(request: pytest.FixtureRequest) -> Iterator[Farm]:
    """The default farm, its calls replayed from a cassette beside the test, TESTFILE.TESTNAME.farm.jsonl.

    So are those of other farms that the test makes, and of kernels and programs that it starts. With
    ``--farm-record`` calls are made and recorded, with ``--farm-auto`` those that are missing.
    """
    from farm_notebook.testing.functions import on_cassette

    node, config = request.node, request.config
    with on_cassette(node, mode_of(config) or "replay") as (farm, check):
        yield farm
        if config.getoption("farm_strict") and node.stash.get(_has_passed, False):
            check()


@pytest.fixture
def scripted_farm(request: pytest.FixtureRequest) -> Iterator[ScriptedFarm]:
    """A farm that gives the answers that the test says; so does the default farm while the test runs."""
    from farm_notebook.testing.functions import on_script

    with on_script(request.node) as farm:
        yield farm


def mode_of(config: pytest.Config) -> Mode | None:
    """What the options say is done with calls."""
    mode: Mode | None = config.getoption("farm_mode")
    return mode or ("replay" if config.getoption("farm_strict") else None)


def _fixtures_of(item: pytest.Item) -> set[str]:
    """Which of the fixtures here a test has."""
    return {"farm_replay", "scripted_farm"} & {*getattr(item, "fixturenames", ())}


def _is_blocked(config: pytest.Config) -> bool:
    is_wanted: bool = config.getoption("farm_block_requests") or config.getini("farm_block_requests")
    return is_wanted or mode_of(config) == "replay"
