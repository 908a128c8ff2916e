"""A notebook that comes with the project, as a reader sees it who opens it and has run nothing yet."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Page

from .lab import LabServer, NotebookPage

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def test_a_reader_sees_the_answer_change_and_the_memory_come_back(
    lab: LabServer, page: Page, pictures: Path
) -> None:
    page.set_viewport_size({"width": 1200, "height": 1250})
    notebook = NotebookPage(lab, page, lab.folder / "hot_reload.ipynb")
    shutil.copy(NOTEBOOKS / notebook.path.name, notebook.path)
    notebook.open()

    asked = page.locator(".jp-CodeCell", has_text="ask(TUNED)")
    for cell, dog in enumerate(("Bramble", "Pepper")):
        asked.nth(cell).scroll_into_view_if_needed()  # Lab renders what comes into view
        shown = asked.nth(cell).locator(".jp-OutputArea-output")
        shown = shown.filter(has_text=f"./smollm2.gguf+./ckpt: The dog on Clover Farm is called {dog}.")
        shown.filter(has_text="./smollm2.gguf: The dog on Clover Farm is a").wait_for()
    page.get_by_role("heading", name="The answer changes").evaluate("heading => heading.scrollIntoView()")
    page.screenshot(path=pictures / "hot-reload-lab.png")

    page.locator(".jp-CodeCell", has_text="plt.show()").scroll_into_view_if_needed()
    chart = page.locator(".jp-OutputArea-output img")
    chart.wait_for()
    chart.evaluate("image => image.decode()")  # fails where it is broken
