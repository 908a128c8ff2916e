"""A long answer in the chat panel of JupyterLab: the page stays alive, what is sent grows with the answer."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

import pytest
from playwright.sync_api import Page, expect

from .lab import READY_S, NotebookPage
from .looks import FROZEN_MS
from .test_chat_panel import Chat

pytestmark = [pytest.mark.browser, pytest.mark.kernel, pytest.mark.slow, pytest.mark.timeout(400)]

SETUP = """\
import asyncio
import farm_notebook as farm
from farm_notebook.providers.scripted import ScriptedProvider
from farm_notebook.types import Finished, Started, TextDelta, Usage

PIECE = "Some *words* of 20 ch"
BREAKS = {
    7: "\\n\\n",
    31: "\\n\\n```python\\nx = [n for n in range(9)]\\n```\\n\\n",
    43: "\\n\\n| a | b |\\n|--|--|\\n| 1 | 2 |\\n\\n",
}

@farm.register_provider
class Long(ScriptedProvider):
    name = "long"

    async def stream(self, request):
        yield Started(request.ref)
        count = int(request.ref.model)
        for number in range(count):
            await asyncio.sleep(0.001)
            yield TextDelta(PIECE + BREAKS.get(number % 50, " "))
        yield Finished("stop", Usage(1, count))"""
PANEL = "farm.ChatPanel(thread='{0}', model='long:{0}')"
SHORT, LONG = 1_250, 5_000  # deltas
# How long the page's thread was taken between two turns of a clock of 10 ms, and what it calls long tasks.
WATCH = """\
() => {
    window.waits = [];
    window.longTasks = [];
    let last = performance.now();
    window.clock = setInterval(() => {
        const now = performance.now();
        window.waits.push(Math.max(0, now - last - 10));
        last = now;
    }, 10);
    new PerformanceObserver(list => window.longTasks.push(...list.getEntries().map(each => each.duration)))
        .observe({type: "longtask"});
}"""


def test_an_answer_of_5000_deltas_does_not_freeze_the_page(
    page: Page, open_notebook: Callable[[Sequence[str]], NotebookPage]
) -> None:
    received = [0]

    def count(text: str | bytes) -> None:
        received[0] += len(text)

    page.on("websocket", lambda socket: socket.on("framereceived", count))
    notebook = open_notebook([SETUP, PANEL.format(SHORT), PANEL.format(LONG)])
    notebook.run(0)
    took_bytes = []
    for index, deltas in ((1, SHORT), (2, LONG)):
        notebook.run(index)
        chat = Chat(notebook.cells.nth(index).locator(".farm-chat"))
        chat.root.wait_for()
        page.evaluate(WATCH)
        before = received[0]
        chat.send("Go on.")
        expect(chat.ended).to_have_count(1, timeout=2 * READY_S * 1e3)
        page.evaluate("clearInterval(window.clock)")
        page.wait_for_timeout(2500)  # until the static output has come as well
        took_bytes.append(received[0] - before)
        assert (chat.answer(0).text_content() or "").count("Some words") == deltas
    waits, long_tasks = page.evaluate("[window.waits, window.longTasks]")
    centile = statistics.quantiles(waits, n=100)[94]
    text_bytes = LONG * 24
    print(
        f"\n{LONG} deltas: busy at a stretch for {centile:.0f} ms (p95), {max(waits):.0f} ms (longest), "
        f"{len(long_tasks)} tasks over 50 ms in {len(waits)} turns; "
        f"{took_bytes[1] / text_bytes:.1f} bytes sent for one of the answer, "
        f"{took_bytes[0] / took_bytes[1]:.2f} of them for a fourth of it"
    )
    assert centile < FROZEN_MS
    assert took_bytes[1] < 6 * took_bytes[0]  # four times the answer
