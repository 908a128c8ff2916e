"""What a model says cannot act in the reader's page, and ordinary Markdown still reads the same."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from farm_notebook.sanitize import closed, safe_html, safe_markdown

# Everything Markdown itself makes, tables and strikethrough included, but no images.
MARKDOWN_ELEMENTS = {
    *(
        "a",
        "blockquote",
        "br",
        "code",
        "em",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "li",
        "ol",
        "p",
        "pre",
    ),
    *("s", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"),
}
MARKDOWN_ATTRIBUTES = {"href", "title", "class", "start", "style"}  # style: a table cell's text-align
SCHEME = re.compile(r"([a-z][a-z0-9+.\-]*):", re.IGNORECASE)


def renderer(preset: str) -> MarkdownIt:
    """A front end that passes HTML on and lets every address through."""
    front_end = MarkdownIt(preset, {"html": True, "linkify": False})
    front_end.validateLink = lambda url: True  # type: ignore[method-assign]  # its way to be configured
    return front_end


FRONT_ENDS = {preset: renderer(preset) for preset in ("commonmark", "js-default")}


class Inspector(HTMLParser):
    """Collects what could act in a page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.harm: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in MARKDOWN_ELEMENTS:
            self.harm.append(f"<{tag}>")
        for name, value in attrs:
            if name not in MARKDOWN_ATTRIBUTES or (
                name == "style" and not (value or "").startswith("text-align:")
            ):
                self.harm.append(f"{name}={value!r}")
            if name in ("href", "src") and not is_web_address(value or ""):
                self.harm.append(f"{name}={value!r}")

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def handle_comment(self, data: str) -> None:
        self.harm.append(f"<!--{data}-->")

    def handle_decl(self, decl: str) -> None:
        self.harm.append(f"<!{decl}>")

    def unknown_decl(self, data: str) -> None:
        self.harm.append(f"<![{data}]>")

    def handle_pi(self, data: str) -> None:
        self.harm.append(f"<?{data}>")


def is_web_address(url: str) -> bool:
    """As a browser reads it: control characters and spaces do not count."""
    scheme = SCHEME.match(re.sub(r"[\x00-\x20]", "", html.unescape(url)))
    return scheme is None or scheme[1].lower() in ("http", "https", "mailto")


def inspect(markup: str) -> Inspector:
    inspector = Inspector()
    inspector.feed(markup)
    inspector.close()
    return inspector


def harm_in(markdown: str) -> list[str]:
    return [harm for front_end in FRONT_ENDS.values() for harm in inspect(front_end.render(markdown)).harm]


def reads_as(markdown: str) -> str:
    return "".join(inspect(FRONT_ENDS["js-default"].render(markdown)).text)


SCRIPT = "<script>alert(1)</script>"
IMG = "<img src=x onerror=alert(1)>"

HTML_PAYLOADS = [
    SCRIPT,
    "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
    "<script\n>alert(1)</script\n>",
    "<script/src=//evil.example>",
    f"text {SCRIPT} text",
    IMG,
    "<img/src/onerror=alert(1)>",
    "<IMG SRC=`javascript:alert(1)`>",
    '<img src="x`y" onerror="alert(1)">',
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><a xlink:href='javascript:alert(1)'><text>x</text></a></svg>",
    "<math><mi xlink:href='javascript:alert(1)'>x</mi></math>",
    "<body onload=alert(1)>",
    "<div onclick='alert(1)'>x</div>",
    "<div style='background:url(javascript:alert(1))'>x</div>",
    "<a href='javascript:alert(1)'>x</a>",
    "<a href=data:text/html;base64,PHNjcmlwdD4=>x</a>",
    "<iframe src='javascript:alert(1)'></iframe>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<object data='javascript:alert(1)'></object>",
    "<embed src='javascript:alert(1)'>",
    "<form action='javascript:alert(1)'><button>x</button></form>",
    "<input autofocus onfocus=alert(1)>",
    "<details open ontoggle=alert(1)><summary>x</summary></details>",
    "<video><source onerror=alert(1)></video>",
    "<style>@import 'https://evil.example/x.css';</style>",
    "<link rel=stylesheet href=https://evil.example/x.css>",
    "<meta http-equiv=refresh content='0;url=javascript:alert(1)'>",
    "<base href='https://evil.example/'>",
    "<!-- --><script>alert(1)</script>",
    "<!--\n" + SCRIPT + "\n-->",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?xml-stylesheet href='javascript:alert(1)'?>",
    "<!DOCTYPE html><html><body onload=alert(1)>",
    "</p><script>alert(1)</script>",
    f"\\\\{SCRIPT}",
    f"\\\\\\\\{IMG}",
    f"&lt;b>{SCRIPT}",
    f"$x {SCRIPT} y$",
    f"$$\n{IMG}\n$$",
    "<x-y onclick=alert(1)>x</x-y>",
    "<b\tonmouseover=alert(1)>x</b>",
    "<a\nhref='javascript:alert(1)'\n>x</a>",
    "<https://ok.example onclick=alert(1)>",
    "<https://ok.example><script>alert(1)</script>",
]

LINK_PAYLOADS = [
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x]( javascript:alert(1))",
    "[x](\njavascript:alert(1))",
    "[x](<javascript:alert(1)>)",
    "[x](< javascript:alert(1)>)",
    "[x](<java\tscript:alert(1)>)",
    "[x](javascript:alert(1) 'title')",
    "[x](javascript&colon;alert(1))",
    "[x](javascript&#58;alert(1))",
    "[x](javascript&#x3a;alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](&#x6A;&#x61;vascript:alert(1))",
    "[x](java&Tab;script:alert(1))",
    "[x](java&NewLine;script:alert(1))",
    "[x](javascript\\:alert(1))",
    "[x](\\javascript:alert(1))",
    "[x](\x01javascript:alert(1))",
    "[x](&#1;javascript:alert(1))",
    "[x](" + "&Tab;" * 100 + "javascript:alert(1))",
    "> " * 30 + "[x](" + "&Tab;" * 100 + "javascript:alert(1))",
    "[x](vbscript:msgbox(1))",
    "[x](data:text/html,<script>alert(1)</script>)",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x](file:///etc/passwd)",
    "[x](blob:https://a/b)",
    "[**x**](javascript:alert(1))",
    "[x [y] z](javascript:alert(1))",
    "[x\\]](javascript:alert(1))",
    "[`]`](javascript:alert(1))",
    "[![y](https://ok.example/y.png)](javascript:alert(1))",
    "<javascript:alert(1)>",
    "<vbscript:msgbox(1)>",
    "<data:text/html,x>",
    "[x]: javascript:alert(1)\n\n[x]",
    "[x]: <javascript:alert(1)>\n\n[x]",
    "[x]:\njavascript:alert(1)\n\n[x]",
    "[x]: java&Tab;script:alert(1)\n\n[x][]",
    "[x\ny]: javascript:alert(1)\n\n[x y]",
    "[x\\]]: javascript:alert(1)\n\n[x\\]]",
    "> [x]: javascript:alert(1)\n\n[a][x]",
    "> [x]:\n> javascript:alert(1)\n\n[a][x]",
    "1. [x]: javascript:alert(1)\n\n[x]",
    "- - [x]: javascript:alert(1)\n\n[x]",
    "![x]: javascript:alert(1)\n\n[x]",
    "[x]: https://ok.example\n[y]: javascript:alert(1)\n\n[x] [y]",
    "[`]: javascript:alert(1)\n\n[`] `",
]

IMAGE_PAYLOADS = [
    "![x](https://evil.example/track.png)",
    "!![x](https://evil.example/track.png)",
    "\\!![x](https://evil.example/track.png)",
    "\\\\![x](https://evil.example/track.png)",
    "![x](javascript:alert(1))",
    "![x](data:image/svg+xml;base64,PHN2Zz4=)",
    "![x][y]\n\n[y]: https://evil.example/track.png",
    "![x]\n\n[x]: https://evil.example/track.png",
    "[![x](https://evil.example/a.png)](https://ok.example)",
    "![![x](https://evil.example/a.png)](https://evil.example/b.png)",
    "![x\n](https://evil.example/track.png)",
    f"![{'x' * 1000}](https://evil.example/track.png)",
]

STRUCTURE_PAYLOADS = [
    f"`{SCRIPT}",
    f"``{SCRIPT}`",
    f"`a``{SCRIPT}``` b",
    f"\\`{SCRIPT}`",
    f"`a\\`{SCRIPT}`",
    f"`a`{SCRIPT}`b`",
    f"`\n\n{SCRIPT}\n\n`",
    f"`\n{SCRIPT}`",
    f"`\n# heading\n{SCRIPT}`",
    f"`\n***\n{SCRIPT}`",
    f"- `\n- {IMG}`",
    f"> `\n\n{IMG}`",
    f"> `\n- {IMG}`",
    f"# `\n{IMG}`",
    f"| ` | {IMG}` |\n|---|---|\n| a | b |",
    f"| a | b |\n|---|---|\n| ` | {IMG}` |",
    f"|a|b|\n|-|-|\n|`|`|\n|{IMG}|`|",
    f"```\ncode\n```\n{SCRIPT}",
    f"```\ncode\n``\n```\n{SCRIPT}\n```\nx\n```",
    f"~~~\n```\n~~~\n{SCRIPT}\n```",
    f"````\n```\n````\n{SCRIPT}\n```",
    f"``` `\n{SCRIPT}\n```",
    f"> ```\n{SCRIPT}\n```",
    f"> ```\n> x\n\n{SCRIPT}",
    f"- ```\n{SCRIPT}\n```",
    f"- ```\n  x\n\n{SCRIPT}",
    f"1. a\n\n    {SCRIPT}",
    f"a\n    {SCRIPT}",
    f"- a\n\n      x\n\n   {SCRIPT}",
    f"[x]: javascript:alert(1)\n    {SCRIPT}",
    f"[x]: javascript:alert(1)\n\n    {SCRIPT}",
    f"<!--\n```\n-->\n```\n{SCRIPT}\n```\n",
    f"<div>\n```\n</div>\n\n```\n{SCRIPT}\n```\n",
    f"<pre>\n\n    {SCRIPT}\n</pre>",
    f"x\u2028x\n{SCRIPT}\n```\ncode\n```",
    f"x\x0bx\x0cx\x85x\n\n{SCRIPT}\n\n\n```\ncode\n```",
    f"x\rx\r{SCRIPT}\r```\rcode\r```",
    f"\x00\n```\n```\n{SCRIPT}",
    "> " * 30 + SCRIPT,
    "> " * 30 + f"```\n{SCRIPT}\n```",
    "- " * 30 + f"`\n{IMG}`",
    f"[x](`{SCRIPT}`)",
    f"[`x](javascript:alert(1))`{IMG}",
    f"*`*{IMG}*`*{IMG}",
    f"<a href='`'>{IMG}`",
    f"<a title='`' href=x>`{IMG}",
    f"&#96;{SCRIPT}&#96;",
    f"\t- ```\n\t{SCRIPT}\n\t  ```\n",
]

PAYLOADS = HTML_PAYLOADS + LINK_PAYLOADS + IMAGE_PAYLOADS + STRUCTURE_PAYLOADS

# The same payloads where Markdown nests them.
PLACES: dict[str, Callable[[str], str]] = {
    "alone": lambda payload: payload,
    "quoted": lambda payload: "> " + payload.replace("\n", "\n> "),
    "in a list": lambda payload: "- " + payload.replace("\n", "\n  "),
    "quoted in a list": lambda payload: "1. > " + payload.replace("\n", "\n   > "),
    "after an open fence in a quote": lambda payload: f"> ```\n\n{payload}",
    "after a backtick": lambda payload: f"`\n\n{payload}",
    "before a backtick": lambda payload: f"`{payload} `",
    "in emphasis": lambda payload: f"**{payload}**",
    "with other line ends": lambda payload: payload.replace("\n", "\r\n"),
    "between code blocks": lambda payload: f"```\na\n```\n{payload}\n\n    b\n",
}


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_payload_cannot_act_in_any_place(payload: str) -> None:
    harm = {place: harm_in(safe_markdown(put(payload))) for place, put in PLACES.items()}
    assert {place: found for place, found in harm.items() if found} == {}


# Shown as text by markdown-it, but perhaps not by every parser.
HARMLESS_AS_THEY_ARE = {
    "<script/src=//evil.example>",
    "<img/src/onerror=alert(1)>",
    "<IMG SRC=`javascript:alert(1)`>",
    "<a href=data:text/html;base64,PHNjcmlwdD4=>x</a>",
    "<a\nhref='javascript:alert(1)'\n>x</a>",
    "<https://ok.example onclick=alert(1)>",
    "[x](<java\tscript:alert(1)>)",
    "[x](java&Tab;script:alert(1))",
    "[x](java&NewLine;script:alert(1))",
    "[x](\\javascript:alert(1))",
    "[x](\x01javascript:alert(1))",
    "[x]: java&Tab;script:alert(1)\n\n[x][]",
    "![x]: javascript:alert(1)\n\n[x]",
    "[`]: javascript:alert(1)\n\n[`] `",
}


def test_the_payloads_would_act_if_they_were_let_through() -> None:
    """Otherwise the tests above could not fail."""
    payloads = (*HTML_PAYLOADS, *LINK_PAYLOADS, *IMAGE_PAYLOADS)
    assert {payload for payload in payloads if not harm_in(payload)} == HARMLESS_AS_THEY_ARE


def test_there_are_no_few_payloads() -> None:
    assert len(set(PAYLOADS)) >= 60


FRAGMENTS = [
    *(SCRIPT, IMG, "<b>", "</b>", "<!--", "-->", "<a href='", "'>", "<div>", "<https://a.example>", "<"),
    *("`", "``", "```", "\n```\n", "\n~~~\n", "```html\n", "\\", "\\`", "&#96;", "$", "$$"),
    *("\n", "\n\n", "\r", "\r\n", "    ", "\n    ", "\t", " ", "\u2028", "\x0b", "\x00", "\x85"),
    *("> ", "- ", "1. ", "# ", "\n***\n", "\n---\n", "| ", " |\n", "|-|-|\n", "*", "**", "_", "~~"),
    *("[", "]", "](", ")", "!", "![", "[x]", "[x]: ", "]:", "(", "<javascript:alert(1)>"),
    *("javascript:alert(1)", "java&Tab;script:x", "https://a.example", "data:text/html,x", "x", "'", '"'),
]


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=40).map("".join))
@settings(max_examples=600, deadline=None)
def test_no_mixture_of_fragments_can_act(markdown: str) -> None:
    assert harm_in(safe_markdown(markdown)) == []


@given(st.lists(st.sampled_from(PAYLOADS + FRAGMENTS), max_size=8).map("".join))
@settings(max_examples=300, deadline=None)
def test_no_mixture_of_payloads_can_act(markdown: str) -> None:
    assert harm_in(safe_markdown(markdown)) == []


# Ordinary Markdown

UNCHANGED = [
    "",
    "Plain words, 1 < 2 and 3 > 2, a & b, **bold**, _it_, ~~gone~~.",
    "# Heading\n\n- a\n- b\n  1. c\n\n> quoted\n\n---\n",
    "```html\n<div onclick='f()'>x</div>\n```\n",
    "```\n![x](y) [x](javascript:f())\n```\n",
    "~~~\n<script>\n~~~\n",
    "- item\n\n  ```html\n  <b>x</b>\n  ```\n",
    "> ```\n> <b>x</b>\n> ```\n",
    "Code:\n\n    <div>\n\n        <b>\n\nEnd.",
    "Use `<div>` or ``<b>`</b>`` here.",
    "A `List<int>` and a `Map<String, List<T>>`.",
    "```cpp\nstd::vector<int> v; if (a<b) {}\n```",
    "| a | b |\n|---|:-:|\n| `<b>` | 2 |\n",
    "[docs](https://ok.example/a_b?c=d&e=f#g), [mail](mailto:a@ok.example), [here](#part), [file](./a.md)",
    f"[long](https://ok.example/{'x' * 500}) and [path](a/{'x' * 500})",
    "[docs][1] and [2]\n\n[1]: https://ok.example 'Title'\n[2]: <https://ok.example/b>\n",
    "See <https://ok.example/a?b=c> for more.",
    "$x^2$ and $$\\sum_{i<3} x_i$$ and $a < b$",
    "x[0], [ ] todo, [x] done, a[i][j], array[1](2)",
    "- [ ] open\n- [x] done\n",
    "Windows\r\nline\r\n\r\n```\r\n<b>\r\n```\r\n",
    "Wow! And [this](https://ok.example)!",
]


@pytest.mark.parametrize("markdown", UNCHANGED)
def test_ordinary_markdown_is_unchanged(markdown: str) -> None:
    assert safe_markdown(markdown) == markdown


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        ("if a<b then c", "if a<b then c"),
        ("a List<int> of T", "a List<int> of T"),
        ("Press <Enter>, then </b>.", "Press <Enter>, then </b>."),
        (r"An escaped \<b> and \\<b>", "An escaped <b> and \\<b>"),
        ("<b>bold</b>", "<b>bold</b>"),
        ("Look![1]", "Look![1]"),
        ("a note [1]: this: that", "a note [1]: this: that"),
        ("![a cat](https://ok.example/cat.png)", "a cat"),
        ("[x](javascript:f)", "[x](javascript:f)"),
    ],
)
def test_what_is_changed_still_reads_the_same(markdown: str, text: str) -> None:
    assert reads_as(safe_markdown(markdown)).strip() == text


def test_an_image_becomes_a_link_to_it() -> None:
    assert safe_markdown("![a cat](https://ok.example/cat.png)") == "[a cat](https://ok.example/cat.png)"


def test_a_formula_keeps_its_less_than_sign() -> None:
    """A front end takes formulas out before it reads Markdown, so an entity would be shown as it stands."""
    assert safe_markdown("$a<b$ and $$\nx<y\n$$") == "$a< b$ and $$\nx< y\n$$"


@pytest.mark.parametrize("markdown", [*UNCHANGED, *HTML_PAYLOADS, *LINK_PAYLOADS, *IMAGE_PAYLOADS])
def test_making_it_safe_twice_changes_nothing_more(markdown: str) -> None:
    once = safe_markdown(markdown)
    assert safe_markdown(once) == once


@given(st.text(alphabet=st.characters(exclude_characters="<]")))
@settings(deadline=None)
def test_text_that_holds_neither_html_nor_links_is_unchanged(text: str) -> None:
    assert safe_markdown(text) == text


# HTML


class HtmlInspector(Inspector):
    """The same for HTML that was cleaned, which may hold more elements than Markdown makes."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        forbidden = (
            "script style img iframe object embed form input button link meta base svg math video audio"
        )
        if tag in {*forbidden.split(), "source", "map", "area", "body", "html"}:
            self.harm.append(f"<{tag}>")
        for name, value in attrs:
            if name.startswith("on") or name in (
                "style",
                "srcdoc",
                "src",
                "action",
                "formaction",
                "xlink:href",
            ):
                self.harm.append(f"{name}={value!r}")
            if name in ("href", "cite") and not is_web_address(value or ""):
                self.harm.append(f"{name}={value!r}")


HTML_TEMPLATES = [
    "{}",
    "<table><tr><td>{}</table>",
    "<p title='{}'>",
    "<noscript>{}</noscript>",
    "<b>{}",
    "<!--{}",
]


@pytest.mark.parametrize("payload", HTML_PAYLOADS)
def test_html_that_was_cleaned_cannot_act(payload: str) -> None:
    harm = {}
    for template in HTML_TEMPLATES:
        inspector = HtmlInspector()
        inspector.feed(safe_html(template.replace("{}", payload)))
        inspector.close()
        harm[template] = inspector.harm
    assert {template: found for template, found in harm.items() if found} == {}


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JAVASCRIPT:alert(1)",
        " javascript:alert(1)",
        "java\tscript:alert(1)",
        "java\nscript:alert(1)",
        "&#106;avascript:alert(1)",
        "javascript&colon;alert(1)",
        "\x01javascript:alert(1)",
        "vbscript:x",
        "data:text/html,x",
        "file:///etc/passwd",
    ],
)
def test_html_loses_an_address_that_could_run_code(url: str) -> None:
    cleaned = safe_html(f'<a href="{url}">x</a>')
    assert "href" not in cleaned
    assert ">x</a>" in cleaned


def test_ordinary_html_is_kept() -> None:
    markup = (
        "<h2>T</h2><table><tbody><tr><td>1 &lt; 2</td></tr></tbody></table><p><b>b</b> <code>c</code></p>"
    )
    assert safe_html(markup) == markup
    assert 'href="https://ok.example"' in safe_html('<a href="https://ok.example">x</a>')


# Time


@pytest.mark.slow
@pytest.mark.parametrize(
    "fragment",
    [
        "word <b> and [l](https://x.example) `c`. ",
        "](",
        "![",
        "!",
        "[[",
        "`<",
        "- [a](b)\n",
        "<!--",
        "$<",
        "\\<",
    ],
)
def test_time_grows_with_the_length_and_not_its_square(fragment: str) -> None:
    def seconds(length: int) -> float:
        text = (fragment * (length // len(fragment) + 1))[:length] + "<]"
        began = time.thread_time()
        safe_markdown(text)
        return time.thread_time() - began

    small = max(min(seconds(12_500) for _ in range(3)), 0.005)
    is_linear = any(seconds(200_000) < 16 * 6 * small for _ in range(3))  # others may be at work meanwhile
    assert is_linear, "16 times the text; its square would take 256 times as long"


def test_brackets_nested_beyond_reason_still_read_the_same() -> None:
    assert reads_as(safe_markdown("[" * 60 + "x" + "]" * 60)).strip() == "[" * 60 + "x" + "]" * 60


# Closing what an answer left open


@pytest.mark.parametrize(
    "text",
    [
        "no fence",
        "```\nclosed\n```",
        "```py\nclosed\n```\ntext",
        "~~~\n```\n~~~",
        "````\n```\n````",
        "`` ``` `` in a span",
        "- list\n  ```\n  closed\n  ```",
        "```\none\n```\n\n```\ntwo\n```\n",
    ],
)
def test_what_is_closed_stays_as_it_is(text: str) -> None:
    assert closed(text) == text


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("```\nopen", "```"),
        ("````\n```\nopen", "````"),
        ("~~~ py\nopen\n```", "~~~"),
        ("```\none\n```\n\n```\ntwo", "```"),
        ("- list\n  ```\n  one\ntext\n```\ntwo", "```"),  # the list's end closed the first fence
        ("```a`b\n```", "```"),  # the first line is a paragraph: a fence's info has no backticks
    ],
)
def test_a_fence_that_was_left_open_is_closed(text: str, mark: str) -> None:
    assert closed(text) == f"{text}\n{mark}"


@given(
    st.lists(st.sampled_from(["```", "````", "~~~", "  ```", "- ```", "> ~~~", "```py", "```a`b", "x", ""]))
)
def test_what_follows_a_closed_answer_is_a_paragraph_of_its_own(lines: list[str]) -> None:
    tokens = MarkdownIt("commonmark").parse(closed("\n".join(lines)) + "\n\nbelow")
    assert [token.type for token in tokens[-3:]] == ["paragraph_open", "inline", "paragraph_close"]
