"""Calls are shown one a line, and nothing in them is read as Markdown, HTML or a command to a terminal."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt

from farm_notebook.notebook.calls import LONGEST, Calls, written_call
from farm_notebook.types import ToolCall, ToolResult

CALL = ToolCall("1", "weather", '{"city": "Rome", "days": 3}')


def shown(call: ToolCall, result: ToolResult | None = None) -> Calls:
    calls = Calls()
    calls.begin(call)
    if result:
        calls.end(result)
    return calls


@pytest.mark.parametrize(
    ("arguments", "written"),
    [
        ('{"city": "Rome", "days": 3}', 'weather(city="Rome", days=3)'),
        ("", "weather()"),
        ('{"city": ', 'weather({"city":)'),
        ('{"city": "a\\nb"}', 'weather(city="a\\nb")'),
        ('{"city": "Zürich"}', 'weather(city="Zürich")'),
    ],
)
def test_a_call_is_written_as_python_writes_it(arguments: str, written: str) -> None:
    assert written_call(ToolCall("1", "weather", arguments)) == written


@pytest.mark.parametrize(
    ("result", "line"),
    [
        (None, "…"),
        (ToolResult(CALL, "rain\nand wind", took_s=0.5), "→ rain and wind (0.50 s)"),
        (ToolResult(CALL, "KeyError: 'x'", is_error=True, took_s=0.001), "✗ KeyError: 'x'"),
    ],
)
def test_a_call_has_one_line_with_what_came_of_it(result: ToolResult | None, line: str) -> None:
    assert shown(CALL, result).lines == [f'weather(city="Rome", days=3) {line}']


def test_a_call_that_has_no_result_when_all_ends_is_stopped() -> None:
    calls = shown(CALL)
    assert calls.is_waiting
    calls.stop()
    assert calls.lines == ['weather(city="Rome", days=3) ✗ stopped']


def test_several_calls_are_a_list() -> None:
    calls = shown(CALL, ToolResult(CALL, "rain"))
    calls.begin(CALL)
    assert MarkdownIt().render(calls.markdown).count("<li>") == 2


@pytest.mark.parametrize(
    "payload",
    [
        "<script>alert(1)</script>",
        "</code><img src=x onerror=alert(1)>",
        "`</code>` ![x](http://e.example/x.png) [y](javascript:alert(1))",
        '$x<img src=x onerror="alert(1)">$',
        "\n\n# heading\n\n<b>",
        "\x1b[2J\x07",
    ],
)
def test_a_hostile_call_is_shown_as_text(payload: str) -> None:
    call = ToolCall("1", f"f{payload}", payload)
    calls = shown(call, ToolResult(call, payload))
    page = MarkdownIt("commonmark", {"html": True}).render(calls.markdown)
    assert page.count("<") == page.count("<ul>") * 4 + page.count("<code>") * 2
    assert page.count("<code>") == 2
    assert "$" not in calls.markdown.replace("\\$", "")
    assert all("\x1b" not in text and "\n" not in text for text in calls.lines)


def test_what_is_long_is_cut() -> None:
    call = ToolCall("1", "f", '{"text": "' + "x" * 10_000 + '"}')
    (line,) = shown(call, ToolResult(call, "y" * 10_000)).lines
    assert len(line) < 2 * LONGEST + 20
