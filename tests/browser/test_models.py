"""Models that are loaded, watched and swapped, as a person sees it in JupyterLab."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Page

from .lab import LabServer, NotebookPage

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]

SETUP = """\
%load_ext farm_notebook
import farm_notebook as farm, os, time"""
SAVED = """\
os.utime("tuned.gguf")  # a training run saves its model
while farm.models.events()[-1].generation != 2: time.sleep(0.1)"""
QUESTION = "What is the capital of France? One sentence."
ASK = f"%%farm_chat -m llamacpp:./tuned.gguf -t 0 --max-tokens 40\n{QUESTION}"
CELLS = [
    SETUP,
    "%farm load llamacpp:./tuned.gguf",
    "%farm watch llamacpp:./tuned.gguf",
    SAVED,
    ASK,
    "%farm swap llamacpp:./tuned.gguf llamacpp:smollm2:135m",
    "%farm loaded",
    "%farm loaded --events 6",
    "%farm unload all",
]


def test_a_model_is_seen_to_come_to_change_and_to_go(
    lab: LabServer, page: Page, embedded_file: Path, pictures: Path
) -> None:
    shutil.copy(embedded_file, lab.folder / "tuned.gguf")
    page.set_viewport_size({"width": 1200, "height": 1060})
    notebook = NotebookPage.create(lab, page, "models", CELLS)
    notebook.run_from(0, len(CELLS))

    assert re.fullmatch(r"llamacpp:./tuned.gguf is loaded: [\d.]+ MB on .+ \([\d.]+ s\)\.", notebook.text(1))
    assert "is watched" in notebook.text(2)
    assert "llamacpp:./tuned.gguf was loaded anew at " in notebook.text(4)
    assert "(generation 2)" in notebook.text(4)
    assert notebook.text(5).startswith("llamacpp:smollm2:135m is loaded: ")
    assert notebook.text(5).endswith("; llamacpp:./tuned.gguf is unloaded.")
    for table in (6, 7):
        assert notebook.rendered(table).locator("table").count() == 1
        assert "llamacpp:smollm2:135m" in notebook.text(table)
    assert notebook.text(8).startswith("llamacpp:smollm2:135m is unloaded: ")
    page.screenshot(path=pictures / "models-lab.png")
