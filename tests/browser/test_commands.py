"""``%farm`` and answers of stand-ins, as a person sees them in JupyterLab."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page

from .lab import LabServer, NotebookPage

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]

SETUP = """\
%load_ext farm_notebook
import os, tempfile
os.environ |= {
    "FARM_CACHE_DIR": tempfile.mkdtemp(),
    "FARM_HISTORY__ENABLED": "1",
    "FARM_MODEL": "fast",
    "FARM_ALIASES": '{"fast": {"model": "scripted:error-503", "fallback": ["scripted:echo"]}}',
    "FARM_RETRY__ATTEMPTS": "1",
}"""
ASK = "%%farm_chat --no-history\nAll is well."
CELLS = [SETUP, ASK, "%farm route", "%farm health", "%farm usage --plot", "%farm history", "%farm cach"]


def test_what_went_wrong_and_what_it_came_to_can_be_read(lab: LabServer, page: Page, pictures: Path) -> None:
    page.set_viewport_size({"width": 1200, "height": 1850})
    notebook = NotebookPage.create(lab, page, "commands", CELLS)
    notebook.run_from(0, len(CELLS))

    answer = notebook.text(1)
    assert answer.startswith("All is well.")
    assert re.search(r"scripted:echo · instead of scripted:error-503 \(.*failed on cue\)", answer)
    assert "→ scripted:error-503" in notebook.text(2)
    assert notebook.rendered(3).locator("table").count() == 1
    assert "llamacpp" in notebook.text(3)
    assert notebook.rendered(4).locator("img").count() == 1
    assert notebook.rendered(4).locator("table").count() == 1
    assert "scripted:echo" in notebook.text(4)
    assert "All is well." in notebook.text(5)
    assert "Did you mean cache?" in notebook.text(6)
    page.screenshot(path=pictures / "commands-lab.png")
