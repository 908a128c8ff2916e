"""The health panel in JupyterLab: seen, clicked, reloaded, seen twice, in both themes, without a kernel."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from .lab import READY_S, LabServer, NotebookPage, wait_for
from .looks import THEMES, use_theme, violations

pytestmark = [pytest.mark.browser, pytest.mark.kernel, pytest.mark.model, pytest.mark.slow]
expect.set_options(timeout=READY_S * 1e3)

Open = Callable[[Sequence[str]], NotebookPage]

PANEL = """\
import farm_notebook as farm
from farm_notebook.providers.scripted import ScriptedProvider

said = ["all is well"]

@farm.register_provider
class Toy(ScriptedProvider):
    name, is_listed = "toy", True

    async def health_check(self):
        return farm.ProviderStatus(self.name, said[0] == "all is well", said[0])

panel = farm.HealthPanel()
panel"""
DOWN = "said[0] = '<img src=x onerror=alert(1)> is down'"
BUSY_UNTIL_ASKED = """\
import time
health, until = panel.parts["health"], time.monotonic() + 60
before = health.slices()["checked_at"]
while health.slices()["checked_at"] == before and time.monotonic() < until:
    time.sleep(0.02)
print("asked meanwhile" if health.slices()["checked_at"] != before else "asked in vain")"""

STATIC_SAYS = """\
words => window.jupyterapp.shell.currentWidget.content.model.cells.get(0).outputs.get(1)
    .data["text/plain"].includes(words)"""
RESTART = """\
() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()
    .then(() => { document.body.dataset.restarted = "" })"""


def panels(page: Page) -> Locator:
    return page.locator(".farm-panel:visible")


def toy(page: Page) -> Locator:
    """What the panels say of our own provider."""
    return panels(page).locator("li", has_text="toy")


def refresh(page: Page) -> Locator:
    return panels(page).get_by_role("button", name="Refresh").first


def test_the_panel_tells_the_state_and_its_button_asks_again(open_notebook: Open, page: Page) -> None:
    notebook = open_notebook([PANEL, DOWN])
    notebook.run(0)
    expect(toy(page)).to_contain_text("all is well")
    expect(page.locator(".farm-static")).to_be_hidden()
    notebook.run(1)
    refresh(page).click()
    expect(toy(page)).to_contain_text("<img src=x onerror=alert(1)> is down")
    expect(toy(page)).to_contain_text("not ok")


def test_a_click_is_heard_while_a_cell_runs(open_notebook: Open, page: Page) -> None:
    notebook = open_notebook([PANEL, BUSY_UNTIL_ASKED])
    notebook.run(0)
    expect(toy(page)).to_contain_text("all is well")
    expect(refresh(page)).to_have_attribute("aria-busy", "false")
    notebook.start(1)
    wait_for("the cell to run", lambda: notebook.prompt(1) == "[*]:")
    refresh(page).click()
    notebook.wait_for_text(1, "asked meanwhile")


def test_a_page_that_is_loaded_again_shows_the_present_state(open_notebook: Open, page: Page) -> None:
    notebook = open_notebook([PANEL, DOWN])
    notebook.run(0)
    expect(toy(page)).to_contain_text("all is well")
    notebook.save()
    notebook.run(1)
    notebook.open()
    expect(toy(page)).to_contain_text("is down")
    expect(page.locator(".farm-static")).to_be_hidden()
    refresh(page).click()
    expect(refresh(page)).to_have_attribute("aria-busy", "false")


def test_a_panel_whose_kernel_was_restarted_says_so(open_notebook: Open, page: Page) -> None:
    notebook = open_notebook([PANEL])
    notebook.run(0)
    expect(toy(page)).to_contain_text("all is well")
    page.evaluate(f"() => void ({RESTART})()")
    expect(panels(page).locator(".farm-note")).to_contain_text("The kernel of this panel is gone")
    expect(toy(page)).to_contain_text("all is well")
    page.locator("body[data-restarted]").wait_for(state="attached")  # or the server cannot end it


def test_two_views_stay_in_step(open_notebook: Open, page: Page) -> None:
    notebook = open_notebook([PANEL, DOWN])
    notebook.run(0)
    expect(toy(page)).to_contain_text("all is well")
    notebook.run(1)
    notebook.select(0)
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:create-output-view')")
    expect(panels(page)).to_have_count(2)
    refresh(page).click()
    expect(toy(page)).to_have_count(2)
    for index in range(2):
        expect(toy(page).nth(index)).to_contain_text("is down")


def test_two_browser_tabs_stay_in_step(
    open_notebook: Open, page: Page, lab: LabServer, browser_context: BrowserContext
) -> None:
    notebook = open_notebook([PANEL, DOWN])
    notebook.run(0)
    expect(toy(page)).to_contain_text("all is well")
    notebook.save()
    other = browser_context.new_page()
    NotebookPage(lab, other, notebook.path).open()
    expect(toy(other)).to_contain_text("all is well")
    notebook.run(1)
    refresh(other).click()
    for tab in (page, other):
        expect(toy(tab)).to_contain_text("is down")
    other.close()


def test_both_themes_are_readable(open_notebook: Open, page: Page, pictures: Path) -> None:
    notebook = open_notebook([PANEL])
    notebook.run(0)
    expect(toy(page)).to_contain_text("all is well")
    try:
        for name in THEMES:
            use_theme(page, name)
            panels(page).screenshot(path=pictures / f"health-panel-{name.lower()}.png")
            assert violations(panels(page)) == []
    finally:
        use_theme(page, "Light")


def saved_notebook_reads(notebook: NotebookPage, page: Page) -> str:
    """What a reader sees below the first cell, when JupyterLab has given up looking for the widget."""
    expect(page.locator(".farm-static")).to_be_visible()
    page.wait_for_function(
        "() => !document.querySelector('.jp-OutputArea')?.textContent.includes('Loading widget')",
        timeout=READY_S * 1e3,
    )
    expect(page.get_by_text("model not found")).to_be_hidden()
    expect(page.get_by_text("Loading widget")).to_be_hidden()
    expect(panels(page).locator(".farm-note")).to_have_count(0)
    return notebook.cells.nth(0).locator(".farm-static").inner_text()


def test_a_saved_notebook_is_readable_without_its_kernel(
    lab: LabServer, open_notebook: Open, page: Page
) -> None:
    notebook = open_notebook([PANEL, DOWN])
    notebook.run(0)
    expect(toy(page)).to_contain_text("all is well")
    notebook.run(1)
    refresh(page).click()
    expect(toy(page)).to_contain_text("is down")
    page.wait_for_function(STATIC_SAYS, arg="is down")  # it follows within seconds
    notebook.save()
    lab.shut_down_kernels()
    notebook.open()
    assert "<img src=x onerror=alert(1)> is down" in saved_notebook_reads(notebook, page)


@pytest.mark.parametrize("is_trusted", [True, False])
def test_a_notebook_that_was_run_without_a_page_is_readable(
    lab: LabServer, open_notebook: Open, page: Page, is_trusted: bool
) -> None:
    notebook = open_notebook([PANEL])
    document = nbformat.read(notebook.path, as_version=4)
    nbformat.write(document, source := lab.folder / "source.ipynb")
    jupyter_execute = [sys.executable, "-c", "from nbclient.cli import main; main()"]
    subprocess.run([*jupyter_execute, source, "--output", notebook.path], check=True, capture_output=True)
    assert "widgets" in nbformat.read(notebook.path, as_version=4).metadata
    notebook.open()
    if is_trusted:
        page.evaluate("() => void window.jupyterapp.commands.execute('notebook:trust')")
        page.locator(".jp-Dialog").get_by_role("button", name="Trust").click()
        page.locator(".jp-RenderedHTML.jp-mod-trusted").wait_for()
    assert "all is well" in saved_notebook_reads(notebook, page)
