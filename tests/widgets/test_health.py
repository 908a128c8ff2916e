"""The health panel in the kernel: what providers say of themselves reaches the page and the static output."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest

from farm_notebook.config import CassetteConfig
from farm_notebook.errors import ProviderError
from farm_notebook.types import ProviderStatus
from farm_notebook.widgets.health import HealthPanel, HealthPart

from .pages import Page, stub_farm

WELL = ProviderStatus("toy", True, "all is well")
ILL = ProviderStatus("toy", False, "<b>down</b>", "start it")


def test_the_panel_tells_of_each_provider_once_it_is_seen(page: Page) -> None:
    HealthPanel(farm=stub_farm(WELL, ProviderStatus("other", False, "no key", "set KEY")))
    page.look("health")
    page.wait_until(lambda: bool(page.state.get("providers")) and not page.state["is_checking"])
    assert page.state["providers"] == [
        {"name": "toy", "healthy": True, "detail": "all is well", "fix": None},
        {"name": "other", "healthy": False, "detail": "no key", "fix": "set KEY"},
    ]
    assert page.state["checked_at"] > 0


def test_the_button_asks_again(page: Page) -> None:
    farm: Any = stub_farm(WELL)
    HealthPanel(farm=farm)
    page.look()
    assert page.call("health", "refresh") is None
    farm.statuses = (ILL,)
    assert page.call("health", "refresh") is None
    assert farm.asked == 2
    assert page.state["providers"][0]["detail"] == "<b>down</b>"


def test_the_last_error_is_told_after_the_provider_is_well_again(page: Page) -> None:
    farm: Any = stub_farm(ILL)
    HealthPanel(farm=farm)
    page.look()
    page.call("health", "refresh")
    farm.statuses = (WELL,)
    page.call("health", "refresh")
    assert page.state["providers"][0]["healthy"]
    assert page.state["last_errors"]["toy"]["detail"] == "<b>down</b>"


def test_a_farm_that_cannot_be_asked_is_told_of(page: Page) -> None:
    HealthPanel(farm=stub_farm(error=ProviderError("it is closed")))
    page.look()
    error = page.call("health", "refresh")
    assert error is not None
    assert error["message"] == "it is closed"
    page.wait_until(lambda: not page.state["is_checking"])


async def test_the_static_output_says_it_all_and_is_escaped() -> None:
    part = HealthPart(stub_farm(ILL), clock=lambda: 0.0)
    await part.ready()
    for told in (part.static_html(), part.static_text()):
        assert "toy" in told
        assert "not ok" in told
        assert "start it" in told
        assert "Asked on 19" in told
    assert "<b>" not in part.static_html()
    await part.aclose()


@pytest.mark.parametrize("mode", ["record", "replay"])
async def test_recorded_and_replayed_the_static_output_has_no_time(mode: Literal["record", "replay"]) -> None:
    cassette = CassetteConfig(mode=mode, file=Path("story.farm.jsonl"))
    part = HealthPart(stub_farm(WELL, cassette=cassette), clock=lambda: 0.0)
    await part.ready()
    assert part.static_text().endswith("\nAsked when story.farm.jsonl was recorded.")
    await part.aclose()


def test_before_anyone_was_asked_the_static_output_says_so() -> None:
    assert "not been asked yet" in HealthPart(stub_farm()).static_text()


@pytest.mark.parametrize("detail", ["\x1b[2J", "a\nb"])
async def test_a_terminal_gets_no_control_characters(detail: str) -> None:
    part = HealthPart(stub_farm(ProviderStatus("toy", True, detail)))
    await part.ready()
    assert "\x1b" not in part.static_text()
    await part.aclose()
