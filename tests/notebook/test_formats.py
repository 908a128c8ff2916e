"""What an answer is shown as, while it streams and when it is whole."""

from __future__ import annotations

import json
from typing import get_args

import pytest

from farm_notebook.notebook.formats import FORMATS, Bundle, fenced_code
from farm_notebook.notebook.options import FormatName
from farm_notebook.reply import Reply
from farm_notebook.types import ModelRef, Usage

FOOTER = "scripted:echo · 3 tokens"


def reply(text: str) -> Reply:
    return Reply(text, ModelRef("scripted", "echo"), "stop", usage=Usage(1, 3))


def final(name: FormatName, text: str) -> Bundle:
    return FORMATS[name].final(reply(text))


def test_every_format_of_the_options_is_there() -> None:
    assert set(FORMATS) == set(get_args(FormatName))


@pytest.mark.parametrize("name", get_args(FormatName))
@pytest.mark.parametrize("text", ["", "plain", "```", "$", "<b>", "{", "\\", "| a |\n|---|"])
def test_every_bundle_can_be_sent_and_has_plain_text_for_other_viewers(name: FormatName, text: str) -> None:
    bundle = final(name, text)
    assert "text/plain" in bundle
    assert json.loads(json.dumps(bundle, allow_nan=False)) == bundle
    assert json.dumps(FORMATS[name].preview(text))


@pytest.mark.parametrize("name", ["markdown", "text", "code", "html", "math"])
def test_the_footer_is_part_of_the_output(name: FormatName) -> None:
    assert FOOTER in final(name, "x")["text/plain"]


def test_markdown_previews_as_it_ends_but_for_the_footer() -> None:
    form = FORMATS["markdown"]
    assert form.preview("# Hi *there*") == {"text/markdown": "# Hi *there*"}
    assert final("markdown", "# Hi *there*") == {
        "text/markdown": f"# Hi *there*\n\n<small>{FOOTER}</small>",
        "text/plain": f"# Hi *there*\n\n{FOOTER}",
    }
    assert form.is_shown_as_it_streams


@pytest.mark.parametrize(
    "hostile", ["<script>alert(1)</script>", "![x](https://e.example/?q=1)", "[x](javascript:f)"]
)
def test_markdown_is_sanitised_while_it_streams_and_at_the_end(hostile: str) -> None:
    form = FORMATS["markdown"]
    for shown in (form.preview(hostile)["text/markdown"], final("markdown", hostile)["text/markdown"]):
        assert hostile not in shown


def test_text_is_shown_as_it_is() -> None:
    form = FORMATS["text"]
    assert form.preview("<b> *x*") == {"text/plain": "<b> *x*"}
    assert final("text", "<b> *x*") == {"text/plain": f"<b> *x*\n\n{FOOTER}"}
    assert form.is_shown_as_it_streams


def test_code_is_shown_in_one_fence_of_python() -> None:
    assert final("code", "Sure:\n```py\nprint(1)\n```\nThat is it.") == {
        "text/markdown": f"```python\nprint(1)\n```\n\n<small>{FOOTER}</small>",
        "text/plain": f"print(1)\n\n{FOOTER}",
    }


@pytest.mark.parametrize("code", ["s = '```'", 's = """\n````\n"""', "~~~"])
def test_code_cannot_leave_its_fence(code: str) -> None:
    for shown in (
        final("code", f"`````py\n{code}\n`````")["text/markdown"],
        FORMATS["code"].preview(code)["text/markdown"],
    ):
        assert fenced_code(shown) == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("x = 1", "x = 1"),
        ("\n  x = 1\n\n", "x = 1"),
        ("```python\nx = 1\n```", "x = 1"),
        ("Before\n```\na\n```\nbetween\n```js\nb\n```\nafter", "a\n\nb"),
        ("~~~py\nx = 1\n~~~", "x = 1"),
        ("~~~\na\n```\nb\n~~~", "a\n```\nb"),
        ("```py\na\n~~~\nb\n```", "a\n~~~\nb"),
        ("````md\n```py\nx\n```\n````", "```py\nx\n```"),
        ("```py\nx\n`````\nafter", "x"),
        ("```py\nx\n``\ny\n```", "x\n``\ny"),
        ("```py\nprint('unclosed')\n", "print('unclosed')"),
        ("```py", ""),
        ("```py\n\n\n```", ""),
        ("```py\na\n\n\n    b\n```", "a\n\n\n    b"),
        ("  ```py\n  if x:\n      y\n  ```", "if x:\n    y"),
        ("1. First\n\n   ```py\n   if x:\n       y\n   ```\n", "if x:\n    y"),
        ("> ```py\n> x\n> ```\n", "x"),
        ("```py title='a' {1,2}\nx\n```", "x"),
        ("```py\r\nx\r\ny\r\n```\r\nafter", "x\ny"),
        ("Inline ```x``` only", "Inline ```x``` only"),
    ],
)
def test_code_is_what_stands_in_the_fences_else_everything(text: str, code: str) -> None:
    assert fenced_code(text) == code


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, null, "é"]}', {"a": [1, None, "é"]}),
        ('```json\n{"a": 1}\n```', {"a": 1}),
        ("Here:\n```json\n[1]\n```\nDone.", [1]),
        ("3.5", 3.5),
        ("null", None),
    ],
)
def test_json_is_shown_as_a_value_and_pretty_as_text(text: str, value: object) -> None:
    bundle = final("json", text)
    assert bundle["application/json"] == value
    assert json.loads(bundle["text/plain"]) == value


def test_pretty_json_keeps_its_letters() -> None:
    assert "é" in final("json", '["é"]')["text/plain"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "No.",
        "{'a': 1}",
        '{"a": 1',
        '{"a": 1} {"b": 2}',
        "NaN",
        "[Infinity]",
        "[1e999]",
        "[" * 100_000,
        r'"\ud800"',
    ],
    ids=lambda text: text[:20],
)
def test_what_is_not_json_is_shown_as_it_came_and_says_so(text: str) -> None:
    assert final("json", text) == {"text/plain": f"{text}\n\nNot JSON. {FOOTER}"}


@pytest.mark.parametrize(
    ("text", "absent"),
    [
        ("<p>ok</p><script>alert(1)</script>", "<script"),
        ("<p onclick='f()'>ok</p>", "onclick"),
        ("<p>ok</p><img src=x onerror=f()>", "<img"),
        ("<p>ok</p><a href='javascript:f()'>x</a>", "javascript"),
        ("<p>ok</p><iframe src='https://e.example'></iframe>", "iframe"),
        ("<p style='background:url(https://e.example)'>ok</p>", "style"),
        ("```html\n<p>ok</p><script>alert(1)</script>\n```", "<script"),
    ],
)
def test_html_is_sanitised(text: str, absent: str) -> None:
    markup = final("html", text)["text/html"]
    assert "ok</p>" in markup
    assert absent not in markup


def test_html_is_shown_without_its_fence_and_with_an_escaped_footer() -> None:
    made = Reply("```html\n<b>x</b>\n```", ModelRef("llamacpp", "<i>.gguf"), "stop")
    markup = FORMATS["html"].final(made)["text/html"]
    assert markup.startswith("<b>x</b>")
    assert "```" not in markup
    assert "&lt;i&gt;.gguf" in markup


@pytest.mark.parametrize(
    "text",
    [
        r"\frac{a}{b}",
        r"$\frac{a}{b}$",
        r"$$\frac{a}{b}$$",
        "$$\n\\frac{a}{b}\n$$\n",
        r"\[\frac{a}{b}\]",
        r"\( \frac{a}{b} \)",
        "```latex\n\\frac{a}{b}\n```",
        "```latex\n$$\n\\frac{a}{b}\n$$\n```",
    ],
)
def test_math_is_shown_whatever_delimiters_the_model_used(text: str) -> None:
    bundle = final("math", text)
    assert bundle["text/latex"] == r"$\displaystyle \frac{a}{b}$"
    assert bundle["text/plain"] == f"\\frac{{a}}{{b}}\n\n{FOOTER}"


@pytest.mark.parametrize("text", ["a $ b", "$a$ and $b$", "$a$ <b> $b$", "$$ a $ b $$", "$"])
def test_a_dollar_cannot_end_the_formula(text: str) -> None:
    formula = final("math", text)["text/latex"]
    assert (formula[0], formula[-1]) == ("$", "$")
    assert "$" not in formula[1:-1]


def test_an_escaped_dollar_stays_in_the_formula() -> None:
    assert final("math", r"5\$ + 6\$")["text/latex"] == r"$\displaystyle 5\$ + 6\$$"


@pytest.mark.parametrize("text", [r"a \\$ b", r"a \\\\$ b", "a\\"])
def test_a_backslash_cannot_open_or_close_the_formula(text: str) -> None:
    formula = final("math", text)["text/latex"]
    inner = formula[1:-1].replace("\\\\", "")
    assert "$" not in inner.replace("\\$", "")
    assert not inner.endswith("\\")


@pytest.mark.parametrize("name", ["code", "json", "html", "math"])
def test_formats_that_need_it_instruct_the_model_and_do_not_stay_as_streamed(name: FormatName) -> None:
    assert FORMATS[name].instruction
    assert not FORMATS[name].is_shown_as_it_streams


@pytest.mark.parametrize("name", ["markdown", "text"])
def test_the_other_formats_add_nothing_to_the_request(name: FormatName) -> None:
    assert FORMATS[name].instruction is None
