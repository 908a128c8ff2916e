"""Models that are loaded, replaced and watched in a real kernel: the interrupt, and what a cell says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kernels import Cell, Kernel

pytestmark = pytest.mark.kernel

SETUP = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import time
import farm_notebook as farm
from shelved import ShelvedProvider
farm.register_provider(ShelvedProvider)
def until(holds):
    while not holds():
        time.sleep(0.01)
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    kernel = Kernel(
        FARM_MODEL="shelved:one",
        FARM_CACHE_DIR=str(tmp_path_factory.mktemp("cache")),
        FARM_MODELS__WATCH_INTERVAL_S="0.02",
        FARM_MODELS__SETTLE_S="0",
    )
    assert kernel.run(SETUP).status == "ok"
    yield kernel
    kernel.close()


@pytest.fixture(autouse=True)
def empty(kernel: Kernel) -> None:
    """No model of another test."""
    reset = "farm.models.unload_all(); ShelvedProvider.files = {}; ShelvedProvider.endless = {'slow'}"
    assert kernel.run(reset).status == "ok"


def interrupted(kernel: Kernel, code: str) -> Cell:
    """A cell that was interrupted while it loads."""
    cell = kernel.start(code)
    kernel.wait_for(lambda: cell.has_painted("Loading") or cell.idle_at is not None)
    kernel.interrupt()
    return cell.ended()


def only_error(cell: Cell) -> str:
    """The one line that is left of an interrupted cell."""
    assert (cell.status, cell.content["ename"]) == ("error", "KeyboardInterrupt")
    (error,) = [output for output in cell.outputs if output.get("data") != {}]
    (line,) = error["traceback"]
    return str(line)


def test_beforehand_it_says_what_is_needed_and_what_is_free(kernel: Kernel) -> None:
    cell = kernel.run("%farm load shelved:one")
    assert cell.has_painted("Loading shelved:one: 270.0 MB to cuda:0, where 3.1 GB are free")
    (output,) = cell.outputs
    assert output["data"]["text/plain"].startswith("shelved:one is loaded: 270.0 MB on cuda:0 (")


def test_an_interrupted_load_leaves_nothing_but_one_line(kernel: Kernel) -> None:
    cell = interrupted(kernel, "%farm load shelved:slow")
    assert only_error(cell).endswith(": You stopped it.")
    assert kernel.run("until(lambda: not farm.models.loaded())").status == "ok"


def test_an_interrupted_reload_leaves_the_old_model(kernel: Kernel) -> None:
    kernel.run("%farm load shelved:one")
    kernel.run("before = farm.models.loaded()[0].generation; ShelvedProvider.endless = {'one'}")
    cell = interrupted(kernel, "%farm reload shelved:one")
    generation = kernel.value("before")
    assert f"You stopped it. shelved:one answers as before (generation {generation})." in only_error(cell)
    assert kernel.run("%farm_chat Hi").answers
    assert kernel.value("farm.models.loaded()[0].generation") == generation


def test_an_interrupted_swap_brings_the_first_model_back(kernel: Kernel) -> None:
    kernel.run("%farm load shelved:one")
    cell = interrupted(kernel, "%farm swap shelved:one shelved:slow")
    assert "You stopped it. shelved:one answers as before" in only_error(cell)
    states = "until(lambda: [s.state for s in farm.models.loaded()] == ['ready'])"
    assert kernel.run(states).status == "ok"


def test_a_reload_by_itself_is_told_with_the_next_answer_and_once(kernel: Kernel) -> None:
    kernel.run("%farm load shelved:one")
    kernel.run("%farm watch shelved:one")
    assert "loaded anew" not in str(kernel.run("%farm_chat --no-history Hi").outputs)
    kernel.run(
        "before = farm.models.loaded()[0].generation\n"
        "ShelvedProvider.files = {'one': 'second'}\n"
        "until(lambda: farm.models.loaded()[0].generation != before)"
    )
    (output,) = kernel.run("%farm_chat --no-history Hi").outputs
    assert output["data"]["text/markdown"].startswith("second")
    generation = kernel.value("farm.models.loaded()[0].generation")
    for kind in ("text/markdown", "text/plain"):
        assert "was loaded anew at " in output["data"][kind]
        assert f"(generation {generation})" in output["data"][kind]
    assert "loaded anew" not in str(kernel.run("%farm_chat --no-history Hi").outputs)


def test_a_reload_by_command_is_not_told_again(kernel: Kernel) -> None:
    kernel.run("%farm load shelved:one")
    assert "is loaded anew" in str(kernel.run("%farm reload shelved:one").outputs)
    assert "loaded anew" not in str(kernel.run("%farm_chat --no-history Hi").outputs)


@pytest.mark.parametrize("code", ["%farm loaded", "%farm loaded --events 3", "%farm watch"])
def test_a_table_is_the_cells_one_output(kernel: Kernel, code: str) -> None:
    kernel.run("%farm load shelved:one")
    kernel.run("%farm watch shelved:one")
    (output,) = kernel.run(code).outputs
    assert output["type"] == "execute_result"
    assert "shelved:one" in output["data"]["text/markdown"]
    assert "shelved:one" in output["data"]["text/plain"]


def test_what_the_user_stopped_is_not_told_again(kernel: Kernel) -> None:
    kernel.run("%farm load shelved:one")
    kernel.run("ShelvedProvider.endless = {'one'}")
    interrupted(kernel, "%farm reload shelved:one")
    kernel.run("until(lambda: farm.models.loaded()[0].state == 'ready')")
    (output,) = kernel.run("%farm_chat --no-history Hi").outputs
    assert "loaded anew" not in output["data"]["text/plain"]
