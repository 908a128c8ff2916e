"""``%%farm_compare`` as a person sees it in JupyterLab: columns that grow, and a static table in the end."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest
from playwright.sync_api import Page

from .lab import LabServer, NotebookPage, farm_outputs, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]

OpenNotebook: TypeAlias = Callable[[Sequence[str]], NotebookPage]

LOAD = "%load_ext farm_notebook"
# In the picture another engine has the file; torch takes a minute of a busy machine.
IS_PICTURE = os.environ.get("FARM_SCREENSHOTS") == "1"
SECOND = f"{'huggingface' if IS_PICTURE else 'llamacpp'}:./smollm2.gguf"
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


def columns(notebook: NotebookPage, index: int) -> list[tuple[int, int, int]]:
    """The left, top and width of each column below a cell."""
    found = notebook.cells.nth(index).locator(COLUMNS).evaluate_all(PLACES)
    return [tuple(each) for each in found]


def test_models_of_this_machine_are_compared(
    lab: LabServer, page: Page, pictures: Path, embedded_file: Path
) -> None:
    shutil.copy(embedded_file, lab.folder / "smollm2.gguf")
    ask = (
        f"%%farm_compare -m llamacpp:smollm2:135m -m {SECOND} -m openai:gpt-4o --one-by-one -t 0 -o table\n"
        "Write a Python function that adds two numbers, and say in a few words how to call it."
    )
    look = 'table[["model", "first_token_s", "tokens_per_s", "output_tokens"]].round(2)'
    notebook = NotebookPage.create(lab, page, "compare", [LOAD, ask, look])
    notebook.run(0)
    notebook.start(1)
    notebook.wait_until_done(1, timeout_s=300)
    notebook.run(2)

    assert "def add" in notebook.text(1)
    assert "output_tokens" in notebook.text(2)
    rows = notebook.rendered(1).locator("table tbody tr").all_inner_texts()
    assert [row.split()[0] for row in rows] == MODELS
    assert re.match(r"openai:gpt-4o[\s-]+failed", rows.pop())
    assert all(re.search(r"\d+\.\d\d s\s+\d+\s+\d+\s+\d+\.\d\d s\s+\$0\.00\s", row) for row in rows), rows
    lefts, tops, widths = zip(*columns(notebook, 1), strict=True)
    assert list(lefts) == sorted(set(lefts))
    assert max(tops) - min(tops) <= 2
    assert max(widths) - min(widths) <= 2
    for theme in ("light", "dark"):
        with themed(notebook, theme):
            _picture(notebook, pictures / f"compare-lab{'' if theme == 'light' else '-dark'}.png")


def test_columns_grow_side_by_side_while_the_models_stream(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook(
        [LOAD, "%farm_compare -m scripted:slow-60 -m scripted:slow-40 -m scripted:error-auth Hi"]
    )
    notebook.run(0)
    notebook.start(1)
    notebook.wait_for_text(1, "word9")
    assert "tokens/s" in notebook.text(1)
    assert "AuthenticationError" in notebook.text(1)
    live = columns(notebook, 1)
    assert len({left for left, _, _ in live}) == 3
    assert len({top for _, top, _ in live}) == 1
    notebook.wait_until_done(1)
    wait_for("the figures", lambda: notebook.rendered(1).locator("tbody tr").count() == 3)
    assert "word59" in notebook.text(1)
    assert notebook.outputs(1).count() == 1
    assert len(columns(notebook, 1)) == 3


def test_a_long_answer_can_be_read_whole_while_another_streams(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook([LOAD, "%farm_compare -m scripted:count-900 -m scripted:slow-80 Hi"])
    notebook.run(0)
    notebook.start(1)
    notebook.wait_for_text(1, "The whole answer stands below.")
    notebook.wait_for_text(1, "word899")
    assert notebook.outputs(1).count() == 2
    notebook.wait_until_done(1)
    wait_for("one output", lambda: notebook.outputs(1).count() == 1)
    lefts = {left for left, _, _ in columns(notebook, 1)}
    assert len(lefts) == 2
    assert "word899" in notebook.text(1)
    assert "word79" in notebook.text(1)


def test_answers_keep_to_their_columns_and_are_harmless(open_notebook: OpenNotebook) -> None:
    ask = f"%%farm_compare --no-interpolate -m scripted:echo -m scripted:count-3\n{ANSWER}"
    notebook = open_notebook([LOAD, ask])
    notebook.run(0)
    notebook.run(1)
    wait_for("the columns", lambda: len(columns(notebook, 1)) == 2)
    first = notebook.cells.nth(1).locator(COLUMNS).first
    assert first.locator("strong").all_inner_texts()[1] == "bold"
    assert first.locator("li").all_inner_texts() == ["one", "two"]
    assert first.locator("td").all_inner_texts() == ["1", "2"]
    assert "def a_function_with_a_very_long_name" in first.locator("pre").inner_text()
    wait_for("the formula", lambda: first.locator("mjx-container").count() == 1)
    assert "</div>" in first.inner_text()
    assert first.locator("img").count() == 0
    assert first.locator('a[href^="javascript"]').count() == 0
    (left, right) = columns(notebook, 1)
    assert left[2] == pytest.approx(right[2], abs=2), "the long line has pushed the other aside"
    assert notebook.page.evaluate("window.pwned === undefined")


def test_no_answer_takes_the_place_of_the_next(open_notebook: OpenNotebook) -> None:
    """Lab takes formulas out before it reads Markdown: one that is never closed must end with its column."""
    answers = [
        "a $$ b",
        r"a \begin{align} b",
        r"a \\[ b",
        "a $ b",
        "```\nx",
        "- a\n  - b\n\n      x",
        "> ```\n> x",
    ]
    show = """\
from IPython.display import Markdown
from farm_notebook.reports.side_by_side import Part, side_by_side
Markdown(side_by_side([Part("first", ANSWER), Part("second", ANSWER)]))"""
    notebook = open_notebook([LOAD, *(show.replace("ANSWER", repr(answer)) for answer in answers)])
    notebook.run_from(0, len(answers) + 1)
    for index, answer in enumerate(answers, start=1):
        notebook.rendered(index).locator("strong").nth(1).wait_for()
        found = notebook.cells.nth(index).locator(COLUMNS).locator("strong").all_inner_texts()
        assert (found, len(columns(notebook, index))) == (["first", "second"], 2), answer


@pytest.mark.parametrize("is_trusted", [True, False], ids=["trusted", "untrusted"])
def test_a_saved_comparison_is_there_when_the_notebook_is_opened_again(
    open_notebook: OpenNotebook, lab: LabServer, is_trusted: bool
) -> None:
    notebook = open_notebook([LOAD, f"%%farm_compare -m scripted:echo -m scripted:count-3\n{ANSWER}"])
    notebook.run(0)
    notebook.run(1)
    saved = notebook.save()
    (output,) = farm_outputs(saved.cells[1])
    assert [each["name"] for each in output.metadata["farm"]["compared"]] == [
        "scripted:echo",
        "scripted:count-3",
    ]
    lab.shut_down_kernels()
    if not is_trusted:
        output.metadata["changed"] = "by hand, so that Lab's signature is void"
        notebook.path.write_text(json.dumps(saved))

    notebook.open()

    notebook.rendered(1).locator("pre").wait_for()
    assert notebook.rendered(1).locator("table").first.locator("tbody tr").count() == 2
    assert "word0 word1 word2" in notebook.text(1)
    assert notebook.rendered(1).locator("img").count() == 0


def test_what_is_told_below_the_figures_is_small_print(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook([LOAD, "%farm_compare -m scripted:echo -m scripted:count-3 Hi"])
    notebook.run(0)
    notebook.run(1)
    note = notebook.rendered(1).locator("small").first.inner_text()
    assert note.startswith("scripted:echo and scripted:count-3 ran on this machine at the same time")


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
