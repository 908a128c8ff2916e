"""What a person sees in JupyterLab: cells are run by keyboard, and the page is read as it is rendered.

Most answers come from the scripted provider, so that the page is all that is tested; the quickstart asks
the embedded model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import pytest
from playwright.sync_api import Page

from .lab import LabServer, NotebookPage, farm_outputs, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]

OpenNotebook: TypeAlias = Callable[[Sequence[str]], NotebookPage]

LOAD = "%load_ext farm_notebook"
FRANCE = "%%farm_chat -t 0\nWhat is the capital of France? Answer in one sentence."
ECHO = "%%farm_chat -m scripted:echo --no-history --no-interpolate"

# The scripted echo says all at once; here it takes its time, so that the page is painted on the way.
PACE = """\
import asyncio
from farm_notebook.providers.scripted import ScriptedProvider

def paced(stream, delay_s):
    async def slowly(self, request):
        async for event in stream(self, request):
            await asyncio.sleep(delay_s)
            yield event
    return slowly

ScriptedProvider.stream = paced(ScriptedProvider.stream, DELAY_S)"""

# Every frame of the page on which a cell's outputs differ from the frame before: their texts.
WATCH = """\
cell => {
    window.frames_seen = [];
    let last = null;
    const look = () => {
        const texts = [...cell.querySelectorAll(".jp-OutputArea-output")].map(each => each.innerText);
        if (JSON.stringify(texts) !== last) {
            last = JSON.stringify(texts);
            window.frames_seen.push(texts);
        }
        requestAnimationFrame(look);
    };
    look();
}"""

# What in an output could act. Everything in it is pointed at and clicked on, for what acts unseen.
TOUCH = """\
async output => {
    const traces = [];
    const elements = [...output.querySelectorAll("*")].filter(each => !each.closest("mjx-container"));
    for (const each of elements) {
        if (/^(img|script|iframe|svg|object|embed|form|input|style|link)$/i.test(each.tagName))
            traces.push(each.outerHTML);
        for (const {name, value} of each.attributes)
            if (/^(on|style$|srcdoc$|data-command)/i.test(name) || /^\\W*javascript:/i.test(value))
                traces.push(`${name}=${value}`);
    }
    for (const each of elements) {
        each.addEventListener("click", event => event.preventDefault(), {once: true});
        for (const kind of ["mouseover", "mouseenter", "focus", "click"])
            each.dispatchEvent(new MouseEvent(kind, {bubbles: true, cancelable: true}));
    }
    await new Promise(resolve => setTimeout(resolve, 20));
    if (window.pwned !== undefined)
        traces.push("a script ran");
    delete window.pwned;
    return traces;
}"""


def test_the_quickstart_runs_by_keyboard_and_is_saved_as_one_output_an_answer(
    lab: LabServer, page: Page, pictures: Path
) -> None:
    tips = "Give three tips for a first visit to {city}, as a numbered list, a few words each."
    sources = [LOAD, FRANCE, 'city = "Paris"', f"%%farm_chat -t 0 --no-history\n{tips}"]
    notebook = NotebookPage.create(lab, page, "quickstart", sources)

    notebook.select(0)
    for index in range(len(sources)):
        notebook.press("Shift+Enter")
        notebook.wait_until_done(index)

    paragraphs = notebook.rendered(1).locator("p")
    assert "Paris" in paragraphs.first.inner_text()
    footer, reason = notebook.rendered(1).locator("small").all_inner_texts()
    assert re.fullmatch(
        r"llamacpp:smollm2:135m · \d+ tokens · first token \d+\.\d\d s · \d+ tokens/s", footer
    )
    assert "using the embedded model" in reason, "no model was named, and that is told once"
    assert notebook.rendered(3).locator("small").count() == 1
    assert notebook.outputs(1).count() == 1
    assert re.search("Paris|Eiffel|Louvre|Seine", notebook.text(3)), "the city was not filled in"
    assert notebook.outputs(3).count() == 1

    saved = notebook.save()
    _picture_of_whole_lab(notebook, pictures / "quickstart-lab.png")

    (output,) = saved.cells[1].outputs
    assert output.output_type == "display_data"
    assert output.data["text/markdown"].startswith(paragraphs.first.inner_text())
    origin = output.metadata["farm"]
    assert origin["model"] == "llamacpp:smollm2:135m"
    assert re.fullmatch("[0-9a-f]{64}", origin["digest"])
    assert origin["parameters"] == {"temperature": 0}
    assert origin["usage"]["output_tokens"] > 0
    assert 0 < origin["timings"]["first_token_s"] <= origin["timings"]["total_s"]
    assert origin["finish_reason"] == "stop"


def test_an_answer_grows_on_the_page_and_is_never_blank(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook([LOAD, "%%farm_chat -m scripted:slow-60\nGo on."])
    notebook.run(0)

    frames = _frames_of(notebook, 1)

    texts = ["".join(each) for each in frames]
    first = next(index for index, text in enumerate(texts) if "word0" in text)
    shown = texts[first:-1]  # the last one has the footer
    assert len(shown) > 5
    assert all(later.startswith(earlier.rstrip()) for earlier, later in pairwise(shown))
    assert "word59" in texts[-1]
    assert "scripted:slow-60 · 60 tokens" in texts[-1]


def test_a_long_answer_is_painted_in_parts_and_ends_as_one_output(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook([LOAD, "%%farm_chat -m scripted:slow-400\nGo on."])
    notebook.run(0)

    frames = _frames_of(notebook, 1)

    words = [f"word{number}" for number in range(400)]
    assert max(map(len, frames)) > 1, "the answer was never cut: this test shows nothing"
    seen = [re.findall(r"word\d+", " ".join(parts)) for parts in frames]
    assert all(each == words[: len(each)] for each in seen), "a word was lost or doubled between two parts"
    counts = [len(each) for each in seen[1:]]
    assert counts == sorted(counts), "the page lost words that it had shown"
    assert notebook.outputs(1).count() == 1
    assert re.findall(r"word\d+", notebook.text(1)) == words
    (output,) = notebook.save().cells[1].outputs
    assert re.findall(r"word\d+", output.data["text/markdown"]) == words


def test_a_document_looks_the_same_in_parts_as_when_it_is_whole(
    open_notebook: OpenNotebook,
) -> None:
    notebook = open_notebook([LOAD, PACE.replace("DELAY_S", "0.012"), f"{ECHO}\n{_DOCUMENT}"])
    notebook.run(0)
    notebook.run(1)
    notebook.cells.nth(2).evaluate(WATCH)
    notebook.start(2)
    notebook.wait_for_text(2, "After the code")
    assert notebook.outputs(2).count() > 2
    notebook.wait_until_done(2)

    assert notebook.outputs(2).count() == 1
    answer = notebook.rendered(2)
    assert answer.locator("h2").all_inner_texts() == ["First steps", "A table", "Code", "The end"]
    assert answer.locator("tbody tr").count() == 30
    assert answer.locator("pre").count() == 1
    assert answer.locator("ul > li").count() == 20
    *streamed, _ = notebook.page.evaluate("window.frames_seen")
    whole = _words(notebook.text(2))
    assert all(_is_read_in_order(_words("\n".join(parts)), whole) for parts in streamed)


@pytest.mark.parametrize("way", ["button", "keyboard"])
def test_a_stopped_answer_stays_with_one_line_below_it(open_notebook: OpenNotebook, way: str) -> None:
    notebook = open_notebook(
        [
            LOAD,
            "%%farm_chat -m scripted:slow-2000 --out part\nGo on.",
            "from farm_notebook.providers.scripted import ScriptedProvider\n"
            "print(part.finish_reason, len(part.text.split()), ScriptedProvider.open_streams)",
            "%%farm_chat -m scripted:count-3\nAnd now?",
        ]
    )
    notebook.run(0)
    notebook.start(1)
    notebook.wait_for_text(1, "word5")

    if way == "button":
        notebook.page.locator('.jp-Toolbar [data-command="notebook:interrupt-kernel"]').first.click()
    else:
        notebook.press("i")
        notebook.press("i")
    notebook.wait_until_done(1)

    assert notebook.outputs(1).count() == 2
    answer, error = notebook.rendered(1).all_inner_texts()
    words = re.findall(r"word\d+", answer)
    assert 5 < len(words) < 2000
    assert "interrupted" in notebook.rendered(1).first.locator("small").inner_text()
    assert error.strip() == "InterruptedReply: You stopped the answer; what had arrived is kept."

    notebook.run(2)
    assert notebook.text(2) == f"interrupted {len(words)} 0"
    notebook.run(3)
    assert "word0 word1 word2" in notebook.text(3)

    saved = notebook.save()
    kept, failed = saved.cells[1].outputs
    assert kept.metadata["farm"]["finish_reason"] == "interrupted"
    assert (failed.output_type, len(failed.traceback)) == ("error", 1)


def test_a_button_works_while_a_cell_streams(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook(
        [
            LOAD,
            "import ipywidgets\n"
            "button, label = ipywidgets.Button(description='Press me'), ipywidgets.Label('waiting')\n"
            "button.on_click(lambda _: setattr(label, 'value', 'pressed'))\n"
            "display(ipywidgets.VBox([button, label]))",
            "%%farm_chat -m scripted:slow-300\nGo on.",
        ]
    )
    notebook.run(0)
    notebook.run(1)
    notebook.wait_for_text(1, "waiting")
    notebook.start(2)
    notebook.wait_for_text(2, "word3")

    notebook.cells.nth(1).get_by_role("button", name="Press me").click()
    notebook.wait_for_text(1, "pressed")

    assert notebook.prompt(2) == "[*]:", "the handler had to wait for the cell's end"
    notebook.wait_until_done(2)
    assert notebook.outputs(2).count() == 1
    assert "word299" in notebook.text(2)


def test_lab_itself_runs_the_html_that_markdown_of_a_fresh_cell_carries(open_notebook: OpenNotebook) -> None:
    """The control of the tests below: without sanitising, they would fail."""
    notebook = open_notebook(
        [f"from IPython.display import Markdown\ndisplay(Markdown({text!r}))" for text in _CARRIERS]
    )
    for index in range(len(_CARRIERS)):
        notebook.run(index)
        wait_for("the script to run", lambda: _is_pwned(notebook), 20)
        notebook.page.evaluate("delete window.pwned")


@pytest.mark.parametrize("pace_s", [0.0, 0.05], ids=["at-once", "streamed"])
def test_markdown_of_a_model_runs_nothing(open_notebook: OpenNotebook, pace_s: float) -> None:
    attacks = [around.format(carrier) for around in _SURROUNDINGS for carrier in _CARRIERS + _LINKS]
    notebook = open_notebook(
        [LOAD, PACE.replace("DELAY_S", str(pace_s)), *(f"{ECHO}\n{each}" for each in attacks)]
    )
    _assert_harmless(notebook, attacks)


@pytest.mark.parametrize("form", ["html", "math", "code"])
def test_other_formats_run_nothing(open_notebook: OpenNotebook, form: str) -> None:
    attacks = [
        *_CARRIERS,
        '<a href="javascript:window.pwned=1">click</a>',
        '<p onmouseover="window.pwned=1" onclick="window.pwned=1">click</p>',
        '<svg onload="window.pwned=1"><a xlink:href="javascript:window.pwned=1"><text>click</text></a></svg>',
        '<iframe srcdoc="<script>parent.pwned=1</script>"></iframe>',
        '<a href="#" data-commandlinker-command="notebook:delete-cell">click</a>',
        r"\href{javascript:window.pwned=1}{click}",
    ]
    if form == "code":  # each answer puts a cell below its own, so here it is one answer
        attacks = ["\n\n".join([*attacks, f"```\ncode\n```\n{attacks[0]}"])]
    notebook = open_notebook([LOAD, "", *(f"{ECHO} -f {form}\n{each}" for each in attacks)])
    _assert_harmless(notebook, attacks)
    assert notebook.cells.count() >= len(attacks) + 2, "a link has deleted a cell"


def test_a_formula_in_an_address_does_not_become_an_attribute(open_notebook: OpenNotebook) -> None:
    """Lab takes formulas out before it reads Markdown and puts them back into the HTML it has made."""
    breakout = '$"/onmouseover="window.pwned=1"/onclick="window.pwned=1"/x="$'
    attacks = [
        f"[click](http://127.0.0.1:9/{breakout})",
        f"[click](http://127.0.0.1:9/{breakout.replace('/', ' ')})",
        f"[click](http://127.0.0.1:9/ '{breakout}')",
        f"[click][r]\n\n[r]: http://127.0.0.1:9/{breakout}",
        f"http://127.0.0.1:9/{breakout}",
        f"<http://127.0.0.1:9/{breakout}>",
        rf"[click](http://127.0.0.1:9/\\({breakout[1:-1]}\\))",
        f"```py{breakout}\nclick\n```",
        # Needs neither a pointer nor a click:
        '[click](http://127.0.0.1:9/$"/style="animation:cm-blink\t1s"/onanimationstart="window.pwned=1"/x="$)',
    ]
    notebook = open_notebook([LOAD, "", *(f"{ECHO}\n{each}" for each in attacks)])
    _assert_harmless(notebook, attacks)


def test_code_shows_its_tags_as_they_are_written(open_notebook: OpenNotebook) -> None:
    text = (
        'In a span: `<div class="a">`.\n\n```html\n<div class="a">\n  &lt;b&gt; <img src=x>\n</div>\n```\n\n'
        "Indented:\n\n    <div>$x$</div>\n\n- in a list:\n\n  ```\n  <div>[a](javascript:b)</div>\n  ```\n"
    )
    notebook = open_notebook([LOAD, PACE.replace("DELAY_S", "0.1"), f"{ECHO}\n{text}\nEnd of it all"])
    notebook.run(0)
    notebook.run(1)
    notebook.start(2)
    spans = ['<div class="a">']
    blocks = [
        '<div class="a">\n  &lt;b&gt; <img src=x>\n</div>',
        "<div>$x$</div>",
        "<div>[a](javascript:b)</div>",
    ]

    def shown() -> tuple[list[str], list[str]]:
        answer = notebook.rendered(2)
        found = answer.locator("pre").all_text_contents()
        return answer.locator("p > code").all_text_contents(), [each.rstrip("\n") for each in found]

    notebook.wait_for_text(2, "End of")
    assert shown() == (spans, blocks)
    notebook.wait_until_done(2)
    assert shown() == (spans, blocks)


@pytest.mark.parametrize("is_trusted", [True, False], ids=["trusted", "untrusted"])
def test_a_saved_answer_is_there_when_the_notebook_is_opened_again(
    open_notebook: OpenNotebook, lab: LabServer, is_trusted: bool
) -> None:
    notebook = open_notebook([LOAD, f"{ECHO}\nThis is **bold**:\n\n- one\n- two"])
    notebook.run(0)
    notebook.run(1)
    saved = notebook.save()
    lab.shut_down_kernels()
    if not is_trusted:
        saved.cells[1].outputs[0].metadata["changed"] = "by hand, so that Lab's signature is void"
        notebook.path.write_text(json.dumps(saved))
    before = notebook.path.read_bytes()

    notebook.open()

    answer = notebook.rendered(1)
    answer.locator("strong").wait_for()
    assert answer.locator("strong").inner_text() == "bold"
    assert answer.locator("ul > li").all_inner_texts() == ["one", "two"]
    assert answer.locator("small").inner_text().startswith("scripted:echo · ")
    assert notebook.outputs(1).count() == 1
    assert notebook.path.read_bytes() == before, "opening it has run or changed it"


def test_the_extension_can_be_unloaded_and_loaded_again(open_notebook: OpenNotebook) -> None:
    ask = "%%farm_chat -m scripted:count-3\nGo on."
    notebook = open_notebook(
        [LOAD, ask, "%unload_ext farm_notebook", ask, LOAD, ask, "%reload_ext farm_notebook", ask]
    )
    for index in range(8):
        notebook.run(index)

    assert "`%%farm_chat` not found" in notebook.text(3)
    for index in (1, 5, 7):
        assert notebook.text(index).startswith("word0 word1 word2")
        assert notebook.outputs(index).count() == 1
    assert [notebook.text(index) for index in (0, 2, 4, 6)] == [""] * 4
    saved = notebook.save()
    assert [len(farm_outputs(saved.cells[index])) for index in (1, 3, 5, 7)] == [1, 0, 1, 1]


_CARRIERS = [
    '<img src=x onerror="window.pwned=1">',
    "<script>window.pwned=1</script>",
]
_LINKS = [
    "[click](javascript:window.pwned=1)",
    "[click](<java\tscript:window.pwned=1>)",
    "[click](&#106;avascript:window.pwned=1)",
    "[click][r]\n\n[r]: javascript:window.pwned=1",
    "![click](x)",
]
_SURROUNDINGS = [
    "{}",
    "- a list\n- {}\n",
    "> a quotation\n> {}\n",
    "```\ncode\n```\n\n{}",
    "```\ncode\n```\n{}\n```",
    "Some `code` and `` more ` code `` {} `code`",
    "| a | b |\n|---|---|\n| {} | `x |` |",
]
_DOCUMENT = "\n\n".join(
    [
        "## First steps",
        "A paragraph of some length. " * 20,
        "\n".join(f"- item {number} of a list, with some words" for number in range(20)),
        "## A table",
        "| name | number | square |\n|---|---:|---:|\n"
        + "\n".join(f"| row {number} with words | {number} | {number**2} |" for number in range(30)),
        "## Code",
        "Before the code:",
        "```python\n"
        + "\n".join(f"def function_{n}(value: int) -> int:\n    return value * {n}\n" for n in range(50))
        + "```",
        "After the code come some words. " * 10,
        "## The end",
        "The last words. " * 20,
    ]
)


def _frames_of(notebook: NotebookPage, index: int) -> list[list[str]]:
    """Run a cell: what its outputs show on each frame of the page that differs from the one before."""
    notebook.cells.nth(index).evaluate(WATCH)
    notebook.run(index)
    wait_for("the footer", lambda: "tokens" in notebook.text(index))
    frames: list[list[str]] = notebook.page.evaluate("window.frames_seen")
    return frames


def _assert_harmless(notebook: NotebookPage, attacks: Sequence[str]) -> None:
    """Run two cells, then one an attack; point at and click on all they show, and look for traces."""
    notebook.run_from(0, len(attacks) + 2)
    found = {}
    for index, attack in enumerate(attacks, start=2):
        notebook.rendered(index).first.wait_for()
        if traces := notebook.rendered(index).first.evaluate(TOUCH):
            found[attack] = traces
    assert found == {}
    assert not _is_pwned(notebook), "a script ran"


def _is_pwned(notebook: NotebookPage) -> bool:
    return bool(notebook.page.evaluate("window.pwned !== undefined"))


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def _is_read_in_order(part: Sequence[str], whole: Sequence[str]) -> bool:
    """Whether the words of ``part`` come in ``whole`` in this order, a repeated table header aside."""
    rest = iter(whole)
    header = {"name", "number", "square"}
    return all(word in rest for word in part if word not in header)


def _picture_of_whole_lab(notebook: NotebookPage, path: Path) -> None:
    """What a person sees, without the file browser and with the pointer out of the way."""
    page = notebook.page
    page.set_viewport_size({"width": 1200, "height": 660})  # as much as the cells need
    page.keyboard.press("Escape")
    page.keyboard.press("Control+b")
    page.locator("#jp-left-stack").wait_for(state="hidden")
    page.locator(".jp-WindowedPanel-outer").first.evaluate("panel => panel.scrollTo(0, 0)")
    page.mouse.move(600, 650)
    page.wait_for_timeout(1000)
    page.screenshot(path=path)
