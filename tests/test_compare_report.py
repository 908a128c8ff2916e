"""What a comparison shows and gives: figures, answers side by side, a frame; none of it is trusted."""

from __future__ import annotations

import importlib
import pickle
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from farm_notebook.errors import AuthenticationError, MissingExtraError, ModelNotFoundError
from farm_notebook.reply import Reply
from farm_notebook.reports import Comparison, Outcome, tables
from farm_notebook.reports.outcome import LONGEST_PROBLEM
from farm_notebook.reports.side_by_side import Part, side_by_side
from farm_notebook.types import FinishReason, ModelRef, Timings, ToolCall, Usage

FAST, SLOW = ModelRef("near", "fast"), ModelRef("far", "slow")
CODE = "Look:\n\n```python\nprint('|')\n```\n\n- one\n- two"


def reply(text: str = "Hello", ref: ModelRef = FAST, reason: FinishReason = "stop", **more: Any) -> Reply:
    return Reply(text, ref, reason, **more)


def whole() -> Reply:
    return reply(
        CODE,
        usage=Usage(10, 1234),
        timings=Timings(load_s=2.5, first_token_s=0.25, total_s=9.0, tokens_per_s=200.4),
        cost=0.0,
    )


def compared(*outcomes: Outcome, **more: Any) -> Comparison:
    return Comparison("Why?", outcomes, **more)


BOTH = compared(
    Outcome("near:fast", whole()),
    Outcome("slow", reply("Half an ans", SLOW, "error"), AuthenticationError("The key is wrong.")),
    Outcome("gone", None, ModelNotFoundError("No model is called 'gone'.")),
)


def test_the_figures_are_a_table_with_a_row_a_model() -> None:
    lines = BOTH.markdown().splitlines()
    assert lines[:5] == [
        "| model | load | first token | tokens/s | tokens | total | cost | outcome |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
        "| near:fast | 2.50 s | 0.25 s | 200 | 1,234 | 9.00 s | \\$0.00 | done |",
        "| slow → far:slow |  | - | - | - | - | - | failed |",
        "| gone |  | - | - | - | - | - | failed |",
    ]


def test_a_column_nobody_has_anything_in_is_left_out() -> None:
    shown = compared(Outcome("a", reply()), Outcome("b", reply())).markdown()
    assert shown.startswith("| model | first token | ")


def test_speeds_of_a_kept_answer_are_not_compared() -> None:
    kept = reply(
        cached=True, cost=0.0, usage=Usage(1, 2), timings=Timings(first_token_s=0.001, total_s=0.002)
    )
    shown = compared(Outcome("near:fast", kept), Outcome("b", reply(cost=None)))
    assert r"| near:fast | - | - | 2 | - | \$0.00 | done, cached |" in shown.markdown()
    assert "| b → near:fast | - | - | - | - | unknown | done |" in shown.markdown()


@pytest.mark.parametrize(("speed", "shown"), [(0.74, "0.7"), (9.96, "10.0"), (12.4, "12"), (1234.5, "1,234")])
def test_a_small_speed_keeps_a_digit(speed: float, shown: str) -> None:
    told = compared(Outcome("a", reply(timings=Timings(tokens_per_s=speed))), Outcome("b", reply()))
    assert f"| {shown} |" in told.markdown()


@pytest.mark.parametrize(
    ("outcome", "status", "remark"),
    [
        (Outcome("m", reply()), "done", ""),
        (Outcome("m", reply("  ")), "done", "an empty answer"),
        (Outcome("m", reply(reason="length")), "cut at the token limit", ""),
        (Outcome("m", reply(reason="interrupted")), "interrupted", "interrupted"),
        (Outcome("m"), "interrupted", "interrupted"),
        (
            Outcome("m", reply("", reason="tool_calls", tool_calls=(ToolCall("1", "weather", "{}"),))),
            "calls tools",
            "calls weather",
        ),
        (Outcome("m", None, ModelNotFoundError("No.")), "failed", "ModelNotFoundError: No."),
    ],
)
def test_how_each_ended_is_said(outcome: Outcome, status: str, remark: str) -> None:
    assert (outcome.status, outcome.remark) == (status, remark)


def test_an_error_is_one_short_line() -> None:
    outcome = Outcome("m", None, ModelNotFoundError("No\x1b[31m\n- one\n- " + "x" * 1000))
    assert outcome.problem.startswith("ModelNotFoundError: No[31m - one - xxx")
    assert len(outcome.problem) == LONGEST_PROBLEM


def test_outcomes_are_found_by_place_and_by_name() -> None:
    assert len(BOTH) == 3
    assert BOTH[0] is BOTH["near:fast"] is next(iter(BOTH))
    assert BOTH[1:] == BOTH.outcomes[1:]
    assert list(BOTH.replies) == ["near:fast", "slow"]
    with pytest.raises(KeyError, match=r"'fast' was not asked\. Valid: near:fast, slow, gone\."):
        BOTH["fast"]


def test_rivals_are_told_that_they_shared_the_machine() -> None:
    shown = compared(Outcome("a", reply()), Outcome("b_c", reply()), rivals=("a", "b_c"))
    assert shown.note.startswith("a and b_c ran on this machine at the same time")
    assert "--one-by-one" in shown.note
    assert r"<small>a and b\_c ran" in shown.markdown()
    assert shown.note in shown.plain()
    assert compared(Outcome("a", reply())).note == ""
    assert compared(Outcome("a", reply()), told="context: x").note == "context: x"
    told = compared(Outcome("a", reply()), Outcome("b", reply()), rivals=("a", "b"), told="context: x")
    assert told.note.startswith("context: x · a and b ran on this machine")


def test_the_text_has_the_figures_and_then_every_answer() -> None:
    text = str(BOTH)
    assert repr(whole().usage.output_tokens) not in text
    assert "1,234" in text
    assert text.endswith(
        f"--- near:fast\n{CODE}\n\n"
        "--- slow → far:slow\nHalf an ans\n(AuthenticationError: The key is wrong.)\n\n"
        "--- gone\n(ModelNotFoundError: No model is called 'gone'.)"
    )


def test_the_text_beside_the_markdown_can_be_shortened() -> None:
    shown = compared(Outcome("near:fast", reply("x" * 50)), Outcome("b", reply("short")))
    assert f"{'x' * 20}…\n(30 more characters)" in shown.plain(longest=20)
    assert "short" in shown.plain(longest=20)


def test_a_terminal_gets_no_control_characters() -> None:
    shown = str(compared(Outcome("a\x1b[2J", reply("\x1b]0;title\x07Hi")), Outcome("b", reply())))
    assert "\x1b" not in shown
    assert "\x07" not in shown


def test_the_provenance_of_each_is_in_the_metadata() -> None:
    data, metadata = BOTH._repr_mimebundle_()
    assert set(data) == {"text/markdown", "text/plain"}
    first, _, third = metadata["farm"]["compared"]
    assert (first["name"], first["model"], first["finish_reason"]) == ("near:fast", "near:fast", "stop")
    assert third == {
        "name": "gone",
        "status": "failed",
        "error": "ModelNotFoundError: No model is called 'gone'.",
    }


def test_it_can_be_pickled() -> None:
    again = pickle.loads(pickle.dumps(BOTH))
    assert [each.problem for each in again] == [each.problem for each in BOTH]
    assert again[0] == BOTH[0]


def test_the_frame_has_a_row_a_model() -> None:
    pytest.importorskip("pandas")
    frame = BOTH.to_dataframe()
    assert list(frame["model"]) == ["near:fast", "slow", "gone"]
    assert list(frame["outcome"]) == ["done", "failed", "failed"]
    first = frame.iloc[0]
    assert (first["output_tokens"], first["first_token_s"], first["tokens_per_s"]) == (1234, 0.25, 200.4)
    assert (first["ref"], first["text"], first["cost"], first["load_s"]) == ("near:fast", CODE, 0.0, 2.5)
    assert frame["error"].isna().tolist() == [True, False, False]
    assert frame["text"].isna().tolist() == [False, False, True]


def test_the_frame_has_no_times_of_a_kept_answer() -> None:
    pytest.importorskip("pandas")
    kept = reply(cached=True, cost=0.0, timings=Timings(first_token_s=0.001, total_s=0.002))
    frame = compared(Outcome("a", kept), Outcome("b", whole())).to_dataframe()
    assert frame[["load_s", "first_token_s", "total_s"]].isna().all(axis=1).tolist() == [True, False]
    assert frame["cached"].tolist() == [True, False]


def test_without_pandas_the_frame_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(tables, "import_module", missing)
    assert importlib.import_module("json"), "only the table's own name is replaced"
    with pytest.raises(MissingExtraError, match="pip install pandas"):
        BOTH.to_dataframe()


DIV = re.compile(r"<(/?)div\b[^>]*>")


def columns_of(markdown: str) -> list[str]:
    """The HTML of each column, as a front end's parser makes it, with nothing but the columns around them."""
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown)
    columns: list[str] = []
    depth, start = 0, 0
    for tag in DIV.finditer(html):
        if tag[1]:
            if depth == 2:
                columns.append(html[start : tag.start()].strip())
            depth -= 1
        else:
            depth += 1
            start = tag.end()
    assert depth == 0, "a column was not closed where it ends"
    return columns


def test_answers_stand_in_columns_with_their_code_and_lists() -> None:
    first, second = columns_of(side_by_side([Part("a", CODE, "note_1", "re_mark"), Part("b", "Hi")]))
    assert first.startswith("<p><strong>a</strong><br><small>note_1</small></p>")
    assert "<pre><code class=\"language-python\">print('|')\n</code></pre>" in first
    assert "<li>one</li>" in first
    assert first.endswith("<p><em>re_mark</em></p>")
    assert second == "<p><strong>b</strong></p>\n<p>Hi</p>"


UNFINISHED = [
    "```python\nprint('<div>')",
    "- item\n  ```\n  code",
    "> quoted\n> ~~~\n> code",
    "1. one\n   - two\n\n     more",
    "| a | b |\n|---|---|\n| 1",
    "# A title",
    "Title\n===",
    "    indented code",
    "text `code",
    "a $ sign, $$ two, \\( three, \\begin{x}",
    "</div></div>",
    "<!-- a comment",
    "<script>alert(1)</script>",
    "<div>\n\n</div>",
    "<![CDATA[ x",
    "<pre>\n\n",
    "[a]: http://127.0.0.1/\n\n[a]",
    "[b](javascript:alert(1)) ![c](http://127.0.0.1/x.png)",
    "\n\n\n",
    "&lt;/div&gt;",
    "***",
    "* * *\n+ a\n  1. b\n     > c",
]


@pytest.mark.parametrize("text", UNFINISHED)
def test_no_answer_leaves_its_column(text: str) -> None:
    first, second, third = columns_of(
        side_by_side([Part("a", text, remark="r"), Part("b", text), Part("c", "last")])
    )
    assert first.endswith("<p><em>r</em></p>")
    assert third == "<p><strong>c</strong></p>\n<p>last</p>"
    for html in (first, second):
        assert not re.search(r"<(script|img|!--)|href=\"javascript", html)


MARKS = [
    "\n",
    "\n\n",
    " ",
    "    ",
    "\t",
    "- ",
    "> ",
    "1. ",
    "`",
    "```",
    "~~~",
    "</div>",
    "<div>",
    "|",
    "---",
    "x",
]
PIECES = [*UNFINISHED, *MARKS]


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
@settings(deadline=None)
def test_whatever_an_answer_is_made_of_it_stays_in_its_column(text: str) -> None:
    _, last = columns_of(side_by_side([Part("a", text), Part("b", "last")]))
    assert last == "<p><strong>b</strong></p>\n<p>last</p>"


def test_names_and_remarks_are_text() -> None:
    (only,) = columns_of(side_by_side([Part("<b>*x*\n\n</div>", "", "$a$ <i>", "_u_ </div>\n\n- x")]))
    assert only == (
        "<p><strong>&lt;b&gt;*x* &lt;/div&gt;</strong><br><small>$a$ &lt;i&gt;</small></p>\n"
        "<p><em>_u_ &lt;/div&gt; - x</em></p>"
    )
