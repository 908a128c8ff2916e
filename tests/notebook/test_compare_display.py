"""Painting a comparison while it streams: side by side, rarely, linearly, in the end as one static output."""

from __future__ import annotations

import asyncio
import io
import json
from dataclasses import dataclass, field
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from farm_notebook.errors import AuthenticationError, FarmError
from farm_notebook.farm import AsyncFarm
from farm_notebook.farm.contender import Contender
from farm_notebook.notebook import compare_display
from farm_notebook.notebook.compare_display import (
    LONGEST_LANE,
    LONGEST_LIVE,
    CompareCellDisplay,
    CompareDisplay,
    compare_display_for,
)
from farm_notebook.notebook.compare_lane import Lane, Tail
from farm_notebook.notebook.compare_terminal import CompareTerminalDisplay
from farm_notebook.reports import Comparison, Outcome
from farm_notebook.types import Event, Finished, LoadProgress, ReasoningDelta, Started, TextDelta, Usage

NEVER_S = 3600.0
FARM = AsyncFarm(model="scripted:echo")
WORDS = "".join(f"word{number:04d} " for number in range(2_000))


class Ticks:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def contenders(*names: str, clock: Ticks | None = None) -> list[Contender]:
    made = [Contender(name, FARM.request("Hi", model=name), clock=clock or Ticks()) for name in names]
    for each in made:
        each.begin()
    return made


TWO = ("scripted:count-1", "scripted:count-2")


@dataclass
class Cell:
    """A publisher, and what a front end would show of its messages."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    _clear_at_next: bool = False

    def publish(
        self, data: dict[str, Any], metadata: Any = None, transient: Any = None, update: bool = False
    ) -> None:
        shown = transient["display_id"]
        if self._clear_at_next and not update:
            self.outputs.clear()
            self._clear_at_next = False
        assert (shown in self.outputs) == update
        self.outputs[shown] = {"data": data, "metadata": metadata or {}}
        self.messages.append(self.outputs[shown])

    def clear_output(self, wait: bool = False) -> None:
        assert wait, "clearing at once makes the page jump"
        self._clear_at_next = True

    def display(
        self, models: list[Contender], *, repaint_s: float | None = 0.0, owns_cell: bool = True
    ) -> CompareCellDisplay:
        shell: Any = SimpleNamespace(display_pub=self)
        return CompareCellDisplay(shell, models, repaint_s=repaint_s, owns_cell=owns_cell)

    @property
    def sent_bytes(self) -> int:
        return sum(len(json.dumps(message)) for message in self.messages)

    @property
    def shown(self) -> str:
        (output,) = self.outputs.values()
        text: str = output["data"]["text/markdown"]
        return text


async def turn() -> None:
    """Let what is due on the loop happen."""
    for _ in range(3):
        await asyncio.sleep(0)


def tell(display: CompareDisplay, contender: Contender, event: Event) -> None:
    contender.add(event)
    display.show(contender, event)


async def end(display: CompareDisplay, contender: Contender, error: FarmError | None = None) -> None:
    if error is not None:
        contender.fail(error)
    else:
        contender.add(Finished("stop", Usage(1, 2)))
        await contender.finish(FARM)
    display.show(contender, None)


def comparison(*models: Contender) -> Comparison:
    return Comparison("Hi", tuple(each.outcome or Outcome(each.name) for each in models))


async def test_all_models_stand_side_by_side_in_one_output_while_they_stream() -> None:
    cell, (one, two) = Cell(), contenders(*TWO)
    display = cell.display([one, two])
    tell(display, one, TextDelta("from one"))
    tell(display, two, TextDelta("from two"))
    await turn()
    assert len(cell.messages) == 1
    assert cell.shown.count("<div") == 3
    assert cell.shown.index("from one") < cell.shown.index("from two")
    assert "**scripted:count-1**<br><small>first token 0.00 s</small>" in cell.shown


async def test_it_is_painted_no_more_often_than_asked_for() -> None:
    cell, (one, two) = Cell(), contenders(*TWO)
    display = cell.display([one, two], repaint_s=NEVER_S)
    for _ in range(500):
        tell(display, one, TextDelta("x"))
        tell(display, two, TextDelta("y"))
        await asyncio.sleep(0)
    assert len(cell.messages) == 1
    display.finish(comparison(one, two))
    await turn()
    assert len(cell.messages) == 2


async def test_at_the_end_there_is_one_static_output_with_its_provenance() -> None:
    cell, (one, two) = Cell(), contenders(*TWO)
    display = cell.display([one, two])
    tell(display, one, TextDelta(WORDS))
    await turn()
    await end(display, one)
    await end(display, two, AuthenticationError("The key is wrong."))
    found = comparison(one, two)
    display.finish(found)
    (output,) = cell.outputs.values()
    assert output["data"]["text/markdown"] == found.markdown()
    assert WORDS.strip() in output["data"]["text/markdown"]
    assert len(output["data"]["text/plain"]) < 3_000
    assert output["metadata"] == {"farm": found.provenance()}
    await turn()
    assert cell.shown == found.markdown(), "nothing is painted over it"


async def test_without_streaming_it_is_painted_once() -> None:
    cell, (one, two) = Cell(), contenders(*TWO)
    display = cell.display([one, two], repaint_s=None)
    tell(display, one, TextDelta("from one"))
    await turn()
    assert cell.messages == []
    display.finish(comparison(one, two))
    assert len(cell.messages) == 1


@pytest.mark.parametrize("count", [2, 3, 8])
async def test_what_is_sent_grows_with_the_answers_and_not_with_their_square(count: int) -> None:
    async def sent(words: str) -> int:
        cell, models = Cell(), contenders(*(f"scripted:count-{number}" for number in range(1, count + 1)))
        display = cell.display(models)
        for start in range(0, len(words), 90):
            for each in models:
                tell(display, each, TextDelta(words[start : start + 90]))
            await turn()
        return cell.sent_bytes

    half, whole = await sent(WORDS[: len(WORDS) // 2]), await sent(WORDS)
    assert whole < 2.2 * half
    paintings = len(WORDS) // 90 + 1
    assert whole < paintings * (LONGEST_LIVE + 600 + 400 * count)


async def test_a_failure_is_shown_while_the_others_go_on() -> None:
    cell, (one, two) = Cell(), contenders(*TWO)
    display = cell.display([one, two])
    await end(display, one, AuthenticationError("The key is wrong."))
    tell(display, two, TextDelta("going on"))
    await turn()
    assert "<small>failed</small>" in cell.shown
    assert "*AuthenticationError: The key is wrong.*" in cell.shown
    assert "going on" in cell.shown


async def test_a_long_answer_that_has_ended_is_shown_whole_while_the_others_go_on() -> None:
    cell, (one, two) = Cell(), contenders(*TWO)
    display = cell.display([one, two])
    tell(display, one, TextDelta(WORDS))
    tell(display, two, TextDelta("going on"))
    await turn()
    await end(display, one)
    await turn()
    live, whole = (output["data"]["text/markdown"] for output in cell.outputs.values())
    assert WORDS.strip() in whole
    assert "**scripted:count-1**<br><small>done · 2 tokens" in whole
    assert "The whole answer stands below." in live
    assert "going on" in live
    assert "word1999" not in live
    await end(display, two)
    found = comparison(one, two)
    display.finish(found)
    await turn()
    assert cell.shown == found.markdown(), "it is one output again"


async def test_one_that_ends_before_anything_was_painted_stands_below_all_the_same() -> None:
    cell, (one, two) = Cell(), contenders(*TWO)
    display = cell.display([one, two])
    tell(display, one, TextDelta(WORDS))
    await end(display, one)
    assert len(cell.outputs) == 2
    found = comparison(one, two)
    display.finish(found)
    await turn()
    assert cell.shown == found.markdown(), "nothing is painted over it"


@pytest.mark.parametrize(("words", "owns_cell"), [("short", True), (WORDS, False)])
async def test_otherwise_there_is_one_output_all_along(words: str, owns_cell: bool) -> None:
    """A short answer is there anyway; and in a cell with other outputs, none could be taken away again."""
    cell, (one, two) = Cell(), contenders(*TWO)
    display = cell.display([one, two], owns_cell=owns_cell)
    tell(display, one, TextDelta(words))
    await end(display, one)
    await turn()
    assert len(cell.outputs) == 1
    display.finish(comparison(one, two))
    assert len(cell.outputs) == 1


async def test_where_all_are_stopped_none_is_shown_whole_first() -> None:
    cell, (one, two) = Cell(), contenders(*TWO)
    display = cell.display([one, two])
    tell(display, one, TextDelta(WORDS))
    await turn()
    one.stop()
    display.show(one, None)
    assert len(cell.outputs) == 1


async def test_what_streams_is_made_safe() -> None:
    cell, (one, two) = Cell(), contenders(*TWO)
    display = cell.display([one, two])
    tell(display, one, TextDelta("<img src=x onerror=alert(1)></div>\n\n```python\nopen("))
    tell(display, two, TextDelta("going on"))
    await turn()
    assert "<img" not in cell.shown
    assert cell.shown.count("</div>") == 3
    assert "```python\nopen(\n```\n\n</div>" in cell.shown


# What is shown of one model


def lane(clock: Ticks | None = None) -> Lane:
    return Lane(contenders("scripted:count-1", clock=clock)[0], longest=100)


def feed(each: Lane, event: Event) -> None:
    each.contender.add(event)
    assert each.add(event)


def test_the_note_says_how_far_a_model_is() -> None:
    clock = Ticks()
    each = lane(clock)
    assert each.note == "…"
    feed(each, LoadProgress("load", 40, 100))
    assert each.note.startswith("Loading the model … 40 of 100 bytes") or "40%" in each.note
    clock.now = 1.0
    feed(each, Started(each.contender.request.ref if each.contender.request else None))  # type: ignore[arg-type]
    clock.now = 1.25
    feed(each, ReasoningDelta("Hm. "))
    assert each.note == "thinking … · first token 0.25 s"
    feed(each, TextDelta("x" * 396))
    assert each.note == "first token 0.25 s"
    clock.now = 3.25
    assert each.note == "first token 0.25 s · ≈ 50 tokens/s"


def test_who_is_not_asked_yet_waits_for_its_turn() -> None:
    waiting = Contender("scripted:echo", FARM.request("Hi"))
    assert Lane(waiting, longest=100).note == "waits for its turn"


async def test_the_note_of_one_that_has_ended_has_its_figures() -> None:
    each = lane()
    feed(each, TextDelta("Hi"))
    each.contender.add(Finished("length", Usage(1, 2)))
    await each.contender.finish(FARM)
    assert each.add(None)
    assert each.note == "2 tokens · cut at the token limit"


# The end of a growing text


def grown(text: str, longest: int = 100, size: int = 7) -> list[str]:
    tail, shown = Tail(longest), []
    for start in range(0, len(text), size):
        tail.add(text[start : start + size])
        shown.append(str(tail))
    return shown


def test_a_short_text_is_shown_whole() -> None:
    assert grown("One.\n\nTwo.")[-1] == "One.\n\nTwo."


def test_a_long_text_keeps_its_end_and_is_bounded() -> None:
    shown = grown(WORDS)
    assert all(len(text) <= 110 for text in shown)
    assert all(text.endswith(WORDS[: 7 * (number + 1)][-30:]) for number, text in enumerate(shown))
    assert shown[-1].startswith("… word")


def test_most_of_what_is_shown_stays_where_it_is() -> None:
    shown = grown(WORDS)
    moved = sum(not later.startswith(earlier) for earlier, later in pairwise(shown))
    assert moved <= len(WORDS) / 40


def test_a_cut_at_a_line_begins_with_a_line() -> None:
    shown = grown("".join(f"- item {number}\n" for number in range(50)))
    assert shown[-1].startswith("…\n\n- item")


def test_a_code_block_that_was_cut_is_still_one() -> None:
    code = "Look:\n\n~~~python\n" + "".join(f"line_{number} = {number}\n" for number in range(40))
    assert grown(code)[-1].startswith("~~~python\n…\nline_")
    after = f"{code}~~~\n\n" + "And words follow.\n" * 20
    assert grown(after)[-1].startswith("…\n\nAnd words")


def test_one_long_word_is_cut_anywhere() -> None:
    assert all(len(text) <= 110 for text in grown("x" * 1_000))


def test_a_fence_of_any_length_is_bounded() -> None:
    assert all(len(text) <= 250 for text in grown("```" + "x" * 300 + "\n" + "code\n" * 100))


# A terminal


def terminal(
    models: list[Contender], width: int = 90, height: int = 20
) -> tuple[CompareDisplay, io.StringIO]:
    paper = io.StringIO()
    console = Console(file=paper, force_terminal=True, width=width, height=height, color_system=None)
    return CompareTerminalDisplay(models, repaint_s=0.0, console=console), paper


async def test_in_a_terminal_columns_stand_beside_each_other_where_they_fit() -> None:
    one, two = contenders(*TWO)
    display, paper = terminal([one, two])
    tell(display, one, TextDelta("from one"))
    tell(display, two, TextDelta("from two\x1b[2J"))
    await turn()
    (line,) = (line for line in paper.getvalue().splitlines() if "from" in line)
    assert line.split() == ["from", "one", "from", "two[2J"]
    display.finish(comparison(one, two))


async def test_in_a_narrow_terminal_they_stand_below_each_other() -> None:
    one, two = contenders(*TWO)
    display, paper = terminal([one, two], width=40)
    tell(display, one, TextDelta("from one"))
    tell(display, two, TextDelta("from two"))
    await turn()
    lines = [line.strip() for line in paper.getvalue().splitlines()]
    assert lines.index("from one") < lines.index("from two")
    display.finish(comparison(one, two))


async def test_a_terminal_shows_no_more_lines_than_it_has() -> None:
    models = contenders(*(f"scripted:count-{number}" for number in range(1, 5)))
    display, paper = terminal(models, width=80, height=12)
    for each in models:
        tell(display, each, TextDelta("line\n" * 50))
    await turn()
    assert len(paper.getvalue().splitlines()) <= 12
    display.finish(comparison(*models))


async def test_the_end_in_a_terminal_is_the_figures_and_the_whole_answers() -> None:
    one, two = contenders(*TWO)
    display, paper = terminal([one, two])
    tell(display, one, TextDelta("first line\n" + "more\n" * 30))
    await turn()
    await end(display, one)
    await end(display, two, AuthenticationError("The key is wrong."))
    found = comparison(one, two)
    display.finish(found)
    _, figures, left = paper.getvalue().partition(found.figures())
    assert figures
    assert left.count("first line") == 1
    assert left.count("more") == 30
    assert "The key is wrong." in left


async def test_where_nobody_looks_the_comparison_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    one, two = contenders(*TWO)
    shell: Any = SimpleNamespace()
    display = compare_display_for(shell, [one, two], FARM.config.display, live=True, owns_cell=True)
    tell(display, one, TextDelta("from one"))
    await turn()
    assert capsys.readouterr().out == ""
    found = comparison(one, two)
    display.finish(found)
    assert capsys.readouterr().out == f"{found}\n"


def test_in_a_kernel_it_is_a_cells_output() -> None:
    shell: Any = SimpleNamespace(kernel=object(), display_pub=Cell())
    display = compare_display_for(shell, contenders(*TWO), FARM.config.display, live=True, owns_cell=True)
    assert isinstance(display, CompareCellDisplay)
    assert LONGEST_LANE < LONGEST_LIVE == compare_display.LONGEST_LIVE
