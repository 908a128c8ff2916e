"""``%farm load``, ``unload``, ``loaded``, ``reload``, ``watch``, ``unwatch`` and ``swap``: what each says."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from shelved import ShelvedProvider

import farm_notebook
import farm_notebook.farm
from farm_notebook import providers
from farm_notebook.errors import FarmError, InvalidRequestError, LoadError
from farm_notebook.farm import Farm
from farm_notebook.notebook.commands import run_line
from farm_notebook.notebook.known import KnownModels
from farm_notebook.notebook.session import Session
from farm_notebook.types import ModelEvent, ModelRef

Run = Callable[[str], str]

ONE = ModelRef("shelved", "one")
ON_GPU = "270.0 MB on cuda:0"


@pytest.fixture
def farm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Farm]:
    """The default farm of one test, with models on a shelf of its own."""
    monkeypatch.setattr(providers, "_registered", {})
    monkeypatch.setattr(ShelvedProvider, "broken", set())
    monkeypatch.setattr(ShelvedProvider, "files", {})
    farm_notebook.register_provider(ShelvedProvider)
    quick = {"watch_interval_s": 0.01, "settle_s": 0.0}
    made = Farm(model="shelved:one", aliases={"fast": "shelved:one"}, cache_dir=tmp_path, models=quick)
    monkeypatch.setattr(farm_notebook.farm.blocking, "_default", made)
    yield made
    made.close()


@pytest.fixture
def session(farm: Farm) -> Session:
    shell: Any = SimpleNamespace(user_ns={}, history_manager=None)
    return Session(shell, KnownModels())


@pytest.fixture
def run(session: Session, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a line; what it printed, with times taken out, or its value as text."""

    def run(line: str) -> str:
        value = run_line(session, line)
        printed = capsys.readouterr().out
        return re.sub(r"\d+\.\d s\)", "0.0 s)", printed if value is None else str(value)).rstrip()

    return run


# Load


def test_a_load_ends_with_what_and_where_the_model_is(run: Run) -> None:
    assert run("load shelved:one") == f"shelved:one is loaded: {ON_GPU} (0.0 s)."


def test_what_is_loaded_is_not_loaded_again(run: Run, farm: Farm) -> None:
    run("load shelved:one")
    assert run("load shelved:one") == f"shelved:one was loaded already: {ON_GPU}."
    assert [status.generation for status in farm.models.loaded()] == [farm.models.events()[-1].generation]


def test_an_alias_is_loaded_under_its_models_name(run: Run) -> None:
    assert run("load fast").startswith("shelved:one is loaded")


def test_a_model_is_pinned_and_unpinned_as_it_stands(run: Run) -> None:
    assert run("load shelved:one --pin") == f"shelved:one is loaded: {ON_GPU}, pinned (0.0 s)."
    assert run("load shelved:one") == f"shelved:one was loaded already: {ON_GPU}, pinned."
    assert run("load shelved:one --unpin") == f"shelved:one was loaded already: {ON_GPU}."


def test_another_device_or_format_is_another_load(run: Run, farm: Farm) -> None:
    run("load shelved:one")
    for line in ("load shelved:one --device cuda:1", "load shelved:one --dtype bfloat16"):
        before = farm.models.loaded()[0].generation
        assert run(line).startswith("shelved:one is loaded")
        assert farm.models.loaded()[0].generation != before


def test_pinning_and_unpinning_at_once_is_refused(run: Run) -> None:
    with pytest.raises(InvalidRequestError, match="not allowed with argument --pin"):
        run("load shelved:one --pin --unpin")


def test_a_model_that_was_set_aside_comes_back(run: Run) -> None:
    run("load shelved:one")
    run("swap shelved:one shelved:two")
    assert run("load shelved:one") == f"shelved:one is back from host memory: {ON_GPU} (0.0 s)."


def test_a_failed_load_says_why_and_nothing_else(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    ShelvedProvider.broken.add("one")
    with pytest.raises(LoadError, match="torn"):
        run("load shelved:one")
    assert capsys.readouterr().out == ""


# Unload


def test_unloading_says_what_came_back(run: Run) -> None:
    run("load shelved:one")
    assert run("unload shelved:one") == f"shelved:one is unloaded: {ON_GPU} given back."
    assert run("unload shelved:one") == "shelved:one was not loaded."


def test_what_is_still_held_is_said_and_who_tells_by_whom(run: Run, farm: Farm) -> None:
    with farm.models.lease("shelved:one") as weights:
        pass
    said = run("unload shelved:one")
    assert said == "shelved:one is unloaded, but 270.0 MB of it are still held: `%farm free` tells by whom."
    assert farm.models.held() == {"shelved:one": 270_000_000}
    del weights
    assert farm.models.held() == {}


def test_all_are_unloaded_a_line_each(run: Run) -> None:
    run("load shelved:one")
    run("load shelved:two")
    assert run("unload all") == "\n".join(
        f"shelved:{name} is unloaded: {ON_GPU} given back." for name in ("one", "two")
    )
    assert run("unload all") == "Nothing was loaded."


def test_a_load_that_failed_was_none(run: Run) -> None:
    ShelvedProvider.broken.add("one")
    with pytest.raises(LoadError):
        run("load shelved:one")
    assert "failed" in run("loaded")
    assert run("unload shelved:one") == "shelved:one was not loaded."
    assert "failed" not in run("loaded")


# Loaded


def test_nothing_loaded_says_how_to_load(run: Run) -> None:
    assert "No model is in memory" in run("loaded")


def test_models_in_memory_are_a_table_and_a_sequence(session: Session, run: Run) -> None:
    run("load shelved:one --pin")
    run("watch shelved:one")
    found: Any = run_line(session, "loaded")
    (status,) = found
    assert (status.ref, status.is_pinned, status.is_watched) == (ONE, True, True)
    (row,) = found.rows
    cells = dict(zip(found.columns, row, strict=True))
    assert cells.pop("use").startswith("idle ")
    assert cells == {
        "model": "shelved:one",
        "state": "ready",
        "generation": str(status.generation),
        "size": "270.0 MB",
        "where": "cuda:0",
        "marks": "pinned, watched",
    }


def test_a_failed_reload_stands_beside_the_model_that_goes_on(run: Run) -> None:
    run("load shelved:one")
    ShelvedProvider.broken.add("one")
    with pytest.raises(LoadError):
        run("reload shelved:one")
    assert "not reloaded: The files of 'one' are torn." in run("loaded")


def test_what_happened_is_told_step_by_step(session: Session, run: Run) -> None:
    assert "Nothing happened" in run("loaded --events")
    run("load shelved:one")
    run("unload shelved:one")
    found: Any = run_line(session, "loaded --events")
    assert all(isinstance(event, ModelEvent) for event in found)
    assert [row[2] for row in found.rows] == [
        *("absent → loading", "loading → ready", "ready → draining"),
        *("draining → unloading", "unloading → absent"),
    ]
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d", row[0]) for row in found.rows)
    assert len(run_line(session, "loaded --events 2")) == 2  # type: ignore[arg-type]  # a table


def test_no_events_cannot_be_asked_for(run: Run) -> None:
    with pytest.raises(InvalidRequestError, match="--events 0 is out of range"):
        run("loaded --events 0")


# Reload


def test_a_reload_ends_with_the_new_generation(run: Run, farm: Farm) -> None:
    run("load shelved:one")
    ShelvedProvider.files["one"] = "second"
    said = run("reload shelved:one")
    generation = farm.models.loaded()[0].generation
    assert said == f"shelved:one is loaded anew: generation {generation}, {ON_GPU} (0.0 s)."
    assert farm.chat("Hi").text == "second"


def test_a_failed_reload_says_who_goes_on(run: Run, farm: Farm, capsys: pytest.CaptureFixture[str]) -> None:
    run("load shelved:one")
    generation = farm.models.loaded()[0].generation
    ShelvedProvider.broken.add("one")
    with pytest.raises(LoadError, match="torn"):
        run("reload shelved:one")
    assert capsys.readouterr().out == f"shelved:one answers as before (generation {generation}).\n"


# Swap


def test_a_swap_says_where_both_are(run: Run) -> None:
    run("load shelved:one")
    said = run("swap shelved:one shelved:two")
    assert said == f"shelved:two is loaded: {ON_GPU} (0.0 s); shelved:one waits in host memory."


def test_a_model_that_does_not_wait_is_said_to_be_unloaded(run: Run, farm: Farm) -> None:
    farm.reload(models={"warm_bytes": 0})
    run("load shelved:one")
    assert run("swap shelved:one shelved:two").endswith("; shelved:one is unloaded.")


def test_a_model_does_not_take_its_own_place(run: Run) -> None:
    with pytest.raises(
        FarmError, match=r"shelved:one cannot take its own place\. `%farm reload shelved:one`"
    ):
        run("swap shelved:one shelved:one")


def test_after_a_failed_swap_the_first_is_back(
    run: Run, farm: Farm, capsys: pytest.CaptureFixture[str]
) -> None:
    run("load shelved:one")
    generation = farm.models.loaded()[0].generation
    ShelvedProvider.broken.add("two")
    with pytest.raises(LoadError, match="'two' are torn"):
        run("swap shelved:one shelved:two")
    assert capsys.readouterr().out == f"shelved:one answers as before (generation {generation}).\n"


# Watch


def test_a_watched_model_is_loaded_anew_by_itself(run: Run, farm: Farm) -> None:
    run("load shelved:one")
    assert run("watch shelved:one").startswith("shelved:one is watched: it is loaded anew when its files")
    assert run("watch shelved:one").startswith("shelved:one is watched already: ")
    renewed = threading.Event()
    farm.models.listen(lambda event: renewed.set() if event.before == "reloading" else None)
    ShelvedProvider.files["one"] = "second"
    assert renewed.wait(30)
    assert farm.chat("Hi").text == "second"


def test_a_model_that_is_not_loaded_is_watched_from_its_load_on(run: Run) -> None:
    assert ": once loaded, it is loaded anew" in run("watch shelved:one")
    assert re.search(r"shelved:one +absent .* watched", run("watch"))
    assert run("unwatch all") == "shelved:one is watched no more."


def test_watched_models_are_listed_and_left_alone_again(run: Run) -> None:
    assert "No model is watched." in run("watch")
    assert run("unwatch all") == "No model is watched."
    run("load shelved:one")
    run("load shelved:two")
    run("watch shelved:two")
    assert "shelved:two" in run("watch")
    assert "shelved:one" not in run("watch")
    assert run("unwatch shelved:one") == "shelved:one was not watched."
    assert run("unwatch all") == "shelved:two is watched no more."
    assert run("unwatch shelved:two") == "shelved:two was not watched."


# All of them


@pytest.mark.parametrize(
    "line",
    [
        "load llamacpp:none",
        "unload ''",
        "reload llamacpp:none",
        "swap shelved:one ''",
        "watch ''",
        "unwatch ''",
    ],
)
def test_a_name_that_leads_nowhere_is_refused(run: Run, line: str) -> None:
    with pytest.raises(FarmError):
        run(line)


@pytest.mark.parametrize("line", ["load scripted:count-3", "watch scripted:count-3"])
def test_what_was_named_is_completed_from_then_on(run: Run, session: Session, line: str) -> None:
    run(line)
    assert "scripted:count-3" in session.known.names()


def test_a_mistyped_name_is_not_completed(run: Run, session: Session) -> None:
    for line in ("load scripted:cuont", "reload scripted:cuont", "unload scripted:cuont"):
        with pytest.raises(FarmError):
            run(line)
    assert "scripted:cuont" not in session.known.names()


async def test_what_was_loaded_by_other_means_is_completed_too(farm: Farm, session: Session) -> None:
    await asyncio.to_thread(lambda: list(farm.models.load("shelved:other")))
    assert "shelved:other" in session.known.names()
