"""Models' answers as panels draw them, in a real browser: nothing in them runs, and drawing is smooth.

The payloads are in ``markdown_payloads.txt``; each calls ``ran`` if it gets to run.
"""

from __future__ import annotations

import statistics
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import BrowserContext, CDPSession, Dialog, Page, Route

from .looks import FROZEN_MS

pytestmark = [pytest.mark.browser]

HERE = Path(__file__).parent
JS = HERE.parents[1] / "farm_notebook" / "widgets" / "js"
ADDRESS = "http://answers.test/"
PAGE = "<!doctype html><html lang=en><title>Answers</title><link rel=stylesheet href=page.css><body>"
CANARIES = """
window.executed = [];
window.ran = (...what) => { executed.push(["ran", ...what]); };
for (const name of ["alert", "confirm", "prompt", "open", "print"]) {
  window[name] = () => { executed.push([name]); };
}
"""
STEP = """\
## Step {n}

Some **bold** words, *others*, `code` and a [link](https://example.com/{n}).
The sum is $\\sum_{{i=1}}^{n} x_i^2$.

1. First, do this
2. then do *that*
   - and this

```python
def step_{n}(values: list[float]) -> float:
    return sum(value ** 2 for value in values)  # {n}
```

| name | value |
|------|------:|
| a    | {n}   |
| b    | 2     |

"""
LINES = "".join(f"Line {n} of what was said.\n\n" for n in range(60))
CONTROLS = {ord("␀"): "\0", ord("␁"): "\1"}  # which editors would not keep


@dataclass(frozen=True)
class Payload:
    name: str
    text: str


def _payloads() -> list[Payload]:
    parts = (HERE / "markdown_payloads.txt").read_text("utf-8").translate(CONTROLS).split("%%% ")[1:]
    pairs = [part.rstrip("\n").split("\n", 1) for part in parts]
    return [Payload(name, text.replace("ran(1)", f"ran({n})")) for n, (name, text) in enumerate(pairs)]


PAYLOADS = _payloads()


@dataclass
class AnswerPage:
    """A page with the components and nothing else; what it asks for is seen, and not let through."""

    page: Page
    files: dict[str, str]
    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    def open(self, *, styled: bool = True) -> None:
        self.page.context.route("**/*", lambda route: self._answer(route, styled))
        self.page.context.on("page", lambda page: self.requests.append(f"a page of its own: {page.url}"))
        self.page.on("dialog", self._dismiss)
        self.page.add_init_script(CANARIES)
        self.page.goto(ADDRESS)
        self.page.add_script_tag(content=self.files["page.js"])

    def call(self, name: str, *arguments: Any) -> Any:
        return self.page.evaluate("([name, args]) => answers[name](...args)", [name, list(arguments)])

    def work_s(self, text: str, pieces: int) -> float:
        """How long the page's thread works on a text that streams."""
        session = self.page.context.new_cdp_session(self.page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})  # what others do does not count
        before = _worked_s(session)
        self.page.evaluate(
            "async ([text, pieces]) => { window.stretches = await answers.stream(text, pieces, 10); }",
            [text, pieces],
        )
        return _worked_s(session) - before

    def _dismiss(self, dialog: Dialog) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def _answer(self, route: Route, styled: bool) -> None:
        url = route.request.url
        if url == ADDRESS:
            route.fulfill(body=PAGE, content_type="text/html")
        elif url == f"{ADDRESS}page.css":
            route.fulfill(body=self.files["page.css"] if styled else "", content_type="text/css")
        else:
            self.requests.append(url)
            route.abort()


@pytest.fixture(scope="module")
def built_page(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The page as the panels are built: its script and its stylesheet."""
    program = next(JS.glob("node_modules/@esbuild/*/bin/esbuild"), None)
    if program is None:
        pytest.skip("esbuild is not installed: run `make widgets`")
    folder = tmp_path_factory.mktemp("answers")
    options = ["--bundle", "--minify", "--charset=utf8", "--jsx=automatic", "--jsx-import-source=preact"]
    command = [str(program), "src/markdown/testing/page.tsx", f"--outfile={folder / 'page.js'}", *options]
    subprocess.run(command, cwd=JS, check=True, capture_output=True)
    return {name: (folder / name).read_text("utf-8") for name in ("page.js", "page.css")}


@pytest.fixture
def answers(browser_context: BrowserContext, built_page: dict[str, str]) -> Iterator[AnswerPage]:
    assert browser_context.browser is not None
    context = browser_context.browser.new_context(viewport={"width": 900, "height": 800}, has_touch=True)
    yield AnswerPage(context.new_page(), built_page)
    context.close()


def test_the_payloads_are_many_and_each_has_a_name_of_its_own() -> None:
    assert len(PAYLOADS) >= 200
    assert len({payload.name for payload in PAYLOADS}) == len(PAYLOADS)


@pytest.mark.parametrize("size", [0, 1, 7], ids=["whole", "by character", "in pieces"])
def test_nothing_in_an_answer_runs_or_loads(answers: AnswerPage, size: int) -> None:
    answers.open(styled=False)
    answers.call("hurry")
    before = answers.page.evaluate("Object.keys(window).length")
    findings = answers.call("showPayloads", [payload.text for payload in PAYLOADS], size)

    ran = answers.page.evaluate("executed")
    assert not [(PAYLOADS[each[1]].name if len(each) > 1 else "", each) for each in ran]
    assert not [(PAYLOADS[each["payload"]].name, each["what"]) for each in findings]
    assert not answers.requests
    assert not answers.dialogs
    assert answers.page.evaluate("typeof clobbered") == "undefined"
    assert answers.page.evaluate("typeof document.getElementById") == "function"
    assert answers.page.evaluate("Object.keys(window).length") == before
    assert answers.page.url == ADDRESS
    assert answers.page.title() == "Answers"


def test_what_would_run_is_noticed(answers: AnswerPage) -> None:
    answers.open(styled=False)
    picture = '<img src="https://evil.test/x" onerror="ran(1)" id="clobbered">'
    answers.page.evaluate("html => document.body.insertAdjacentHTML('beforeend', html)", picture)
    answers.page.wait_for_function("executed.length > 0")
    assert answers.requests == ["https://evil.test/x"]
    assert answers.page.evaluate("typeof clobbered") == "object"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_an_answer(
    answers: AnswerPage, scheme: Literal["light", "dark"], pictures: Path
) -> None:
    answers.page.emulate_media(color_scheme=scheme)
    answers.open()
    answers.call("show", [(HERE / "markdown_sample.md").read_text("utf-8")], 2_000)
    answers.page.locator(".farm-code-keyword").first.wait_for()
    answers.page.locator(".farm-panel").screenshot(path=pictures / f"answer-{scheme}.png")

    answers.page.add_script_tag(path=JS / "node_modules/axe-core/axe.min.js")
    found = answers.page.evaluate("axe.run('.farm-panel').then(({violations}) => violations)")
    serious = [each for each in found if each["impact"] in ("serious", "critical")]
    assert not [(each["id"], each["nodes"][0]["html"]) for each in serious]
    tables = answers.page.locator(".farm-table")
    assert [table.get_attribute("tabindex") for table in tables.all()] == [None, "0"]  # the wide one scrolls


def test_a_long_answer_streams_without_freezing_the_page(answers: AnswerPage) -> None:
    answers.open()
    short, long = (_answer(chars) for chars in (25_000, 100_000))
    work_short, work_long = answers.work_s(short, 1_250), answers.work_s(long, 5_000)
    stretches = answers.page.evaluate("window.stretches")
    centiles = statistics.quantiles(stretches, n=100)
    print(
        f"\n5,000 pieces, 100 kB: busy at a stretch for {centiles[94]:.1f} ms (p95), {max(stretches):.0f} ms "
        f"(longest), {sum(each > 50 for each in stretches)} of {len(stretches)} over 50 ms; "
        f"work {work_long:.2f} s, of 25 kB {work_short:.2f} s"
    )
    assert centiles[94] < FROZEN_MS
    assert 0 < work_long < 8 * work_short  # four times the text and the pieces
    assert answers.call("isAtEnd")


def test_a_block_without_end_streams_in_work_that_grows_with_it(answers: AnswerPage) -> None:
    answers.open()
    for kind, head, line in [
        ("code", "```python\n", "values = [number ** 2 for number in range(10)]  # squares\n"),
        ("table", "| a | b |\n|---|---|\n", "| some words | 12345 |\n"),
        ("list", "", "- an *item* with `code`\n"),
    ]:
        short, long = (head + line * (chars // len(line)) for chars in (10_000, 40_000))
        work_short, work_long = answers.work_s(short, 100), answers.work_s(long, 400)
        print(f"\n{kind} of 40 kB: {work_long:.2f} s, of 10 kB {work_short:.2f} s")
        assert 0 < work_long < 8 * work_short


def test_many_messages_scroll(answers: AnswerPage) -> None:
    answers.open()
    texts = [_answer(chars) for chars in (200, 2_000, 500, 8_000, 1_000)] * 40
    stretches = answers.call("show", texts)
    intervals = answers.call("scroll", 90, 300)
    centiles = statistics.quantiles(intervals, n=100)
    print(
        f"\n200 messages: {max(stretches):.0f} ms (longest stretch when they appear), frames every "
        f"{centiles[49]:.1f} ms (median), {centiles[94]:.1f} ms (p95), {max(intervals):.0f} ms (longest)"
    )
    assert centiles[49] < FROZEN_MS
    assert answers.page.locator(".farm-answer").count() == 200


def test_the_end_is_followed_only_while_the_reader_is_there(answers: AnswerPage) -> None:
    answers.open()
    answers.call("begin", LINES, LINES)
    scroller = answers.page.locator(".farm-scroller")
    jump = answers.page.get_by_role("button", name="Jump to the end")

    def is_left_alone() -> bool:
        jump.wait_for()
        answers.call("still")
        before = scroller.evaluate("it => it.scrollTop")
        answers.call("grow", 1, LINES)
        return bool(scroller.evaluate("it => it.scrollTop") == before and not answers.call("isAtEnd"))

    def is_followed() -> bool:
        jump.wait_for(state="detached")
        answers.call("grow", 1, LINES)
        distance = scroller.evaluate("it => it.scrollHeight - it.clientHeight - it.scrollTop")
        return bool(distance < 2 and answers.call("isAtEnd"))

    scroller.hover()
    assert is_followed()
    answers.page.mouse.wheel(0, -300)
    assert is_left_alone()
    jump.click()
    assert is_followed()

    scroller.focus()
    answers.page.keyboard.press("PageUp")
    assert is_left_alone()
    answers.page.keyboard.press("End")
    assert is_followed()

    session = answers.page.context.new_cdp_session(answers.page)
    for kind, points in [("Start", [200]), *(("Move", [y]) for y in range(220, 420, 20)), ("End", [])]:
        touches = [{"x": 300, "y": y} for y in points]
        session.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": touches})
    assert is_left_alone()


def test_what_is_read_stays_in_place_when_something_above_grows(answers: AnswerPage) -> None:
    answers.open()
    answers.call("begin", LINES, LINES)
    answers.page.locator(".farm-scroller").hover()
    answers.page.mouse.wheel(0, -400)
    answers.page.get_by_role("button", name="Jump to the end").wait_for()
    answers.call("still")
    read = answers.page.locator(".farm-answer").nth(1).locator("p").nth(45)
    before = read.bounding_box()
    answers.call("grow", 0, LINES)
    after = read.bounding_box()
    assert before is not None
    assert after is not None
    assert abs(before["y"] - after["y"]) < 3


def _worked_s(session: CDPSession) -> float:
    metrics = session.send("Performance.getMetrics")["metrics"]
    return next(float(each["value"]) for each in metrics if each["name"] == "TaskDuration")


def _answer(chars: int) -> str:
    """Markdown of all kinds."""
    return "".join(STEP.format(n=n) for n in range(1, chars // 300 + 2))[:chars]
