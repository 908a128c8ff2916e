"""marimo: panels are widgets of its own there, and the Python calls work in its running event loop."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from .lab import READY_S, wait_for
from .test_chat_panel import Chat

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(400)]

NOTEBOOK = """\
import marimo

app = marimo.App()


@app.cell
def _():
    import farm_notebook as farm

    f"Answer: {farm.chat('asked and waited for', model='scripted:echo')}"
    return (farm,)


@app.cell
async def _(farm):
    await farm.AsyncFarm().chat("**asked** and awaited", model="scripted:echo")
    return


@app.cell
def _(farm):
    panel = farm.ChatPanel(model="scripted:slow-2000")
    panel
    return (panel,)


if __name__ == "__main__":
    app.run()
"""


@contextmanager
def marimo(mode: str, root: Path) -> Iterator[str]:
    """marimo's server with the notebook, on a port of its own, at the address that is yielded."""
    (root / "notebook.py").write_text(NOTEBOOK)
    (root / "pyproject.toml").write_text("[tool.marimo.runtime]\nauto_instantiate = true\n")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}/"
    settings = {"FARM_CACHE__ENABLED": "0", "FARM_HISTORY__ENABLED": "0", "FARM_OFFLINE": "1"}
    homes = {name: str(root) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME")}
    options = ["--headless", "--no-token", "--host", "127.0.0.1", "--port", str(port)]
    with (root / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "marimo", "-q", mode, "notebook.py", *options],
            env={**os.environ, **settings, **homes},
            cwd=root,
            stdout=log,
            stderr=log,
        )
        try:
            wait_for("marimo to listen", lambda: is_there(address))
            yield address
        finally:
            server.terminate()
            server.wait(timeout=20)


def is_there(address: str) -> bool:
    try:
        with urlopen(f"{address}health", timeout=5):
            return True
    except OSError:
        return False


@pytest.fixture
def page(browser_context: BrowserContext) -> Iterator[Page]:
    page = browser_context.new_page()
    yield page
    page.close()


@pytest.mark.parametrize("mode", ["run", "edit"])
def test_a_panel_and_the_python_calls_work_in_marimo(
    mode: str, page: Page, tmp_path: Path, pictures: Path
) -> None:
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    with marimo(mode, tmp_path) as address:
        page.goto(address, timeout=READY_S * 1e3)
        expect(page.get_by_text("Answer: asked and waited for")).to_be_visible(timeout=READY_S * 1e3)
        expect(page.locator("strong", has_text="asked")).to_be_visible()
        chat = Chat(page.locator(".farm-chat"))

        # An answer streams, is stopped, and the page is loaded again.
        chat.send("count")
        chat.wait_for_word("word5")
        chat.stop.click()
        expect(chat.ended).to_contain_text("interrupted")
        words = chat.answer(0).inner_text()
        page.reload(timeout=READY_S * 1e3)
        expect(chat.turns.nth(0).locator(".farm-answer")).to_contain_text(words, timeout=READY_S * 1e3)
        chat.send("and again")
        chat.turns.nth(1).get_by_text("word5").wait_for()
        chat.stop.click()
        expect(chat.ended).to_have_count(2)
        page.screenshot(path=pictures / f"chat-panel-marimo-{mode}.png")
    assert not [each for each in requests if not each.startswith((address, "data:", "blob:"))]
