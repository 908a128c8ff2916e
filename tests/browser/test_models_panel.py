"""The models' panel in JupyterLab, operated as a person would; and the dashboard, which holds all panels."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import pytest
from playwright.sync_api import Locator, Page, expect

from .lab import READY_S, LabServer, NotebookPage
from .looks import THEMES, use_theme, violations

pytestmark = [pytest.mark.browser, pytest.mark.kernel, pytest.mark.model, pytest.mark.slow]
expect.set_options(timeout=READY_S * 1e3)

Open: TypeAlias = Callable[[Sequence[str]], NotebookPage]

TOYS = """\
%load_ext farm_notebook
import asyncio
import farm_notebook as farm
from farm_notebook.errors import LoadError
from farm_notebook.providers.scripted import ScriptedProvider
from farm_notebook.types import LoadProgress, ModelInfo, ModelRef, ModelStatus

@farm.register_provider
class Toy(ScriptedProvider):
    name, is_listed, there = "toy", True, {}

    async def list_models(self):
        names = "count-3", "echo", "slow-2000", "error-401"
        return [ModelInfo(ModelRef("toy", name), 10**9, 8192, available=True) for name in names]

    async def load_model(self, model):
        if model == "error-401":
            raise LoadError("<img src=x onerror=alert(1)> is torn. Run: farm pull toy:error-401")
        self.there[model] = "loading"
        try:
            for step in range(1, 1000):
                yield LoadProgress("fetch", step * 10**6, 10**9)
                await asyncio.sleep(0.1)
        finally:
            del self.there[model]

    async def model_statuses(self):
        return [ModelStatus(ModelRef("toy", model), state) for model, state in self.there.items()]
"""
PANEL = "panel = farm.ModelPicker()\npanel"
EMBEDDED = "llamacpp:smollm2:135m"
NOTE_PROGRESS = """\
() => {
    window.progress = [];
    const look = () => window.progress.push(document.querySelector(".farm-models-pace")?.textContent ?? "");
    new MutationObserver(look).observe(document.querySelector(".farm-models-list"), {
        subtree: true, childList: true, characterData: true,
    });
}"""
STATIC_SAYS = """\
words => window.jupyterapp.shell.currentWidget.content.model.cells.get(1).outputs.get(1)
    .data["text/plain"].includes(words)"""


class Picker:
    """One view of the panel.

    Args:
        root: Where it is in the page.
    """

    def __init__(self, root: Locator) -> None:
        self.root = root
        self.search = root.get_by_role("textbox", name="Search models")
        self.answers = root.locator(".farm-models-answers")

    def line(self, name: str) -> Locator:
        """What is told of a model."""
        exact = self.root.page.locator(".farm-models-name", has_text=re.compile(f"^{re.escape(name)}$"))
        return self.root.locator("li").filter(has=exact)

    def choose(self, name: str) -> None:
        self.line(name).locator(".farm-models-main").click()

    def do(self, what: str, name: str) -> None:
        """Go to a model with the pointer, and press one of its buttons."""
        self.line(name).hover()
        button = self.line(name).get_by_role("button", name=f"{what} {name}", exact=True)
        button.click(force=True)  # where it is now: an error above it may just have moved the line away


def opened(notebook: NotebookPage) -> Picker:
    """Run the first two cells, and wait until the panel in the second one tells of our models."""
    notebook.run(0)
    notebook.run(1)
    picker = Picker(notebook.page.locator(".farm-models").first)
    expect(picker.line("echo")).to_be_visible()
    return picker


def test_models_are_chosen_loaded_and_given_up(open_notebook: Open) -> None:
    cells = [
        "%%farm_chat\nhello",
        "%farm model toy:echo",
        f"%farm unload {EMBEDDED}",
        f"%farm load {EMBEDDED}",
    ]
    notebook = open_notebook([TOYS, PANEL, *cells])
    picker = opened(notebook)
    expect(notebook.page.locator(".farm-static")).to_be_hidden()

    # What is chosen answers in the next cell, and what a cell chooses is shown.
    picker.choose("count-3")
    expect(picker.answers).to_have_text("default: toy:count-3")
    notebook.run(2)
    assert "word0 word1 word2" in notebook.text(2)
    notebook.run(3)
    expect(picker.answers).to_have_text("default: toy:echo")
    expect(picker.line("echo").locator(".farm-models-main")).to_have_attribute("aria-pressed", "true")

    # An error stands where it happened, and a slow load can be cancelled.
    picker.do("Load", "error-401")
    error = picker.line("error-401").get_by_role("alert")
    expect(error).to_contain_text("<img src=x onerror=alert(1)> is torn.")
    error.get_by_role("button", name="Dismiss").click()
    expect(picker.root.get_by_role("alert")).to_have_count(0)
    picker.do("Load", "slow-2000")
    expect(picker.line("slow-2000")).to_contain_text(re.compile(r"Fetching \d+ MB of 1\.0 GB, .*/s, .* left"))
    picker.line("slow-2000").get_by_role("button", name="Cancel").click()
    expect(picker.line("slow-2000").get_by_role("progressbar")).to_have_count(0)
    expect(picker.line("slow-2000")).not_to_contain_text("loading")

    # A real model, loaded here and given up in a cell, loaded in a cell and given up here.
    notebook.page.evaluate(NOTE_PROGRESS)
    picker.do("Load", "smollm2:135m")
    expect(picker.line("smollm2:135m").locator(".farm-models-badge", has_text="loaded")).to_be_visible()
    assert any(told.startswith("Loading") for told in notebook.page.evaluate("() => window.progress"))
    notebook.run(4)
    expect(picker.line("smollm2:135m")).to_contain_text("on this machine")
    notebook.run(5)
    expect(picker.line("smollm2:135m").locator(".farm-models-badge", has_text="loaded")).to_be_visible()
    picker.do("Unload", "smollm2:135m")
    expect(picker.line("smollm2:135m")).to_contain_text("on this machine")


def test_every_view_shows_a_load_and_a_saved_notebook_the_models(
    lab: LabServer, open_notebook: Open, page: Page
) -> None:
    notebook = open_notebook([TOYS, PANEL])
    picker = opened(notebook)
    notebook.save()
    notebook.select(1)
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:create-output-view')")
    views = page.locator(".farm-models:visible")
    expect(views).to_have_count(2)
    Picker(views.nth(1)).do("Load", "slow-2000")
    for index in range(2):
        expect(Picker(views.nth(index)).line("slow-2000").get_by_role("progressbar")).to_be_visible()

    # The page is loaded again during the load.
    notebook.open()
    picker = Picker(page.locator(".farm-models").first)
    expect(picker.line("slow-2000").get_by_role("progressbar")).to_be_visible()
    picker.line("slow-2000").get_by_role("button", name="Cancel").click()
    expect(page.locator(".farm-models [role=progressbar]")).to_have_count(0)

    # Without a kernel there is a table.
    notebook.run(1)
    picker = Picker(page.locator(".farm-models").first)
    picker.choose("echo")
    expect(picker.answers).to_have_text("default: toy:echo")
    page.wait_for_function(STATIC_SAYS, arg="toy:echo (default)")  # it follows within seconds
    notebook.save()
    lab.shut_down_kernels()
    notebook.open()
    expect(page.locator(".farm-static")).to_be_visible()
    expect(page.locator(".farm-static tr", has_text="toy:echo (default)")).to_contain_text("1.0 GB")


def test_the_keyboard_alone_will_do(open_notebook: Open, page: Page) -> None:
    notebook = open_notebook([TOYS, PANEL, ""])
    picker = opened(notebook)
    focused = page.locator(":focus")
    picker.search.focus()
    page.keyboard.type("toy count")
    expect(picker.root.locator("mark", has_text="count")).to_be_visible()
    page.keyboard.press("Enter")
    expect(picker.answers).to_have_text("default: toy:count-3")
    page.keyboard.press("Escape")
    page.keyboard.type("slow")
    page.keyboard.press("ArrowDown")
    expect(focused).to_contain_text("slow-2000")
    page.keyboard.press("ArrowRight")
    expect(focused).to_have_text("Load")
    page.keyboard.press("Enter")
    expect(picker.line("slow-2000").get_by_role("progressbar")).to_be_visible()
    expect(focused).to_contain_text("slow-2000")  # and not lost with the button
    page.keyboard.press("Tab")
    expect(focused).to_have_text("Cancel")
    page.keyboard.press("Enter")
    expect(picker.root.get_by_role("progressbar")).to_have_count(0)
    page.keyboard.press("Control+f")
    expect(picker.search).to_be_focused()
    expect(page.locator(".jp-DocumentSearch-overlay")).to_have_count(0)
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowDown")
    for _ in range(2):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("/")
    expect(picker.search).to_be_focused()
    assert (notebook.cells.count(), notebook.prompt(1)) == (3, "[2]:"), "a key went to the notebook"


def test_both_themes_are_readable_and_the_dashboard_holds_all_panels(
    open_notebook: Open, page: Page, pictures: Path
) -> None:
    notebook = open_notebook([STORY, PANEL, "farm.Dashboard()"])
    page.set_viewport_size({"width": 1200, "height": 1000})
    notebook.run(0)
    notebook.run(1)
    picker = Picker(page.locator(".farm-models").first)
    picker.do("Load", "qwen3:4b")
    picker.do("Load", "broken-shards:7b")
    expect(picker.line("broken-shards:7b").get_by_role("alert")).to_be_visible()
    expect(picker.line("qwen3:4b")).to_contain_text(" left")
    try:
        for name in THEMES:
            use_theme(page, name)
            picker.line("llama3.2:3b").hover()
            picker.root.screenshot(path=pictures / f"models-panel-{name.lower()}.png")
            assert violations(picker.root) == []
        notebook.run(2)
        dashboard = page.locator(".farm-panel").last
        for tab, label in (("Devices", "Devices"), ("Health", "Health of the providers"), ("Usage", "Usage")):
            dashboard.get_by_role("tab", name=tab, exact=True).click()
            expect(dashboard.get_by_role("region", name=label, exact=True)).to_be_visible()
        page.keyboard.press("Home")
        expect(dashboard.get_by_role("textbox", name="Your question")).to_be_visible()
        page.keyboard.press("ArrowRight")
        expect(Picker(dashboard).line("qwen3:4b").get_by_role("progressbar")).to_be_visible()
        Picker(dashboard).line("llama3.2:3b").hover()
        dashboard.screenshot(path=pictures / "dashboard-light.png")
        assert violations(dashboard) == []
    finally:
        use_theme(page, "Light")


STORY = """\
import asyncio
import farm_notebook as farm
from farm_notebook.errors import LoadError
from farm_notebook.providers.scripted import ScriptedProvider
from farm_notebook.types import LoadProgress, ModelInfo, ModelRef, ModelStatus

class Story(ScriptedProvider):
    is_listed = True

    def model(self, name, size, context, *can, **more):
        more["capabilities"] = frozenset(("chat", *can))
        return ModelInfo(ModelRef(self.name, name), size, context, **more)

@farm.register_provider
class Ollama(Story):
    name = "ollama"

    async def list_models(self):
        return [
            self.model("llama3.2:3b", 2_019_393_189, 131_072, "tools", available=True),
            self.model("qwen3:4b", 2_497_293_918, 262_144, "tools", "reasoning", available=True),
            self.model("broken-shards:7b", 4_700_000_000, 32_768, available=True),
            self.model("gpt-oss:120b", 65_369_818_941, 131_072, "tools", "reasoning"),
        ]

    async def load_model(self, model):
        if model == "broken-shards:7b":
            raise LoadError(f"Shard 2 of 3 is not whole. Run: farm pull ollama:{model}")
        for step in range(420, 2_497):
            yield LoadProgress("load", step * 1_000_000, 2_497_293_918, device="cpu")
            await asyncio.sleep(0.05)

    async def model_statuses(self):
        return [ModelStatus(ModelRef("ollama", "llama3.2:3b"), "ready", 1, 2_019_393_189, ("cpu",))]

@farm.register_provider
class OpenAI(Story):
    name = "openai"

    async def list_models(self):
        return [
            self.model("gpt-4.1-mini", None, 1_047_576, "tools", "vision", available=True),
            self.model("o4-mini", None, 200_000, "tools", "vision", "reasoning", available=True),
        ]

    def runs_here(self, model):
        return False

from farm_notebook.farm import default_farm
default_farm().use("openai:gpt-4.1-mini")
"""
