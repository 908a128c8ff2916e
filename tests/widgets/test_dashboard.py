"""The dashboard in the kernel: all panels in one, of which only the one that is seen works."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from farm_notebook.farm import Farm
from farm_notebook.widgets.dashboard import Dashboard

from .pages import Page
from .toy_models import toy_farm


@pytest.fixture
def farm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Farm]:
    with toy_farm(monkeypatch, tmp_path) as farm:
        yield farm


def test_every_panel_is_a_part_of_it_and_tells_its_state(page: Page, farm: Farm) -> None:
    panel = Dashboard(farm=farm)
    assert list(panel.parts) == ["chat", "models", "gpu", "health", "usage"]
    page.look("chat")
    page.wait_until(lambda: {"default_model", "works", "devices", "last_errors", "rows"} <= page.state.keys())
    panel.close()


def test_only_the_open_tab_is_looked_after(page: Page, farm: Farm) -> None:
    panel = Dashboard(farm=farm)
    page.look("models")
    page.wait_until(lambda: panel.parts["models"].slices()["listed_at"] is not None)
    assert panel.parts["health"].slices()["checked_at"] is None
    assert panel.parts["gpu"].slices()["samples"] == []
    page.look("health", hello=False)
    page.wait_until(lambda: panel.parts["health"].slices()["checked_at"] is not None)
    panel.close()


def test_the_static_output_is_that_of_all_parts(farm: Farm) -> None:
    panel = Dashboard(farm=farm)
    text = panel._repr_mimebundle_()[0]["text/plain"]
    assert "toy:slow answers where no model is named." in text
    assert "The providers have not been asked yet." in text
    panel.close()
