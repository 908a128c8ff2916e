"""Panels and tables in JupyterLab that show what means harm: nothing in it runs, and no request leaves.

The payloads are those of ``markdown_payloads.txt``: in answers, reasoning, prompts, the names of models,
threads and files, what providers say of themselves, errors, and devices' names. ``hostile.py`` serves them.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Dialog, Locator, Page, Request, expect

from .lab import READY_S, LabServer, NotebookPage
from .test_chat_panel import GIVE, PIXEL, Chat
from .test_markdown_rendering import CANARIES, PAYLOADS

pytestmark = [pytest.mark.browser, pytest.mark.kernel, pytest.mark.slow, pytest.mark.timeout(400)]

HERE = Path(__file__).parent
SHORT = [each.text for each in PAYLOADS if "\n" not in each.text and "\0" not in each.text]
COMPARED = [each for each in SHORT if not set(each) & set("\"' ")][:8]
SETUP = """\
import os, tempfile
os.environ |= {"FARM_CACHE_DIR": tempfile.mkdtemp(), "FARM_HISTORY__ENABLED": "1"}
%load_ext farm_notebook
import farm_notebook as farm
import hostile
%farm alias harmless hostile:all
for name in hostile.SHORT:
    farm.chat("?", model=f"hostile:{name}")
"""
CELLS = [
    SETUP,
    "farm.ChatPanel(thread=hostile.THREAD, model='hostile:all')",
    "farm.HealthPanel()",
    "hostile.gpu_panel()",
    "farm.UsagePanel()",
    "%%farm_compare " + " ".join(f"-m hostile:{each}" for each in COMPARED) + " -m hostile:fails\nHi",
    "farm.ChatPanel(thread='of its own')",
]

ELSEWHERE = re.compile(r"^(?!http://127\.0\.0\.1:|ws:|file:|data:|blob:|about:)")
SHOWN = ".farm-panel, .jp-RenderedHTMLCommon"
IS_SETTLED = """\
() => window.jupyterapp.shell.currentWidget.content.model.cells.get(1).outputs.get(1)
    .data["text/plain"].includes("all of it")"""

# What in a panel or an output could act. Everything in it is pointed at and clicked on, for what acts unseen.
LOOK = """\
async (roots) => {
    const found = [];
    const seen = roots.flatMap(root => [...root.querySelectorAll("*")]);
    for (const each of seen) {
        if (/^(script|iframe|object|embed|form|link|base|meta|portal|frame|audio|video)$/i.test(each.tagName))
            found.push(each.outerHTML.slice(0, 200));
        if (each.tagName === "IMG" && !/^(data|blob):/.test(each.src))
            found.push(each.outerHTML.slice(0, 200));
        for (const {name, value} of each.attributes)
            if (/^on|^srcdoc$|^data-command/i.test(name) || /^\\W*(javascript|vbscript):/i.test(value))
                found.push(`${each.tagName} ${name}=${value}`.slice(0, 200));
    }
    for (const each of seen) {
        if (each.closest("button, textarea, input, select, summary")) continue;
        each.addEventListener("click", event => event.preventDefault(), {once: true});
        for (const kind of ["mouseover", "mouseenter", "focus", "click"])
            each.dispatchEvent(new MouseEvent(kind, {bubbles: false, cancelable: true}));
    }
    await new Promise(resolve => setTimeout(resolve, 50));
    return found;
}"""


class Watch:
    """What a page did that it should not have.

    Args:
        page: Before it is opened.
    """

    def __init__(self, page: Page) -> None:
        self.requests: list[str] = []
        self.ignored = "nothing"
        self._page = page
        page.context.route(ELSEWHERE, lambda route: route.abort())
        page.on("request", self._note)
        page.on("dialog", self._answer)
        page.on("popup", lambda popup: self.requests.append(f"a page of its own: {popup.url}"))
        page.add_init_script(CANARIES)

    def _answer(self, dialog: Dialog) -> None:
        if dialog.type != "beforeunload":  # that is JupyterLab's own
            self.requests.append(f"a dialog: {dialog.message}")
        dialog.accept()

    def _note(self, request: Request) -> None:
        is_elsewhere = bool(ELSEWHERE.match(request.url)) and not request.url.startswith(self.ignored)
        is_loaded = request.url.startswith("http") and request.resource_type in ("image", "media", "ping")
        if is_elsewhere or (is_loaded and not re.search("/static/|/kernelspecs/", request.url)):
            self.requests.append(request.url)

    def look(self, roots: Locator) -> None:
        """Point at and click on all there is, and see that nothing came of it."""
        roots.first.wait_for(state="attached")
        assert not self._page.evaluate(LOOK, roots.element_handles())
        self.check()

    def check(self) -> None:
        assert self._page.evaluate("window.executed") == []
        assert self._page.evaluate("typeof window.clobbered") == "undefined"
        assert self._page.evaluate("typeof document.getElementById") == "function"
        assert self.requests == []


@pytest.fixture
def watch(page: Page) -> Iterator[Watch]:
    yield Watch(page)
    page.context.unroute_all()


def test_nothing_that_is_shown_runs_or_loads_anything(lab: LabServer, page: Page, watch: Watch) -> None:
    shutil.copy(HERE / "hostile.py", lab.folder)
    (lab.folder / "payloads.json").write_text(json.dumps([each.text for each in PAYLOADS]))
    notebook = NotebookPage.create(lab, page, "hostile", CELLS)
    for index in range(len(CELLS)):
        notebook.run(index)

    # What was said before, and an answer that streams.
    chat = Chat(notebook.cells.nth(1).locator(".farm-chat"))
    expect(chat.turns.last).to_be_attached(timeout=READY_S * 1e3)
    chat.send("all of it")
    expect(chat.ended).to_have_count(len(PAYLOADS) + 1, timeout=READY_S * 1e3)
    watch.look(chat.root)
    chat.root.get_by_role("button", name="Model:").click()
    expect(chat.root.get_by_role("option").nth(20)).to_be_attached()
    watch.look(chat.root)
    page.keyboard.press("Escape")

    # An error, files' names, and the threads' names.
    other = Chat(notebook.cells.nth(6).locator(".farm-chat"))
    other.choose_model("hostile:fails")
    other.send("<img src=x onerror=ran(1)>")
    expect(other.root.get_by_role("alert")).to_contain_text("It failed")
    for payload in SHORT[:20]:
        other.root.evaluate(GIVE, ["drop", PIXEL, payload, "text/html"])
        other.root.evaluate(GIVE, ["drop", PIXEL, payload, "image/png"])
    watch.look(other.root)

    for index in range(2, 6):
        look_at_cell(notebook, watch, index)
    assert "It failed" in notebook.text(5)

    # The same without a kernel: as it was saved, as a stranger's, and as a page.
    page.wait_for_function(IS_SETTLED)
    notebook.select(0)
    saved = notebook.save()
    lab.shut_down_kernels()
    notebook.open()
    for index in range(1, 6):
        look_at_cell(notebook, watch, index)
    stranger = NotebookPage(lab, page, lab.folder / "stranger.ipynb")
    saved.cells[0].source += "  # not as it was signed"
    nbformat.write(saved, stranger.path)
    stranger.open()
    for index in range(1, 6):
        look_at_cell(stranger, watch, index)

    convert = [sys.executable, "-m", "nbconvert", "--to", "html", str(stranger.path), "--log-level=ERROR"]
    subprocess.run(convert, check=True, capture_output=True)
    watch.ignored = "https://cdnjs.cloudflare.com/"  # nbconvert's own formulas and widgets
    page.goto(stranger.path.with_suffix(".html").as_uri())
    watch.look(page.locator(".jp-OutputArea"))

    # What would run is noticed.
    picture = '<img src="https://evil.test/x" onerror="ran(1)">'
    page.evaluate("html => document.body.insertAdjacentHTML('beforeend', html)", picture)
    page.wait_for_function("executed.length > 0")
    assert watch.requests == ["https://evil.test/x"]


def look_at_cell(notebook: NotebookPage, watch: Watch, index: int) -> None:
    """JupyterLab draws what comes into view."""
    cell = notebook.cells.nth(index)
    cell.scroll_into_view_if_needed()
    expect(cell.locator(SHOWN).first).to_be_visible()
    watch.look(cell.locator(SHOWN))


KEY = "sk-planted" + "Zq8Wv3Xk7" * 4
SECRET_CELLS = [
    """\
import os, pathlib
os.environ["OPENAI_API_KEY"] = key = pathlib.Path("key.txt").read_text()
%load_ext farm_notebook
import farm_notebook as farm
from farm_notebook.errors import ProviderError
from farm_notebook.providers.scripted import ScriptedProvider

@farm.register_provider
class Talkative(ScriptedProvider):
    name, is_listed = "talkative", True

    async def stream(self, request):
        raise ProviderError(f"The key {key} was refused.", provider=self.name)
        yield

    async def health_check(self):
        raise ProviderError(f"Bearer {key} is not known", provider=self.name)

    async def list_models(self):
        raise ValueError(f"key={key}")""",
    "farm.ChatPanel(model='talkative:any')",
    "farm.Dashboard()",
    "farm.HealthPanel()",
    "farm.ModelPicker()",
    "%%farm_chat --no-history -m scripted:count-2\nIs {key} a key?",
    "%%farm_chat --no-history --dry-run -m talkative:any\nHello",
    "%%farm_chat --no-history -m talkative:any\nHello",
]


def test_a_key_reaches_neither_the_page_nor_the_saved_notebook(lab: LabServer, page: Page) -> None:
    (lab.folder / "key.txt").write_text(KEY)
    frames: list[str | bytes] = []

    def record(frame: str | bytes) -> None:
        frames.append(frame)

    page.on("websocket", lambda socket: socket.on("framereceived", record))
    notebook = NotebookPage.create(lab, page, "secrets", SECRET_CELLS)
    for index in range(len(SECRET_CELLS)):
        notebook.run(index)
    chat = Chat(notebook.cells.nth(1).locator(".farm-chat"))
    chat.send("hello?")
    expect(chat.root.get_by_role("alert")).to_contain_text("was refused")
    for index in range(1, len(SECRET_CELLS)):
        notebook.cells.nth(index).scroll_into_view_if_needed()
    page.wait_for_timeout(2500)  # until the static outputs have followed
    notebook.select(0)
    saved = notebook.save()
    told = b"".join(each if isinstance(each, bytes) else each.encode() for each in frames)
    assert b"was refused" in told, "nothing was recorded: this test shows nothing"
    assert not [cell.source for cell in saved.cells if KEY in json.dumps(cell)]
    assert KEY.encode() not in told
    assert KEY not in page.content()
