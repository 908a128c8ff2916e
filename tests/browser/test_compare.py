"""``%%farm_compare`` as a person sees it in JupyterLab: columns that grow, and a static table in the end."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext

from .lab import LabServer, NotebookPage, farm_outputs, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]

LOAD = "%load_ext farm_notebook"
# In the picture another engine has the file; torch takes a minute of a busy machine.
IS_PICTURE = os.environ.get("FARM_SCREENSHOTS") == "1"
SECOND = f"{'huggingface' if IS_PICTURE else 'llamacpp'}:./smollm2.gguf"
LONGEST = "" if IS_PICTURE else " --max-tokens 16"
MODELS = ["llamacpp:smollm2:135m", SECOND, "openai:gpt-4o"]
COLUMNS = ".jp-OutputArea-output div > div"

# Where each column begins and how wide it is, in pixels; then how much of it sticks out.
PLACES = """\
columns => columns.map(each => {
    const box = each.getBoundingClientRect();
    return [Math.round(box.left), Math.round(box.top), Math.round(box.width)];
})"""

ANSWER = """\
A **bold** word, a formula $a_1 + b_1$, and code:

```python
def a_function_with_a_very_long_name(argument_one, argument_two, argument_three, argument_four): return 42
```

- one
- two

| x | y |
|---|---|
| 1 | 2 |

</div><img src=x onerror="window.pwned=1"> and a [link](javascript:window.pwned=1)"""

ASK = f"""\
%%farm_compare -m llamacpp:smollm2:135m -m {SECOND} -m openai:gpt-4o --one-by-one -t 0 -o table{LONGEST}
Write a Python function that adds two numbers, and say in a few words how to call it."""
LOOK = 'table[["model", "first_token_s", "tokens_per_s", "output_tokens"]].round(2)'
GROWING = "%farm_compare -m scripted:slow-60 -m scripted:slow-40 -m scripted:error-auth Hi"
LONG = "%farm_compare -m scripted:count-900 -m scripted:slow-80 Hi"
HARMFUL = f"%%farm_compare --no-interpolate -m scripted:echo -m scripted:count-3\n{ANSWER}"
OPEN_ENDED = [
    "a $$ b",
    r"a \begin{align} b",
    r"a \\[ b",
    "a $ b",
    "```\nx",
    "- a\n  - b\n\n      x",
    "> ```\n> x",
]
SHOWN = [
    f"""\
from IPython.display import Markdown
from farm_notebook.reports.side_by_side import Part, side_by_side
Markdown(side_by_side([Part("first", {answer!r}), Part("second", {answer!r})]))"""
    for answer in OPEN_ENDED
]
CELLS = [LOAD, ASK, LOOK, GROWING, LONG, HARMFUL, *SHOWN]


def columns(notebook: NotebookPage, index: int) -> list[tuple[int, int, int]]:
    """The left, top and width of each column below a cell."""
    found = notebook.cells.nth(index).locator(COLUMNS).evaluate_all(PLACES)
    return [tuple(each) for each in found]


@pytest.fixture(scope="module")
def notebook(lab: LabServer, browser_context: BrowserContext, embedded_file: Path) -> Iterator[NotebookPage]:
    """One notebook and one kernel with the extension for all tests: each has cells of its own."""
    shutil.copy(embedded_file, lab.folder / "smollm2.gguf")
    page = browser_context.new_page()
    notebook = NotebookPage.create(lab, page, "compare", CELLS)
    notebook.run(CELLS.index(LOAD))
    yield notebook
    page.close()
    lab.shut_down_kernels()


def test_models_of_this_machine_are_compared(notebook: NotebookPage, pictures: Path) -> None:
    asked, looked = CELLS.index(ASK), CELLS.index(LOOK)
    notebook.start(asked)
    notebook.wait_until_done(asked, timeout_s=300)
    notebook.run(looked)

    assert "def add" in notebook.text(asked)
    assert "output_tokens" in notebook.text(looked)
    rows = notebook.rendered(asked).locator("table tbody tr").all_inner_texts()
    assert [row.split()[0] for row in rows] == MODELS
    assert re.match(r"openai:gpt-4o[\s-]+failed", rows.pop())
    assert all(re.search(r"\d+\.\d\d s\s+[\d.]+\s+\d+\s+\d+\.\d\d s\s+\$0\.00\s", row) for row in rows), rows
    lefts, tops, widths = zip(*columns(notebook, asked), strict=True)
    assert list(lefts) == sorted(set(lefts))
    assert max(tops) - min(tops) <= 2
    assert max(widths) - min(widths) <= 2
    for theme in ("light", "dark") if IS_PICTURE else ():
        with themed(notebook, theme):
            _picture(notebook, pictures / f"compare-lab{'' if theme == 'light' else '-dark'}.png")


def test_columns_grow_side_by_side_while_the_models_stream(notebook: NotebookPage) -> None:
    cell = CELLS.index(GROWING)
    notebook.start(cell)
    for words in ("word9", "tokens/s", "AuthenticationError"):
        notebook.wait_for_text(cell, words)
    wait_for("three columns", lambda: len({left for left, _, _ in columns(notebook, cell)}) == 3)
    live = columns(notebook, cell)
    assert len({top for _, top, _ in live}) == 1
    notebook.wait_until_done(cell)
    wait_for("the figures", lambda: notebook.rendered(cell).locator("tbody tr").count() == 3)
    assert "word59" in notebook.text(cell)
    assert notebook.outputs(cell).count() == 1
    assert len(columns(notebook, cell)) == 3
    note = notebook.rendered(cell).locator("small").first.inner_text()
    assert note.startswith("scripted:slow-60 and scripted:slow-40 ran on this machine at the same time")


def test_a_long_answer_can_be_read_whole_while_another_streams(notebook: NotebookPage) -> None:
    cell = CELLS.index(LONG)
    notebook.start(cell)
    notebook.wait_for_text(cell, "The whole answer stands below.")
    notebook.wait_for_text(cell, "word899")
    assert notebook.outputs(cell).count() == 2
    notebook.wait_until_done(cell)
    wait_for("one output", lambda: notebook.outputs(cell).count() == 1)
    lefts = {left for left, _, _ in columns(notebook, cell)}
    assert len(lefts) == 2
    assert "word899" in notebook.text(cell)
    assert "word79" in notebook.text(cell)


def test_no_answer_takes_the_place_of_the_next(notebook: NotebookPage) -> None:
    """Lab takes formulas out before it reads Markdown: one that is never closed must end with its column."""
    first = CELLS.index(SHOWN[0])
    notebook.run_from(first, len(SHOWN))
    for index, answer in enumerate(OPEN_ENDED, start=first):
        notebook.rendered(index).locator("strong").nth(1).wait_for()
        found = notebook.cells.nth(index).locator(COLUMNS).locator("strong").all_inner_texts()
        assert (found, len(columns(notebook, index))) == (["first", "second"], 2), answer


def test_answers_keep_to_their_columns_and_are_harmless_also_when_the_notebook_is_opened_again(
    notebook: NotebookPage, lab: LabServer
) -> None:
    cell = CELLS.index(HARMFUL)
    notebook.run(cell)
    _check_answer(notebook, cell)

    saved = notebook.save()
    (output,) = farm_outputs(saved.cells[cell])
    compared = [each["name"] for each in output.metadata["farm"]["compared"]]
    assert compared == ["scripted:echo", "scripted:count-3"]
    notebook.open()
    _check_answer(notebook, cell)

    lab.shut_down_kernels()
    output.metadata["changed"] = "by hand, so that Lab's signature is void"
    notebook.path.write_text(json.dumps(saved))
    notebook.open()
    _check_answer(notebook, cell)
    notebook.run(CELLS.index(LOAD))  # for a test that comes after this one


def _check_answer(notebook: NotebookPage, cell: int) -> None:
    """See that ``ANSWER`` is whole and in its column, and does nothing."""
    notebook.cells.nth(cell).scroll_into_view_if_needed()  # Lab lays out what is seen
    wait_for("the columns", lambda: len(columns(notebook, cell)) == 2)
    assert notebook.rendered(cell).locator("table").first.locator("tbody tr").count() == 2
    first = notebook.cells.nth(cell).locator(COLUMNS).first
    wait_for("the bold word", lambda: first.locator("strong").all_inner_texts()[1] == "bold")
    assert first.locator("li").all_inner_texts() == ["one", "two"]
    assert first.locator("td").all_inner_texts() == ["1", "2"]
    assert "def a_function_with_a_very_long_name" in first.locator("pre").inner_text()
    wait_for("the formula", lambda: first.locator("mjx-container").count() == 1)
    assert "</div>" in first.inner_text()
    assert first.locator("img").count() == 0
    assert first.locator('a[href^="javascript"]').count() == 0
    (left, right) = columns(notebook, cell)
    assert left[2] == pytest.approx(right[2], abs=2), "the long line has pushed the other aside"
    assert "word0 word1 word2" in notebook.text(cell)
    assert notebook.page.evaluate("window.pwned === undefined")


@contextmanager
def themed(notebook: NotebookPage, theme: str) -> Iterator[None]:
    """Lab in its dark theme, else as it is; it is light again afterwards."""
    _set_theme(notebook, theme)
    try:
        yield
    finally:
        _set_theme(notebook, "light")


def _set_theme(notebook: NotebookPage, theme: str) -> None:
    name = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}[theme]
    notebook.page.evaluate(
        "name => window.jupyterapp.commands.execute('apputils:change-theme', {theme: name})", name
    )
    notebook.page.locator(f'body[data-jp-theme-light="{str(theme == "light").lower()}"]').wait_for(
        state="attached"
    )


def _picture(notebook: NotebookPage, path: Path) -> None:
    """What a person sees, without the file browser and with the pointer out of the way."""
    page = notebook.page
    page.set_viewport_size({"width": 1200, "height": 780})
    page.keyboard.press("Escape")
    if page.locator("#jp-left-stack").is_visible():
        page.keyboard.press("Control+b")
        page.locator("#jp-left-stack").wait_for(state="hidden")
    page.locator(".jp-WindowedPanel-outer").first.evaluate("panel => panel.scrollTo(0, 0)")
    page.mouse.move(600, 770)
    page.wait_for_timeout(1000)
    page.screenshot(path=path)
