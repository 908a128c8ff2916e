"""A notebook with panels as nbconvert makes it a page: read with no kernel and no network."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import BrowserContext, Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.kernel, pytest.mark.slow]

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "panels.ipynb"
CELLS = (
    "%load_ext farm_notebook\nimport farm_notebook as farm",
    "%%farm_chat -m scripted:echo\nThe **capital** is Paris.",
    "farm.ChatPanel()",
    "farm.HealthPanel()",
    "farm.GPUPanel()",
    "farm.UsagePanel()",
    "farm.Dashboard()",
    "%%farm_compare -m scripted:count-3 -m scripted:error-auth\nHi",
)
SETTINGS = {"FARM_CACHE__ENABLED": "0", "FARM_HISTORY__ENABLED": "0", "FARM_OFFLINE": "1"}


@pytest.fixture
def page(browser_context: BrowserContext) -> Iterator[Page]:
    """A page that reaches nothing but files."""
    page = browser_context.new_page()
    page.route("**/*", lambda route: route.continue_() if "file:" in route.request.url else route.abort())
    yield page
    page.close()


def converted(source: Path, folder: Path, *options: str) -> Path:
    """The page that nbconvert makes of a notebook."""
    command = ["--to", "html", *options, str(source), "--output-dir", str(folder), "--output", "page.html"]
    subprocess.run(
        [sys.executable, "-m", "nbconvert", *command],
        env={**os.environ, **SETTINGS, "FARM_CACHE_DIR": str(folder)},
        check=True,
        capture_output=True,
        timeout=150,
    )
    return folder / "page.html"


def test_a_page_of_panels_is_whole_without_kernel_and_network(
    page: Page, tmp_path: Path, pictures: Path
) -> None:
    source = tmp_path / "source.ipynb"
    cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), source)
    page.goto(converted(source, tmp_path, "--execute").as_uri())
    static = page.locator(".farm-static")
    expect(static).to_have_count(5)
    for each in static.all():
        expect(each).to_be_visible()
    expect(static.nth(0).locator("strong")).to_have_text(["You:", "capital"])
    expect(static.nth(1)).to_contain_text("provider")
    expect(static.nth(2)).to_contain_text("cpu")
    words = page.locator("main").inner_text()
    for seen in ("The capital is Paris.", "word0 word1 word2", "AuthenticationError"):
        assert seen in words
    assert not page.get_by_text("Loading widget").is_visible()
    assert not page.get_by_text("model not found").is_visible()
    page.screenshot(path=pictures / "panels-as-a-page.png", full_page=True)


def test_the_notebook_of_the_panels_is_read_without_a_kernel(page: Page, tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert "widgets" not in notebook.metadata
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert "widget-view" not in str(outputs), "no viewer but the one that ran it knows the widget"
    page.goto(converted(NOTEBOOK, tmp_path).as_uri())
    expect(page.locator(".farm-static")).to_have_count(7)
    expect(page.locator(".farm-static").first).to_contain_text("The capital of France is Paris.")
    figure = page.locator(".farm-static img").first
    assert figure.evaluate("image => image.complete && image.naturalWidth > 0")
