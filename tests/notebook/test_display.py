"""Painting an answer while it streams: rarely, linearly, and as one static output in the end."""

from __future__ import annotations

import asyncio
import io
import json
import re
import sys
from dataclasses import dataclass, field, replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from markdown_it import MarkdownIt

from farm_notebook.notebook.display import CellDisplay, Display, TerminalDisplay
from farm_notebook.notebook.formats import FORMATS
from farm_notebook.notebook.options import FormatName
from farm_notebook.notebook.segments import HARD_LIMIT
from farm_notebook.progress import Progress
from farm_notebook.reply import Reply
from farm_notebook.sanitize import as_inline_text
from farm_notebook.types import (
    Event,
    FinishReason,
    LoadProgress,
    ModelRef,
    PromptProgress,
    Queued,
    ReasoningDelta,
    Rerouted,
    Retrying,
    Routed,
    Started,
    TextDelta,
    Usage,
)

REF = ModelRef("scripted", "echo")
OTHER = ModelRef("far", "away")
NEVER_S = 3600.0
LONG = "".join(f"Sentence number {number} of a paragraph.\n\n" for number in range(200))


@dataclass
class Cell:
    """A publisher, and what a front end would show of its messages."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    outputs: list[dict[str, Any]] = field(default_factory=list)
    cleared: int = 0
    _clear_at_next: bool = False

    def publish(
        self,
        data: dict[str, Any],
        metadata: dict[str, Any] | None = None,
        transient: dict[str, Any] | None = None,
        update: bool = False,
    ) -> None:
        message = {"data": data, "metadata": metadata or {}, "id": (transient or {}).get("display_id")}
        self.messages.append(message)
        if update:
            known = [index for index, output in enumerate(self.outputs) if output["id"] == message["id"]]
            assert known, "an update of an output that was never shown"
            for index in known:
                self.outputs[index] = message
            return
        if self._clear_at_next:
            self.outputs.clear()
            self._clear_at_next = False
        self.outputs.append(message)

    def clear_output(self, wait: bool = False) -> None:
        assert wait, "clearing at once makes the page jump"
        self.cleared += 1
        self._clear_at_next = True

    def display(
        self, name: FormatName = "markdown", *, repaint_s: float | None = 0.0, owns_cell: bool = True
    ) -> CellDisplay:
        shell: Any = SimpleNamespace(display_pub=self)
        return CellDisplay(shell, FORMATS[name], repaint_s=repaint_s, owns_cell=owns_cell)

    @property
    def sent_bytes(self) -> int:
        return sum(len(json.dumps(message)) for message in self.messages)

    @property
    def shown(self) -> str:
        """The Markdown, else the text, of all outputs."""
        texts = [output["data"] for output in self.outputs]
        return "".join(data.get("text/markdown", data.get("text/plain", "")) for data in texts)


def reply(text: str, reason: FinishReason = "stop") -> Reply:
    return Reply(text, REF, reason, usage=Usage(1, 2))


async def turn() -> None:
    """Let what is due on the loop happen."""
    for _ in range(3):
        await asyncio.sleep(0)


async def stream(display: Display, text: str, size: int = 20) -> None:
    """Feed a text piece by piece, painting after each."""
    for start in range(0, len(text), size):
        display.add(TextDelta(text[start : start + size]))
        await turn()


async def test_the_first_text_is_painted_at_once() -> None:
    cell = Cell()
    cell.display(repaint_s=NEVER_S).add(TextDelta("Hello"))
    assert cell.messages == []
    await turn()
    assert cell.shown == "Hello"


async def test_a_burst_of_a_thousand_deltas_is_one_message() -> None:
    cell = Cell()
    display = cell.display(repaint_s=NEVER_S)
    for _ in range(1000):
        display.add(TextDelta("x"))
    await turn()
    assert [message["data"] for message in cell.messages] == [{"text/markdown": "x" * 1000}]
    for _ in range(1000):
        display.add(TextDelta("y"))
        await asyncio.sleep(0)
    assert len(cell.messages) == 1
    display.finish(reply("x" * 1000 + "y" * 1000))
    assert len(cell.messages) == 2


async def test_what_arrived_is_painted_after_the_interval_without_a_further_event() -> None:
    cell = Cell()
    display = cell.display(repaint_s=0.05)
    display.add(TextDelta("one"))
    await turn()
    display.add(TextDelta(" two"))
    await turn()
    assert cell.shown == "one"
    await asyncio.sleep(0.15)
    assert cell.shown == "one two"
    assert len(cell.messages) == 2


async def test_text_grows_from_message_to_message_in_one_output() -> None:
    cell = Cell()
    display = cell.display()
    await stream(display, "one two three four", size=4)
    texts = [message["data"]["text/markdown"] for message in cell.messages]
    assert len(texts) == 5
    assert all(later.startswith(earlier) for earlier, later in pairwise(texts))
    assert len(cell.outputs) == 1


@pytest.mark.parametrize("owns_cell", [True, False])
@pytest.mark.parametrize("name", ["markdown", "text"])
async def test_bytes_grow_linearly_with_the_answer(name: FormatName, owns_cell: bool) -> None:
    sent = []
    for text in (LONG, LONG * 2):
        cell = Cell()
        display = cell.display(name, owns_cell=owns_cell)
        await stream(display, text)
        display.finish(reply(text))
        assert len(cell.messages) > len(text) // 20  # it was painted after every delta, as nobody would
        sent.append(cell.sent_bytes)
    assert sent[1] < 2.2 * sent[0]


async def test_no_repaint_is_longer_than_a_part() -> None:
    cell = Cell()
    display = cell.display()
    await stream(display, "- item\n" * 2000)
    assert max(len(message["data"]["text/markdown"]) for message in cell.messages) < HARD_LIMIT + 100
    assert len(cell.outputs) > 5


@pytest.mark.parametrize("name", ["markdown", "text", "code", "json", "html", "math"])
@pytest.mark.parametrize("text", ["short", LONG, ""], ids=["short", "long", "empty"])
@pytest.mark.parametrize("repaint_s", [0.0, None])
async def test_a_cell_of_its_own_ends_as_one_output_with_its_provenance(
    name: FormatName, text: str, repaint_s: float | None
) -> None:
    cell = Cell()
    display = cell.display(name, repaint_s=repaint_s)
    display.add(Started(REF))
    await turn()
    await stream(display, text, size=50)
    answer = reply(text)
    display.finish(answer)
    await turn()
    assert [(output["data"], output["metadata"]) for output in cell.outputs] == [
        (FORMATS[name].final(answer), {"farm": answer.provenance()})
    ]


async def test_only_an_output_in_parts_is_cleared() -> None:
    short, long = Cell(), Cell()
    for cell, text in ((short, "short"), (long, LONG)):
        display = cell.display()
        await stream(display, text)
        display.finish(reply(text))
    assert (short.cleared, long.cleared) == (0, 1)


async def test_a_shared_cell_is_never_cleared_and_shows_the_whole_answer_once() -> None:
    cell = Cell()
    cell.publish({"text/plain": "the user's own output"})
    display = cell.display(owns_cell=False)
    await stream(display, LONG)
    answer = reply(LONG)
    display.finish(answer)
    assert cell.cleared == 0
    assert cell.outputs[0]["data"] == {"text/plain": "the user's own output"}
    assert cell.shown == f"the user's own output{LONG}\n\n<small>{answer.footer}</small>"
    assert cell.outputs[-1]["metadata"] == {"farm": answer.provenance()}
    assert all(output["metadata"] == {} for output in cell.outputs[:-1])


@pytest.mark.parametrize("name", ["code", "json", "html", "math"])
async def test_in_a_shared_cell_what_is_not_shown_as_it_streams_is_painted_once(name: FormatName) -> None:
    cell = Cell()
    display = cell.display(name, owns_cell=False)
    await stream(display, LONG)
    assert cell.messages == []
    display.finish(reply(LONG))
    assert len(cell.messages) == 1


async def test_without_repainting_there_is_one_message() -> None:
    cell = Cell()
    display = cell.display(repaint_s=None)
    display.add(LoadProgress("load", 0, 10))
    display.add(Started(REF))
    await stream(display, LONG)
    await asyncio.sleep(0.05)
    assert cell.messages == []
    display.finish(reply(LONG))
    assert len(cell.messages) == 1
    assert cell.cleared == 0


@pytest.mark.parametrize("way_out", ["finish", "discard"])
async def test_nothing_is_painted_after_the_end(way_out: str) -> None:
    cell = Cell()
    display = cell.display(repaint_s=0.03)
    display.add(TextDelta("one"))
    await turn()
    display.add(TextDelta(" two"))
    if way_out == "finish":
        display.finish(reply("one two", "interrupted"))
    else:
        display.discard()
    sent = len(cell.messages)
    await asyncio.sleep(0.1)
    assert len(cell.messages) == sent


async def test_nothing_is_painted_after_the_end_of_a_long_answer_whose_last_words_were_waiting() -> None:
    cell = Cell()
    display = cell.display(repaint_s=0.03)
    display.add(TextDelta(LONG))
    await turn()
    display.add(TextDelta("the end"))
    display.finish(reply(f"{LONG}the end"))
    assert "the end" in cell.messages[-2]["data"]["text/markdown"], (
        "the last words need not wait for the rest"
    )
    sent = len(cell.messages)
    await asyncio.sleep(0.1)
    assert len(cell.messages) == sent
    assert len(cell.outputs) == 1
    assert cell.shown.startswith("Sentence number 0 ")


async def test_a_partial_answer_is_marked() -> None:
    cell = Cell()
    display = cell.display()
    await stream(display, "one two")
    display.finish(reply("one two", "interrupted"))
    assert "one two" in cell.shown
    assert "interrupted" in cell.shown
    assert cell.outputs[0]["metadata"]["farm"]["finish_reason"] == "interrupted"


async def test_discarding_before_anything_was_painted_sends_nothing() -> None:
    cell = Cell()
    display = cell.display()
    display.add(TextDelta("x"))
    display.discard()
    await turn()
    assert (cell.messages, cell.cleared) == ([], 0)


async def test_discarding_takes_a_painted_note_away() -> None:
    owned, shared = Cell(), Cell()
    for cell in (owned, shared):
        display = cell.display(owns_cell=cell is owned)
        display.add(LoadProgress("load", 0, 10))
        await turn()
        assert "Loading" in cell.shown
        display.discard()
    assert owned.cleared == 1
    assert (shared.cleared, shared.shown) == (0, "")


async def test_the_first_word_replaces_a_note_at_once() -> None:
    cell = Cell()
    display = cell.display(repaint_s=NEVER_S)
    display.add(Started(REF))
    await turn()
    assert cell.shown == "*…*"
    display.add(TextDelta("Hi"))
    await turn()
    assert cell.shown == "Hi"
    display.add(TextDelta(" there"))
    await turn()
    assert cell.shown == "Hi"


async def test_an_empty_delta_paints_nothing_and_leaves_the_note() -> None:
    cell = Cell()
    display = cell.display()
    display.add(TextDelta(""))
    await turn()
    assert cell.messages == []
    display.add(ReasoningDelta("hm"))
    display.add(TextDelta(""))
    await turn()
    assert cell.shown == "*Thinking …*"


async def test_progress_is_shown_until_the_first_word_and_not_again() -> None:
    cell = Cell()
    display = cell.display()
    for event in (
        LoadProgress("fetch", 5_000_000, 93_000_000),
        PromptProgress(10, 200),
        ReasoningDelta("hm"),
    ):
        display.add(event)
        await turn()
    assert [message["data"]["text/markdown"] for message in cell.messages] == [
        "*Fetching the model … 5 of 93 MB (5%)*",
        "*Reading the prompt … 10 of 200 tokens*",
        "*Thinking …*",
    ]
    display.add(TextDelta("Hi"))
    await turn()
    display.add(ReasoningDelta("hm"))
    await turn()
    assert cell.shown == "Hi"
    assert len(cell.outputs) == 1


WAITING: list[tuple[Event, str]] = [
    (Routed(REF, "no other model is here"), "Asking scripted:echo: no other model is here"),
    (
        Queued(REF, "limits.concurrency of scripted", 0.0),
        "Asking scripted:echo: no other model is here · Waiting for limits.concurrency of scripted",
    ),
    (
        Queued(REF, "limits.requests_per_minute of scripted", 12.4),
        "Asking scripted:echo: no other model is here · "
        "Waiting 12 s for limits.requests_per_minute of scripted",
    ),
    (Rerouted(REF, OTHER, "connection refused"), "scripted:echo: connection refused; asking far:away"),
    (LoadProgress("load", 0), "scripted:echo: connection refused; asking far:away · Loading the model …"),
    (Started(OTHER), "scripted:echo: connection refused; asking far:away"),
    (
        Retrying(OTHER, "it is busy", 0.5),
        "scripted:echo: connection refused; asking far:away · Asking again in 0.5 s … it is busy",
    ),
]


async def test_who_is_asked_and_what_is_waited_for_is_told_until_the_first_word() -> None:
    cell = Cell()
    display = cell.display()
    for event, note in WAITING:
        display.add(event)
        await turn()
        assert cell.shown == f"*{as_inline_text(note)}*"
    display.add(TextDelta("Hi"))
    await turn()
    assert cell.shown == "Hi"


@pytest.mark.parametrize("event", [Rerouted, Retrying])
async def test_what_a_server_says_of_its_failure_is_shown_as_text_on_one_line(event: type[Any]) -> None:
    hostile = "<img src=x onerror=alert(1)>\n\n# [a](javascript:b) \x1b[2J*"
    cell = Cell()
    display = cell.display()
    display.add(Rerouted(REF, OTHER, hostile) if event is Rerouted else Retrying(REF, hostile, 1.0))
    await turn()
    assert "\n" not in cell.shown
    assert "\x1b" not in cell.shown
    page = MarkdownIt("commonmark", {"html": True}).render(cell.shown)
    assert set(re.findall(r"<(\w+)", page)) == {"p", "em"}


async def test_a_servers_whole_page_of_an_error_is_cut() -> None:
    cell = Cell()
    display = cell.display()
    display.add(Rerouted(REF, OTHER, "too long " * 1000))
    await turn()
    assert len(cell.shown) < 400


@pytest.mark.parametrize("name", ["markdown", "text", "code", "json", "html", "math"])
async def test_why_a_model_was_asked_stays_below_the_footer_or_by_itself(name: FormatName) -> None:
    answer = replace(reply("1"), routed="no other <b>model</b>\n\nis here")
    cell = Cell()
    display = cell.display(name)
    display.add(Routed(REF, answer.routed))
    await turn()
    display.finish(answer)
    output, *below = cell.outputs
    assert len(below) == (name in ("json", "math"))
    *_, last = cell.outputs
    seen = next(text for kind, text in last["data"].items() if kind != "text/plain" or name == "text")
    assert "is here" in seen
    for each in cell.outputs:
        assert "<b>" not in "".join(each["data"].get(kind, "") for kind in ("text/markdown", "text/html"))
    assert output["metadata"]["farm"]["routed"] == answer.routed


def test_why_a_model_was_asked_stays_in_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    answer = replace(reply("Hi"), routed="no \x1b[31mother model")
    display = TerminalDisplay(FORMATS["markdown"], live=True)
    display.add(Routed(REF, answer.routed))
    display.add(TextDelta("Hi"))
    display.finish(answer)
    assert capsys.readouterr().out == f"Hi\n\n{answer.footer}\nno [31mother model\n"


def test_an_event_without_news_has_no_note() -> None:
    progress = Progress()
    assert not progress.add(PromptProgress(200, 200))
    assert not progress.add(TextDelta("x"))
    assert progress.note == ""
    assert progress.add(LoadProgress("fetch", 2_000_000))
    assert progress.note == "Fetching the model … 2.0 MB"


async def test_two_displays_of_one_cell_do_not_paint_over_each_other() -> None:
    cell = Cell()
    for text in ("first", "second"):
        display = cell.display(owns_cell=False)
        await stream(display, text)
        display.finish(reply(text))
    assert len(cell.outputs) == 2
    assert cell.shown.index("first") < cell.shown.index("second")


class Terminal(io.StringIO):
    def __init__(self, *, is_tty: bool) -> None:
        super().__init__()
        self._is_tty = is_tty

    def isatty(self) -> bool:
        return self._is_tty


HOSTILE = "a\x1b[31mred\x1b[2J\x1b]0;title\x07\x1b]8;;http://e.example\x1b\\b\r\bover\x9b5m\x00\x7f\v\fc\n\td"


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("name", ["markdown", "text", "code", "json", "html", "math"])
def test_a_terminal_gets_no_control_character_of_the_model(
    name: FormatName, live: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    display = TerminalDisplay(FORMATS[name], live=live)
    for character in HOSTILE:
        display.add(TextDelta(character))
    display.finish(reply(HOSTILE))
    out, err = capsys.readouterr()
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", out)
    assert "c\n" in out
    assert err == ""


def test_a_terminal_gets_the_text_as_it_comes_and_the_footer_once(capsys: pytest.CaptureFixture[str]) -> None:
    display = TerminalDisplay(FORMATS["markdown"], live=True)
    display.add(TextDelta("one"))
    assert capsys.readouterr().out == "one"
    display.add(TextDelta(" two"))
    assert capsys.readouterr().out == " two"
    answer = reply("one two")
    display.finish(answer)
    assert capsys.readouterr().out == f"\n\n{answer.footer}\n"


def test_a_terminal_that_is_not_live_gets_the_answer_once(capsys: pytest.CaptureFixture[str]) -> None:
    display = TerminalDisplay(FORMATS["code"], live=False)
    display.add(TextDelta("```py\nx\n```"))
    assert capsys.readouterr().out == ""
    answer = reply("```py\nx\n```")
    display.finish(answer)
    assert capsys.readouterr().out == f"x\n\n{answer.footer}\n"


@pytest.mark.parametrize("name", ["markdown", "text", "code", "html"])
def test_a_terminal_that_is_not_live_gets_all_of_a_long_answer(
    name: FormatName, capsys: pytest.CaptureFixture[str]
) -> None:
    display = TerminalDisplay(FORMATS[name], live=False)
    display.finish(reply(LONG))
    assert LONG.strip() in capsys.readouterr().out


def test_an_empty_answer_leaves_the_footer(capsys: pytest.CaptureFixture[str]) -> None:
    display = TerminalDisplay(FORMATS["markdown"], live=True)
    display.add(Started(REF))
    display.finish(reply(""))
    assert capsys.readouterr().out.strip() == reply("").footer


PROGRESS: list[Event] = [LoadProgress("fetch", 1_000_000, 2_000_000), PromptProgress(1, 2)]


def test_progress_stays_on_one_line_of_a_terminal_and_gives_way_to_the_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = Terminal(is_tty=True)
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(sys, "stdout", screen)
    display = TerminalDisplay(FORMATS["markdown"], live=True)
    for event in (*PROGRESS, TextDelta("Hi"), ReasoningDelta("late"), TextDelta("!")):
        display.add(event)
    notes, _, answer = screen.getvalue().rpartition("\x1b[2K")
    assert "Fetching the model … 1 of 2 MB" in notes
    assert "\n" not in notes
    assert answer == "Hi!"


def test_a_note_that_is_wider_than_the_terminal_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    screen = Terminal(is_tty=True)
    monkeypatch.setattr(sys, "stderr", screen)
    TerminalDisplay(FORMATS["markdown"], live=True).add(Rerouted(REF, OTHER, "refused \x1b[2J" * 20))
    assert screen.getvalue() == "\r\x1b[2K" + "scripted:echo: refused [2Jrefused [2Jre"


def test_progress_is_written_to_terminals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = Terminal(is_tty=False)
    monkeypatch.setattr(sys, "stderr", pipe)
    display = TerminalDisplay(FORMATS["markdown"], live=True)
    for event in PROGRESS:
        display.add(event)
    display.discard()
    assert pipe.getvalue() == ""


def test_discarding_clears_the_progress_of_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal(is_tty=True)
    monkeypatch.setattr(sys, "stderr", screen)
    display = TerminalDisplay(FORMATS["markdown"], live=True)
    display.add(PROGRESS[0])
    display.discard()
    assert screen.getvalue().endswith("\r\x1b[2K")
