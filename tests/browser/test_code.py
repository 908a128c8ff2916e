"""``%%farm_code`` and ``%farm fix`` in JupyterLab: the proposed cell stands below, and was not run."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from .lab import LabServer, NotebookPage

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]

SETUP = '''\
%load_ext farm_notebook
import pandas as pd
import farm_notebook
from farm_notebook.providers.scripted import ScriptedProvider
from farm_notebook.types import Finished, Started, TextDelta

class Told(ScriptedProvider):
    """Says what a model would say of this notebook."""

    name = "told"
    async def stream(self, request):
        yield Started(request.ref)
        yield TextDelta(WORDS[request.ref.model])
        yield Finished("stop")

WORDS = {
    "code": "```python\\nsales.groupby('city')['price'].mean()\\n```",
    "fix": "`maen` is misspelt: the name is `mean`.\\n\\n"
    "```python\\nmean = sales.price.mean()\\nprint(f'{mean:.2f}')\\n```",
}
farm_notebook.register_provider(Told)
sales = pd.DataFrame({"city": ["Rome", "Oslo", "Rome"], "price": [3.0, 5.0, 4.0]})'''
CODE = "%%farm_code -m told:code\nthe mean price of sales by city"
CELLS = [SETUP, CODE, "mean = sales.price.mean()\nprint(f'{maen:.2f}')", "%farm fix -m told:fix", "# the end"]


def source(notebook: NotebookPage, index: int) -> str:
    return notebook.cells.nth(index).locator(".cm-content").inner_text().strip()


def test_what_is_proposed_stands_below_and_was_not_run(lab: LabServer, page: Page, pictures: Path) -> None:
    page.set_viewport_size({"width": 1000, "height": 1250})
    notebook = NotebookPage.create(lab, page, "code", CELLS)
    notebook.run(0)
    notebook.run(1)
    expect(notebook.cells).to_have_count(len(CELLS) + 1)
    assert source(notebook, 2) == "sales.groupby('city')['price'].mean()"
    assert notebook.prompt(2).strip("[]: ") == ""
    assert "context: sales, imports · " in notebook.text(1)
    notebook.run(2)
    assert "Rome" in notebook.text(2)

    notebook.run(3)
    notebook.run(4)
    expect(notebook.cells).to_have_count(len(CELLS) + 2)
    assert "maen is misspelt" in notebook.text(4)
    assert "context: the error, In[4], mean, sales · " in notebook.text(4)
    assert source(notebook, 5).endswith("print(f'{mean:.2f}')")
    assert notebook.prompt(5).strip("[]: ") == ""
    notebook.run(5)
    assert notebook.text(5) == "4.00"
    notebook.select(1)  # scrolls there
    page.screenshot(path=pictures / "code-lab.png")


def test_the_code_may_take_the_place_of_the_cell(lab: LabServer, page: Page) -> None:
    notebook = NotebookPage.create(
        lab, page, "code-replaced", [SETUP, CODE.replace("-m", "--replace -m"), "# the end"]
    )
    notebook.run(0)
    notebook.run(1)
    expect(notebook.cells.nth(1).locator(".cm-content")).to_have_text("sales.groupby('city')['price'].mean()")
