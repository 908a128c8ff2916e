"""Whoever runs a notebook for pytest has its kernel replay the cassette beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from .runs import notebook, outcomes, run_pytest, write

pytestmark = [pytest.mark.kernel, pytest.mark.slow, pytest.mark.timeout(600)]  # kernels start at leisure

NBVAL, NBMAKE, XDIST = "nbval.plugin", "nbmake.pytest_plugin", "xdist.plugin"
SAID, REPLAYED = "word", "wort"  # what the model says, and what is put into the cassettes in its place

LISTEN = """\
import os, sys
connects = []
sys.addaudithook(lambda event, args: connects.append(args[1]) if event == "socket.connect" else None)
import farm_notebook as farm"""
ASK = "farm.chat('Tell a story.', model='scripted:count-2').text"
TOLD = f"'{REPLAYED}0 {REPLAYED}1'"
STEADY = "[os.environ[f'FARM_{name}'] for name in ('DISPLAY__LIVE', 'CACHE__ENABLED', 'HISTORY__ENABLED')]"
NAMED = "os.path.basename(os.environ.get('JPY_SESSION_NAME', ''))"
OF_ITS_OWN = """\
from farm_notebook.config import FarmConfig
farm.Farm(FarmConfig()).chat("Hello", model="llamacpp:smollm2:135m")"""


MARKED = """\
    import pytest


    def pytest_collection_modifyitems(items):
        for item in items:
            if item.path.name == "live.ipynb":
                item.add_marker(pytest.mark.farm_real)
"""


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with notebooks: one whose cassette was just recorded, and others."""
    folder = tmp_path_factory.mktemp("gallery")
    story = notebook(
        folder / "story.ipynb",
        (LISTEN, None),
        (ASK, TOLD),
        ("connects", "[]"),
        (STEADY, "['false', 'false', 'false']"),
        (NAMED, "'story.ipynb'"),
    )
    told = run_pytest(folder, "--nbval-lax", "--farm-record", plugins=[NBVAL])
    assert {*outcomes(told).values()} == {"PASSED"}, told
    cassette = story.with_suffix(".farm.jsonl")
    cassette.write_text(cassette.read_text().replace(SAID, REPLAYED))
    notebook(folder / "changed.ipynb", (LISTEN, None), (ASK.replace("story", "tale"), TOLD))
    notebook(folder / "extra.ipynb", ("1 + 1", "2"))
    for name in ("changed", "extra"):
        (folder / f"{name}.farm.jsonl").write_bytes(cassette.read_bytes())
    notebook(folder / "none.ipynb", (LISTEN, None), ("1 + 1", "2"), (ASK, TOLD), (OF_ITS_OWN, TOLD))
    notebook(folder / "live.ipynb", (f"import farm_notebook as farm; {ASK}", f"'{SAID}0 {SAID}1'"))
    write(folder, "conftest.py", MARKED)
    return folder


@pytest.fixture(scope="module")
def told(gallery: Path) -> str:
    """What pytest says of them all, in two workers."""
    args = ("-n", "2", "--dist", "loadfile", "--nbval", "--farm-strict")
    return run_pytest(gallery, *args, plugins=[NBVAL, XDIST])


def test_a_recorded_notebook_passes_and_opens_no_connection(told: str) -> None:
    found = outcomes(told)
    assert {found[f"story.ipynb::Cell {number}"] for number in range(5)} == {"PASSED"}, told


def test_a_changed_call_is_shown_by_what_changed_its_cell_and_the_command(told: str) -> None:
    assert outcomes(told)["changed.ipynb::Cell 1"] == "FAILED"
    assert "NotRecordedError: Not in changed.farm.jsonl, from which answers are replayed" in told
    assert 'messages[0].content: recorded "Tell a story.", now "Tell a tale."' in told
    assert "run `farm run changed.ipynb --record`. Nobody was asked.\n\nCell 1:\n    farm.chat(" in told
    assert "Traceback" not in told


def test_without_a_cassette_a_notebook_passes_as_long_as_it_asks_nobody(told: str) -> None:
    found = outcomes(told)
    assert [found[f"none.ipynb::Cell {number}"] for number in range(3)] == ["PASSED", "PASSED", "FAILED"]
    assert "none.farm.jsonl' to replay. `farm run none.ipynb --record` records it." in told


def test_a_farm_that_is_on_no_cassette_is_blocked(told: str) -> None:
    assert outcomes(told)["none.ipynb::Cell 3"] == "FAILED"
    assert "RequestBlockedError: 'llamacpp' was to be asked for real" in told


def test_recorded_calls_that_no_cell_asks_for_fail_a_strict_run(told: str) -> None:
    assert outcomes(told)["extra.ipynb::Cell 0"] == "ERROR"
    assert "1 recorded call was never asked for, in extra.farm.jsonl:" in told
    assert "`farm run extra.ipynb --replay --prune` takes them out." in told
    assert "in changed.farm.jsonl:" not in told  # of a notebook that failed nobody knows


def test_a_notebook_with_the_mark_runs_without_a_cassette(told: str) -> None:
    assert outcomes(told)["live.ipynb::Cell 0"] == "PASSED"


def test_cells_that_would_be_scattered_over_workers_are_refused(gallery: Path) -> None:
    told = run_pytest(gallery, "-n", "2", "--nbval", "--farm-replay", plugins=[NBVAL, XDIST])
    assert "in one worker: add --dist loadfile." in told


def test_nbmake_replays_and_shows_failures_likewise(gallery: Path) -> None:
    told = run_pytest(gallery, "--nbmake", "--farm-replay", "changed.ipynb", plugins=[NBMAKE])
    assert outcomes(told) == {"changed.ipynb::changed.ipynb": "FAILED"}, told
    assert "run `farm run changed.ipynb --record`. Nobody was asked.\n\nCell 1:\n    farm.chat(" in told
    assert "Traceback" not in told


PAPERMILL = f"""\
    import papermill
    import pytest


    @pytest.mark.farm_cassette("story.ipynb")
    def test_report(farm_replay, tmp_path):
        done = papermill.execute_notebook("story.ipynb", str(tmp_path / "done.ipynb"), progress_bar=False)
        assert done.cells[1].outputs[0]["data"]["text/plain"] == "{TOLD}"
        assert done.cells[2].outputs[0]["data"]["text/plain"] == "[]"
"""


def test_a_notebook_that_a_test_has_papermill_execute_is_replayed(gallery: Path) -> None:
    write(gallery, "test_papermill.py", PAPERMILL)
    told = run_pytest(gallery, "--farm-strict", "test_papermill.py")
    assert outcomes(told) == {"test_papermill.py::test_report": "PASSED"}, told
