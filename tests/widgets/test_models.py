"""The panel of the models in the kernel: what it tells, what it has done, and how that ends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from farm_notebook import loop
from farm_notebook.farm import Farm
from farm_notebook.types import ModelRef
from farm_notebook.widgets.models import ModelPicker, ModelsPart
from farm_notebook.widgets.models.works import works_of
from farm_notebook.widgets.panel import Panel

from .pages import ENOUGH_S, Page
from .toy_models import MB, Toy, toy_farm


@pytest.fixture
def farm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Farm]:
    with toy_farm(monkeypatch, tmp_path, aliases={"mine": "toy:big"}) as farm:
        yield farm


@pytest.fixture
def panel(page: Page, farm: Farm) -> Iterator[Panel]:
    """A panel that is seen, and has told what there is; it looks more often than others."""
    panel = Panel("models", [ModelsPart(farm, sleep=lambda period_s: asyncio.sleep(period_s / 20))])
    page.look("models")
    page.wait_until(lambda: bool(page.state.get("models")) and not page.state["is_listing"])
    yield panel
    panel.close()


def model(page: Page, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in page.state["models"] if each["name"] == name)
    return found


def work(page: Page, name: str) -> dict[str, Any]:
    found: dict[str, Any] = page.state.get("works", {}).get(name) or {}
    return found


def is_loaded(page: Page) -> bool:
    return bool(page.state["states"].get("toy:slow", {}).get("state") == "ready")


def go_on() -> None:
    """Let the load go to its end."""
    loop.get_loop().call_soon_threadsafe(Toy.may_go.set)


def test_each_model_is_told_with_what_is_known_of_it(page: Page, panel: Panel) -> None:
    assert [each["name"] for each in page.state["models"]] == ["toy:broken", "toy:slow", "toy:big"]
    slow = model(page, "toy:slow")
    assert (slow["size_bytes"], slow["context_tokens"], slow["capabilities"]) == (
        100 * MB,
        8192,
        ["chat", "tools"],
    )
    assert (slow["is_available"], slow["is_here"], slow["fit"]) == (True, True, "fits")
    assert (slow["input_price"], slow["output_price"]) == (0, 0)
    assert model(page, "toy:big")["fit"] == "too large"
    assert model(page, "toy:broken")["fit"] is None
    assert page.state["default"] == {"name": "toy:slow", "ref": "toy:slow"}
    assert page.state["providers"][0]["name"] == "toy"
    assert {"name": "mine", "note": "toy:big"} in page.state["aliases"]


def test_what_is_chosen_answers_from_then_on_where_none_is_named(
    page: Page, panel: Panel, farm: Farm
) -> None:
    assert page.call("models", "choose", name="toy:big") is None
    assert page.state["default"] == {"name": "toy:big", "ref": "toy:big"}
    assert str(farm.core.request("hi").ref) == "toy:big"
    assert page.call("models", "choose", name="mine") is None
    assert page.state["default"] == {"name": "mine", "ref": "toy:big"}


def test_what_a_cell_chooses_is_told(page: Page, panel: Panel, farm: Farm) -> None:
    farm.use("toy:big")
    page.wait_until(lambda: page.state["default"]["name"] == "toy:big")


def test_where_only_the_moment_tells_the_default_it_is_told_as_it_is_now(
    page: Page, panel: Panel, farm: Farm
) -> None:
    farm.use("toy")
    page.wait_until(lambda: page.state["default"] == {"name": "toy:auto", "ref": "toy:slow"})


def test_a_name_that_leads_nowhere_is_told_at_that_name_and_changes_nothing(page: Page, panel: Panel) -> None:
    assert page.call("models", "choose", name="toy:") is None
    assert "toy" in page.state["problems"]["toy:"]["message"]
    assert page.state["default"]["name"] == "toy:slow"
    assert page.call("models", "dismiss", name="toy:") is None
    assert page.state["problems"] == {}


def test_a_load_tells_how_far_it_is_and_then_that_it_is_there(page: Page, panel: Panel) -> None:
    assert page.call("models", "load", name="toy:slow") is None
    page.wait_until(lambda: work(page, "toy:slow").get("stage") == "load")
    told = work(page, "toy:slow")
    assert (told["kind"], told["completed_bytes"], told["total_bytes"], told["device"]) == (
        "load",
        50 * MB,
        100 * MB,
        "cpu",
    )
    go_on()
    page.wait_until(lambda: is_loaded(page) and not page.state["works"])


def test_a_view_that_appears_during_a_load_is_told_of_it(page: Page, panel: Panel) -> None:
    page.call("models", "load", name="toy:slow")
    page.wait_until(lambda: work(page, "toy:slow").get("stage") == "load")
    page.frames.clear()
    page.look("models", view="another")
    state = page.wait_for(lambda frame: "state" in frame)["state"]
    assert state["works"]["toy:slow"]["completed_bytes"] == 50 * MB
    go_on()
    page.wait_until(lambda: is_loaded(page))


def test_a_load_that_is_cancelled_ends_and_leaves_nothing(page: Page, panel: Panel) -> None:
    page.call("models", "load", name="toy:slow")
    page.wait_until(lambda: work(page, "toy:slow").get("stage") == "load")
    assert page.call("models", "cancel", name="toy:slow") is None
    page.wait_until(lambda: not page.state["works"])
    assert Toy.there == {}
    assert page.state["problems"] == {}


def test_what_is_cancelled_before_it_began_ends_as_well(farm: Farm) -> None:
    part, works = ModelsPart(farm), works_of(farm)

    async def begin_and_cancel() -> None:
        ended = asyncio.Event()
        works.listen(lambda has_ended: ended.set() if has_ended else None)
        works.begin("load", "toy:slow")
        works.cancel("toy:slow")
        assert part.slices()["works"]["toy:slow"]["is_stopping"]
        await ended.wait()
        assert part.slices()["works"] == {}

    loop.run_blocking(asyncio.wait_for(begin_and_cancel(), ENOUGH_S))
    assert Toy.there == {}
    loop.run_blocking(part.aclose())


def test_a_load_goes_on_when_another_model_is_chosen_meanwhile(page: Page, panel: Panel) -> None:
    page.call("models", "load", name="toy:slow")
    page.wait_until(lambda: work(page, "toy:slow").get("stage") == "load")
    page.call("models", "choose", name="toy:big")
    assert page.state["default"]["name"] == "toy:big"
    go_on()
    page.wait_until(lambda: is_loaded(page) and not page.state["works"])
    assert page.state["problems"] == {}


def test_no_secret_of_the_settings_is_in_what_is_told_of_an_error(
    page: Page, panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key := "sk-not-to-be-told-0123456789")
    Toy.says = f" with the key {key}"
    page.call("models", "load", name="toy:broken")
    page.wait_until(lambda: "toy:broken" in page.state["problems"])
    assert "with the key" in page.state["problems"]["toy:broken"]["message"]
    assert key not in str(page.frames)


def test_an_error_is_told_at_its_model_until_the_next_try(page: Page, panel: Panel) -> None:
    assert page.call("models", "load", name="toy:broken") is None
    page.wait_until(lambda: "toy:broken" in page.state["problems"])
    assert page.state["problems"]["toy:broken"] == {
        "title": "The model does not load",
        "message": "toy:broken is <b>torn</b>.",
        "fix": "farm pull toy:broken",
    }
    page.call("models", "pull", name="toy:broken")
    page.wait_until(lambda: Toy.pulled == ["broken"] and not page.state["works"])
    assert page.state["problems"] == {}


def test_a_model_that_is_busy_is_left_so(page: Page, panel: Panel) -> None:
    page.call("models", "load", name="toy:slow")
    page.wait_until(lambda: work(page, "toy:slow").get("stage") == "load")
    page.call("models", "unload", name="toy:slow")
    page.wait_until(lambda: "toy:slow" in page.state["problems"])
    assert "wait for the load, or cancel it" in page.state["problems"]["toy:slow"]["message"]
    go_on()
    page.wait_until(lambda: is_loaded(page))


def test_a_model_is_unloaded_reloaded_pinned_and_watched(page: Page, panel: Panel) -> None:
    go_on()
    page.call("models", "load", name="toy:slow")
    page.wait_until(lambda: is_loaded(page))
    page.call("models", "pin", name="toy:slow", is_pinned=True)
    page.wait_until(lambda: page.state["states"]["toy:slow"]["is_pinned"])
    page.call("models", "watch", name="toy:slow", is_watched=True)
    page.wait_until(lambda: page.state["watched"] == ["toy:slow"])
    page.call("models", "watch", name="toy:slow", is_watched=False)
    page.wait_until(lambda: page.state["watched"] == [])
    page.call("models", "reload", name="toy:slow")
    page.wait_until(lambda: not page.state["works"] and is_loaded(page))
    page.call("models", "unload", name="toy:slow")
    page.wait_until(lambda: not page.state["states"])
    assert page.state["problems"] == {}


def test_what_happens_to_a_model_elsewhere_is_told_at_once(farm: Farm) -> None:
    part = ModelsPart(farm)
    journal = farm.core._pool.providers.lifecycle.journal
    told: list[Any] = []

    async def load_it_elsewhere() -> None:
        part.attach(told.extend, lambda: None)
        journal.add(ModelRef("toy", "slow"), "loading", "absent")
        assert part.slices()["states"]["toy:slow"]["state"] == "loading"
        journal.add(ModelRef("toy", "slow"), "absent", "loading")
        assert part.slices()["states"] == {}

    loop.run_blocking(load_it_elsewhere())
    loop.run_blocking(part.aclose())
    assert "states" in told[0]["set"]


def test_what_a_cell_loads_and_unloads_is_told_with_its_line_in_the_list(
    page: Page, panel: Panel, farm: Farm
) -> None:
    go_on()
    for _ in farm.load("toy:slow"):
        pass
    page.wait_until(lambda: is_loaded(page) and model(page, "toy:slow")["is_loaded"])
    farm.unload("toy:slow")
    page.wait_until(lambda: not page.state["states"] and not model(page, "toy:slow")["is_loaded"])


def test_a_second_panel_shows_and_stops_what_the_first_began(page: Page, farm: Farm) -> None:
    first = ModelsPart(farm)
    loop.run_blocking(first.calls()["load"]("toy:slow"))
    panel = ModelPicker(farm=farm)
    loop.run_blocking(first.aclose())
    page.look("models")
    page.wait_until(lambda: work(page, "toy:slow").get("stage") == "load")
    page.call("models", "cancel", name="toy:slow")
    page.wait_until(lambda: not page.state["works"])
    panel.close()


def test_with_the_last_panel_ends_what_was_begun(page: Page, farm: Farm) -> None:
    panel = ModelPicker(farm=farm)
    page.look("models")
    page.call("models", "load", name="toy:slow")
    page.wait_until(lambda: work(page, "toy:slow").get("stage") == "load")
    loop.run_blocking(panel.aclose())
    assert Toy.there == {}


async def test_the_static_output_lists_the_models_and_is_escaped(farm: Farm) -> None:
    part = ModelsPart(farm)
    await loop.run(part.ready())
    for told in (part.static_html(), part.static_text()):
        assert "toy:slow (default)" in told
        assert "100.0 MB" in told
        assert "8,192" in told
        assert "toy:slow answers where no model is named." in told
    assert "<td>toy:big</td>" in part.static_html()
    await loop.run(part.aclose())


def test_before_anyone_was_asked_there_is_a_static_output(farm: Farm) -> None:
    part = ModelsPart(farm)
    assert "toy:slow answers" in part.static_text()
    loop.run_blocking(part.aclose())


def test_a_panel_that_is_opened_later_tells_no_old_error(farm: Farm) -> None:
    part = ModelsPart(farm)
    loop.run_blocking(part.calls()["choose"]("toy:"))
    assert list(part.slices()["problems"]) == ["toy:"]
    loop.run_blocking(part.aclose())
    part = ModelsPart(farm)
    assert part.slices()["problems"] == {}
    loop.run_blocking(part.aclose())


def test_a_part_that_is_closed_hears_of_nothing(farm: Farm) -> None:
    journal = farm.core._pool.providers.lifecycle.journal
    before = tuple(journal._listeners)
    part = ModelsPart(farm)
    assert len(journal._listeners) == len(before) + 1
    farm.use("toy:big")
    loop.run_blocking(part.aclose())
    assert tuple(farm.core._pool.providers.lifecycle.journal._listeners) == before
    assert tuple(journal._listeners) == before
