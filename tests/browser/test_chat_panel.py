"""The chat panel in JupyterLab, operated as a person would."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import pytest
from playwright.sync_api import Locator, Page, expect

from .lab import READY_S, LabServer, NotebookPage, wait_for
from .looks import THEMES, use_theme, violations

pytestmark = [pytest.mark.browser, pytest.mark.kernel, pytest.mark.model, pytest.mark.timeout(400)]

expect.set_options(timeout=READY_S * 1e3)

OpenNotebook: TypeAlias = Callable[[Sequence[str]], NotebookPage]

PANEL = "import farm_notebook as farm\npanel = farm.ChatPanel(model={model!r})\npanel"
STREAMS = (
    "from farm_notebook.providers.scripted import ScriptedProvider\nprint(ScriptedProvider.open_streams)"
)
CODE = "Here it is:\n\n```python\nx = 1\n```\n"
SLOW = "scripted:slow-2000"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

# What a person does who pastes or drops a file; a browser under test has no clipboard of the system's.
GIVE = """\
(target, [kind, base64, name, type]) => {
    const bytes = Uint8Array.from(atob(base64), each => each.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], name, {type}));
    const options = {bubbles: true, cancelable: true, composed: true};
    if (kind === "paste")
        target.dispatchEvent(new ClipboardEvent("paste", {...options, clipboardData: data}));
    else
        for (const step of ["dragenter", "dragover", "drop"])
            target.dispatchEvent(new DragEvent(step, {...options, dataTransfer: data}));
}"""


class Chat:
    """One view of a chat panel.

    Args:
        root: Where it is in the page.
    """

    def __init__(self, root: Locator) -> None:
        self.root = root
        self.field = root.get_by_role("textbox", name="Your question")
        self.turns = root.get_by_role("article")
        self.stop = root.get_by_role("button", name="Stop", exact=True)

    def send(self, text: str) -> None:
        """Type a question and press Enter."""
        self.field.click()
        self.field.page.keyboard.type(text)
        self.field.press("Enter")

    def ask(self, text: str) -> None:
        """The same, and wait until its answer has ended."""
        before = self.ended.count()
        self.send(text)
        expect(self.ended).to_have_count(before + 1)

    @property
    def ended(self) -> Locator:
        """The lines below answers that have ended."""
        return self.root.locator(".farm-reply-facts")

    def answer(self, index: int) -> Locator:
        """An answer, without what is around it; it is drawn when a frame has time for it."""
        return self.turns.nth(index).locator(".farm-answer").last

    def wait_for_word(self, word: str) -> None:
        self.root.get_by_text(word).last.wait_for()

    def choose_model(self, name: str) -> None:
        """Open the list of models, type a name and press Enter."""
        self.root.get_by_role("button", name="Model:").click()
        page = self.root.page
        page.keyboard.type(name)
        page.keyboard.press("Enter")
        self.root.get_by_role("button", name=f"Model: {name}", exact=True).wait_for()


@pytest.fixture
def open_chat(open_notebook: OpenNotebook) -> Callable[..., tuple[NotebookPage, Chat]]:
    """A function: a model and more cells to a notebook whose first cell shows a panel."""

    def opened(model: str, *sources: str) -> tuple[NotebookPage, Chat]:
        notebook = open_notebook([PANEL.format(model=model), *sources])
        notebook.run(0)
        chat = Chat(notebook.page.locator(".farm-chat").first)
        chat.root.wait_for()
        return notebook, chat

    return opened


OpenChat: TypeAlias = Callable[..., tuple[NotebookPage, Chat]]


def test_a_conversation_as_a_person_has_it(open_chat: OpenChat) -> None:
    notebook, chat = open_chat(
        "scripted:echo", "%load_ext farm_notebook", "%%farm_chat\nfrom a cell", STREAMS
    )
    expect(chat.root.get_by_text("What shall we look at?")).to_be_visible()

    chat.ask("hello **there**")
    expect(chat.answer(0)).to_have_text("hello there")
    expect(chat.field).to_have_value("")
    expect(chat.field).to_be_focused()
    expect(chat.root.get_by_text("What shall we look at?")).to_be_hidden()

    # Stopped while it streams: what had arrived stays, and the provider is let go.
    chat.choose_model(SLOW)
    chat.send("count")
    chat.wait_for_word("word5")
    expect(chat.stop).to_be_visible()
    chat.field.press("Escape")
    expect(chat.ended).to_have_count(2)
    expect(chat.answer(1)).to_have_text(re.compile(r"^word0 word1 .*word5"))
    assert "interrupted" in chat.ended.last.inner_text()
    notebook.run(3)
    assert notebook.text(3) == "0"

    # Asked again of another model, and in other words.
    chat.choose_model("scripted:count-2")
    chat.root.get_by_role("button", name="Ask again").click()
    expect(chat.answer(1)).to_have_text("word0 word1")
    chat.turns.nth(0).hover()
    chat.turns.nth(0).get_by_role("button", name="Edit the question").click()
    expect(chat.root.get_by_text("The question after it will be forgotten.")).to_be_visible()
    notebook.page.keyboard.press("Control+a")
    notebook.page.keyboard.type("other words")
    notebook.page.keyboard.press("Enter")
    expect(chat.turns).to_have_count(1)
    expect(chat.turns.nth(0).locator(".farm-bubble")).to_have_text("other words")
    expect(chat.ended).to_have_count(1)

    # What a cell asks is part of the same conversation.
    notebook.run(1)
    notebook.run(2)
    expect(chat.turns).to_have_count(2)
    expect(chat.turns.nth(1).locator(".farm-bubble")).to_have_text("from a cell")

    # An error stands where it happened.
    chat.choose_model("scripted:error-401")
    chat.send("hello?")
    expect(chat.root.get_by_role("alert")).to_contain_text("The key was refused")
    chat.choose_model("scripted:echo")
    chat.root.get_by_role("button", name="Retry").click()
    expect(chat.answer(2)).to_have_text("hello?")


def test_code_goes_into_cells_and_conversations_into_files(open_chat: OpenChat, lab: LabServer) -> None:
    insert = (
        "from farm_notebook import loop\n"
        "loop.run_blocking(panel.parts['chat'].calls()['insert']('y = 2'))  # as pages without cells do"
    )
    notebook, chat = open_chat("scripted:echo", insert, "'the end'")
    chat.field.click()
    notebook.page.keyboard.insert_text(CODE)
    chat.field.press("Enter")
    chat.root.get_by_role("button", name="Insert as new cell").click()
    expect(notebook.cells).to_have_count(4)
    expect(notebook.cells.nth(1).locator(".cm-content")).to_have_text("x = 1")
    assert notebook.prompt(1) == "[ ]:", "it was run"

    notebook.run(2)
    expect(notebook.cells).to_have_count(5)
    expect(notebook.cells.nth(3).locator(".cm-content")).to_have_text("y = 2")
    notebook.run(3)
    expect(notebook.cells).to_have_count(5)

    chat.root.get_by_role("button", name="More").click()
    chat.root.get_by_role("menuitem", name="Add to the notebook as Markdown cells").click()
    expect(notebook.cells).to_have_count(7)
    expect(notebook.cells.nth(2)).to_contain_text("You: Here it is:")

    for name in ("chat-notebook.ipynb", "chat-notebook-2.ipynb"):
        chat.root.get_by_role("button", name="More").click()
        chat.root.get_by_role("menuitem", name="Save as a notebook file").click()
        expect(chat.root.get_by_text(f"Saved as {lab.folder / name}")).to_be_visible()
        assert "x = 1" in (lab.folder / name).read_text()


def test_pictures_are_pasted_dropped_and_sent(open_chat: OpenChat) -> None:
    _, chat = open_chat("scripted:echo")
    attached = chat.root.get_by_role("list", name="Attached pictures").get_by_role("img")
    chat.field.evaluate(GIVE, ["paste", PIXEL, "pasted.png", "image/png"])
    expect(attached).to_have_count(1)
    chat.root.evaluate(GIVE, ["drop", PIXEL, "dropped.png", "image/png"])
    expect(attached).to_have_count(2)
    chat.root.evaluate(GIVE, ["drop", PIXEL, "page.html", "text/html"])
    expect(chat.root.get_by_text("page.html is no picture that models take")).to_be_visible()
    chat.ask("what is it?")
    expect(chat.answer(0)).to_have_text("[2 images: image/png, image/png] what is it?")
    expect(chat.turns.nth(0).get_by_role("list", name="Pictures").get_by_role("img")).to_have_count(2)
    expect(attached).to_have_count(0)

    # What only says that it is a picture is found out by the kernel.
    chat.field.evaluate(GIVE, ["paste", "PHN2Zz4=", "fake.png", "image/png"])
    expect(chat.root.get_by_text("fake.png cannot be read as a picture")).to_be_visible()


def test_views_stay_in_step_and_an_answer_outlives_its_page(open_chat: OpenChat) -> None:
    busy = "import time\nend = time.time() + 600\nwhile time.time() < end: time.sleep(0.05)"
    notebook, chat = open_chat(SLOW, "panel", busy, STREAMS)
    notebook.run(1)
    second = Chat(notebook.page.locator(".farm-chat").nth(1))
    second.root.wait_for()
    chat.send("count")
    second.wait_for_word("word5")

    # A page that is loaded afresh goes on with it.
    notebook.save()
    notebook.open()
    chat.wait_for_word("word5")
    seen = int(chat.answer(0).inner_text().rsplit("word", 1)[1])
    chat.wait_for_word(f"word{seen + 20}")
    words = re.findall(r"\d+", chat.answer(0).inner_text())
    assert words == [str(number) for number in range(len(words))]

    # Stop is heard while a cell runs.
    notebook.start(2)
    wait_for("the cell to run", lambda: notebook.prompt(2) == "[*]:")
    second.stop.click()
    expect(chat.ended).to_have_count(1)
    assert notebook.prompt(2) == "[*]:", "the panel had to wait for the cell's end"
    chat.send("and again")
    expect(chat.turns).to_have_count(2)
    chat.turns.nth(1).get_by_text("word3").wait_for()
    chat.field.press("Escape")
    expect(second.ended).to_have_count(2)
    assert notebook.prompt(2) == "[*]:"
    notebook.page.locator('.jp-Toolbar [data-command="notebook:interrupt-kernel"]').first.click()
    notebook.wait_until_done(2)
    notebook.run(3)
    assert notebook.text(3) == "0"


def test_the_keyboard_is_enough_and_its_keys_stay_in_the_panel(open_chat: OpenChat) -> None:
    notebook, chat = open_chat("scripted:echo", "1", "2")
    page = notebook.page
    chat.field.focus()
    page.keyboard.type("one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two dd aa bb")
    expect(chat.field).to_have_value("one\ntwo dd aa bb")
    page.keyboard.press("Enter")
    expect(chat.ended).to_have_count(1)
    expect(chat.turns.nth(0).locator(".farm-bubble")).to_have_text("one\ntwo dd aa bb", use_inner_text=True)

    # From the text backwards to the model, and another one chosen.
    for _ in range(30):
        page.keyboard.press("Shift+Tab")
        if "Model:" in (page.evaluate("document.activeElement.getAttribute('aria-label')") or ""):
            break
    page.keyboard.press("Enter")
    page.keyboard.type(SLOW)
    page.keyboard.press("Enter")
    expect(chat.root.get_by_role("button", name=f"Model: {SLOW}")).to_be_focused()

    # In command mode these would delete, add and run cells.
    for key in ("d", "d", "a", "b", "x", "Shift+Enter"):
        page.keyboard.press(key)
    page.keyboard.press("Escape")
    expect(notebook.cells).to_have_count(3)
    assert [notebook.prompt(index) for index in (1, 2)] == ["[ ]:", "[ ]:"]

    # The notebook is saved from within the panel all the same.
    chat.field.focus()
    expect(page.locator(".farm-static")).to_contain_text("two dd aa bb")
    static = notebook.save().cells[0].outputs[-1].data
    assert "two dd aa bb" in static["text/html"]
    assert "two dd aa bb" in static["text/plain"]


def test_a_saved_conversation_can_be_read_without_a_kernel(open_chat: OpenChat, lab: LabServer) -> None:
    notebook, chat = open_chat("scripted:echo")
    chat.ask("what **remains**?")
    static = notebook.page.locator(".farm-static")
    expect(static).to_be_hidden()
    expect(static).to_contain_text("what remains?")
    notebook.save()
    lab.shut_down_kernels()
    notebook.open()
    static.get_by_text("what").first.wait_for()
    expect(static.locator("strong")).to_have_text(["You:", "remains"])


def test_pictures_for_the_documentation(open_notebook: OpenNotebook, page: Page, pictures: Path) -> None:
    notebook = open_notebook([_STORY, PANEL.format(model="openai:gpt-4.1-mini")])
    page.set_viewport_size({"width": 1200, "height": 1000})
    notebook.run(0)
    notebook.run(1)
    chat = Chat(page.locator(".farm-chat"))
    chat.field.fill("Now as a seaborn plot, please.")
    try:
        for theme in THEMES:
            use_theme(page, theme)
            chat.root.screenshot(path=pictures / f"chat-panel-{theme.lower()}.png")
            colours = "e => ['color', 'backgroundColor'].map(name => getComputedStyle(e)[name])"
            text, ground = map(_lightness, chat.root.evaluate(colours))
            assert (text < ground) == (theme == "Light")
            assert violations(chat.root) == []
    finally:
        use_theme(page, "Light")


def _lightness(colour: str) -> int:
    return sum(map(int, re.findall(r"\d+", colour)[:3]))


_STORY = '''
from farm_notebook.reply import Reply
from farm_notebook.threads import default_threads
from farm_notebook.types import ChatMessage, ModelRef, Timings, Usage

answer = """A value is an **outlier** where it lies far outside of the middle half of the data.
With the quartiles $Q_1$ and $Q_3$, the usual fences are

$$Q_1 - 1.5 \\\\,(Q_3 - Q_1) \\\\quad\\\\text{and}\\\\quad Q_3 + 1.5 \\\\,(Q_3 - Q_1)$$

```python
def outliers(values: pd.Series) -> pd.Series:
    low, high = values.quantile([0.25, 0.75])
    reach = 1.5 * (high - low)
    return values[(values < low - reach) | (values > high + reach)]
```

| rule | good for | careful with |
|---|---|---|
| 1.5 · IQR | most columns | few rows |
| 3 standard deviations | normal data | outliers that widen them |
"""
default_threads().add(
    "notebook",
    ChatMessage("user", "How do I find the outliers of a column?"),
    Reply(
        answer,
        ModelRef("openai", "gpt-4.1-mini"),
        "stop",
        reasoning="They want a rule and code.",
        usage=Usage(412, 218),
        timings=Timings(first_token_s=0.38, tokens_per_s=94.0),
        cost=0.00051,
    ),
)
'''
