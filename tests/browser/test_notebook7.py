"""Jupyter Notebook 7: a panel works in it, and a magic streams and completes, as in JupyterLab."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from .lab import READY_S, LabServer, NotebookPage
from .test_chat_panel import STREAMS, Chat
from .test_completion import complete

pytestmark = [pytest.mark.browser, pytest.mark.kernel, pytest.mark.slow, pytest.mark.timeout(400)]

PANEL = "import farm_notebook as farm\nfarm.ChatPanel(model='scripted:slow-2000')"
CELLS = [
    "%load_ext farm_notebook",
    PANEL,
    "%%farm_chat -m scripted:slow-60 --no-history\nGo on.",
    "",
    STREAMS,
]
ENVIRONMENT = {"FARM_CACHE__ENABLED": "0", "FARM_HISTORY__ENABLED": "0", "FARM_OFFLINE": "1"}
STATIC_SAYS = """\
words => window.jupyterapp.shell.currentWidget.content.model.cells.get(1).outputs.get(1)
    .data["text/plain"].includes(words)"""


class Notebook7Server(LabServer):
    """The same server with the other front end."""

    def notebook_url(self, name: str) -> str:
        return f"{self._url}notebooks/{name}?token={self._token}"

    def _command(self) -> list[str]:
        rest = [each for each in super()._command()[3:] if not each.startswith("--LabApp")]
        return [sys.executable, "-m", "notebook", *rest, "--JupyterNotebookApp.expose_app_in_browser=True"]


@pytest.fixture
def page(browser_context: BrowserContext) -> Iterator[Page]:
    page = browser_context.new_page()
    yield page
    page.close()


def test_a_panel_and_the_magics_work_in_notebook_7(page: Page, tmp_path: Path, pictures: Path) -> None:
    with Notebook7Server(tmp_path / "server", ENVIRONMENT).running() as server:
        notebook = NotebookPage.create(server, page, "seven", CELLS)
        notebook.run(0)
        notebook.run(1)
        chat = Chat(page.locator(".farm-chat"))

        # A magic streams while the panel's answer does, and completes its options.
        chat.send("count")
        chat.wait_for_word("word5")
        notebook.start(2)
        notebook.wait_for_text(2, "word5")
        assert "word59" not in notebook.text(2), "it came at once: this test shows nothing"
        notebook.wait_for_text(2, "60 tokens")
        notebook.wait_until_done(2)
        seen = int(re.findall(r"\d+", chat.answer(0).inner_text())[-1])
        chat.wait_for_word(f"word{seen + 5}")
        chat.stop.click()
        expect(chat.ended).to_contain_text("interrupted")

        notebook.select(3)
        page.keyboard.type("%%farm_chat --temp")
        complete(notebook, ["--temperature"])
        expect(notebook.cells.nth(3).locator(".cm-content")).to_contain_text("--temperature")
        notebook.run(4)
        assert notebook.text(4) == "0", "a provider still streams"

        # What is saved can be read when the kernel is gone.
        page.screenshot(path=pictures / "chat-panel-notebook-7.png")
        page.wait_for_function(STATIC_SAYS, arg="word5")  # it follows within seconds
        saved = notebook.save()
        assert "word5" in str(saved.cells[1].outputs[1:])
        assert "widgets" not in saved.metadata
        server.shut_down_kernels()
        notebook.open()
        static = page.locator(".farm-static")
        expect(static).to_be_visible(timeout=READY_S * 1e3)
        expect(static).to_contain_text("word5")
