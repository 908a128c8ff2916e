"""The chat panel in JupyterLab with a long conversation: how it scrolls, and how soon it answers a key.

The limit of scrolling is the same elements in a page that holds nothing else. It needs Chromium, as the
browser tests do, whose JupyterLab it uses.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any

from playwright.sync_api import Page, sync_playwright

from benchmarks.measure import ROOT, Settings
from benchmarks.report import Row, Table, at_most

sys.path.append(str(ROOT / "tests"))

from browser.chromium import ARGUMENTS, NOT_FOUND, find_chromium
from browser.lab import LabServer, NotebookPage

ROUNDS = 5
TURNS, LONG_TURNS, LONG_CHARS = 200, 20, 100_000
FRAMES, STEP_PX = 300, 60
GOAL_FRAME = 1.1
GOAL_MS = 100
SETTLED_MS = 4_000  # until a page has drawn all that it was given

_CONVERSATION = f"""
from dataclasses import replace
import farm_notebook as farm
from farm_notebook.threads import default_threads
from farm_notebook.types import ChatMessage

words = "Some **words** and `code`, with [a link](https://example.org), as answers have them here and there. "
code = "```python\\nfor each in range(10):\\n    print(each)\\n```\\n\\n- one\\n- two\\n\\n"
part = "## Part\\n\\n" + (words * 4 + "\\n\\n") * 3 + code
reply = farm.chat("hello", model="scripted:count-3")
for turn in range({TURNS}):
    text = part * ({LONG_CHARS} // len(part)) if turn % {TURNS // LONG_TURNS} == 5 else words * 4
    default_threads().add("notebook", ChatMessage("user", f"Question {{turn}}"), replace(reply, text=text))
farm.ChatPanel(model="scripted:slow-2000")
"""

_SCROLL = """async ([frames, step]) => {
    const box = document.querySelector(".farm-transcript");
    box.scrollTop = box.scrollHeight;
    await new Promise(requestAnimationFrame);
    const times = [performance.now()];
    for (let frame = 0; frame < frames; frame++) {
        box.scrollTop -= step;
        await new Promise(requestAnimationFrame);
        times.push(performance.now());
    }
    return times.slice(1).map((time, index) => time - times[index]);
}"""

# Notes when a key is pressed, and when the page has painted what it brings about. Playwright's own looking at
# a page of this size would take longer than what it looks for.
_WATCH = """() => {
    window.moments = {};
    const note = name => (window.moments[name] ??= performance.now());
    const painted = name => requestAnimationFrame(() => setTimeout(() => note(name)));
    document.addEventListener("keydown", event => note(event.key), true);
    const chat = document.querySelector(".farm-chat");
    const turns = chat.querySelectorAll(".farm-turn").length;
    new MutationObserver(() => {
        const isRunning = chat.querySelector(".farm-stop") !== null;
        if (isRunning && chat.querySelectorAll(".farm-turn").length > turns) painted("shown");
        if (window.moments.shown && !isRunning) painted("stopped");
    }).observe(chat, {childList: true, subtree: true});
}"""


def run(settings: Settings) -> Table:
    """Scroll, ask and stop; a page for each round."""
    rounds = settings.rounds or ROUNDS
    panel: list[float] = []
    plain: list[float] = []
    shown_ms: list[float] = []
    stopped_ms: list[float] = []
    with _lab() as (lab, page):
        for number in range(rounds):
            notebook = NotebookPage.create(lab, page, f"long-{number}", [_CONVERSATION])
            notebook.run(0)
            page.wait_for_function(f"document.querySelectorAll('.farm-turn').length === {TURNS}")
            page.wait_for_timeout(SETTLED_MS)
            panel += page.evaluate(_SCROLL, [FRAMES, STEP_PX])
            plain += _scrolled_alone(page)
            moments = _ask_and_stop(page)
            shown_ms.append(moments["shown"] - moments["Enter"])
            stopped_ms.append(moments["stopped"] - moments["Escape"])
            lab.shut_down_kernels()
    rows = (
        at_most(
            "a frame while scrolling, p95",
            f"{_p95(panel):.1f} ms",
            f"the same elements alone: {_p95(plain):.1f} ms",
            _p95(panel) / _p95(plain),
            GOAL_FRAME,
        ),
        Row("· median", f"{median(panel):.1f} ms", f"the same elements alone: {median(plain):.1f} ms"),
        _within("Enter until the question is painted", shown_ms),
        _within("Escape until the answer has ended", stopped_ms),
    )
    title = (
        f"{TURNS} questions, {LONG_TURNS} of their answers of {LONG_CHARS // 1000} KB; JupyterLab in "
        f"Chromium without a graphics card; {rounds} pages, {FRAMES} frames each, {STEP_PX} px a frame."
    )
    return Table("chat_panel", title, rows)


@contextmanager
def _lab() -> Iterator[tuple[LabServer, Page]]:
    path = find_chromium()
    if path is None:
        raise RuntimeError(NOT_FOUND)
    environment = {"FARM_CACHE__ENABLED": "0", "FARM_HISTORY__ENABLED": "0", "FARM_OFFLINE": "1"}
    with (
        TemporaryDirectory() as folder,
        LabServer(Path(folder), environment).running() as lab,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield lab, browser.new_context(viewport={"width": 1200, "height": 800}).new_page()
        browser.close()


def _scrolled_alone(page: Page) -> list[float]:
    """The panel's elements and nothing else in a page of their own."""
    markup = page.evaluate("document.querySelector('.farm-transcript').innerHTML")
    style = "height:500px;overflow:auto"
    alone = page.context.new_page()
    try:
        alone.set_content(f'<div class="farm-transcript" style="{style}">{markup}</div>')
        alone.wait_for_timeout(SETTLED_MS)
        times: list[float] = alone.evaluate(_SCROLL, [FRAMES, STEP_PX])
        return times
    finally:
        alone.close()
        page.bring_to_front()


def _ask_and_stop(page: Page) -> dict[str, float]:
    page.locator(".farm-composer-text").click()
    page.keyboard.type("Go on.")
    page.evaluate(_WATCH)
    page.keyboard.press("Enter")
    page.wait_for_timeout(1_500)
    page.keyboard.press("Escape")
    page.wait_for_timeout(1_500)
    moments: dict[str, Any] = page.evaluate("window.moments")
    return moments


def _within(measure: str, taken_ms: list[float]) -> Row:
    least, most = min(taken_ms), max(taken_ms)
    ours = f"{median(taken_ms):.0f} ms ({least:.0f} to {most:.0f})"
    return Row(measure, ours, goal=f"≤ {GOAL_MS} ms", met=median(taken_ms) <= GOAL_MS)


def _p95(values: list[float]) -> float:
    return quantiles(values, n=20)[-1]
