"""One line that is painted over and stays as its outcome, in a cell and in a terminal."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from farm_notebook.notebook import status
from farm_notebook.notebook.status import StatusLine

HOSTILE = "too \x1b[2Jbad"


class Publisher:
    def __init__(self) -> None:
        self.messages: list[tuple[str, bool, str]] = []

    def publish(self, *, data: dict[str, str], transient: dict[str, str], update: bool) -> None:
        self.messages.append((data.get("text/plain", ""), update, transient["display_id"]))


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "REPAINT_S", 0.0)


def in_cell() -> tuple[StatusLine, Publisher]:
    publisher = Publisher()
    shell: Any = SimpleNamespace(kernel=object(), display_pub=publisher)
    return StatusLine(shell), publisher


def in_terminal() -> StatusLine:
    shell: Any = SimpleNamespace()
    return StatusLine(shell)


def test_a_cell_has_one_output_that_ends_as_the_outcome() -> None:
    line, publisher = in_cell()
    line.show("one")
    line.show(HOSTILE)
    line.end("done")
    assert [(text, update) for text, update, _ in publisher.messages] == [
        ("one", False),
        ("too [2Jbad", True),
        ("done", True),
    ]
    assert len({shown for _, _, shown in publisher.messages}) == 1


def test_an_outcome_without_progress_is_one_output() -> None:
    line, publisher = in_cell()
    line.end("done")
    assert [(text, update) for text, update, _ in publisher.messages] == [("done", False)]


def test_what_was_painted_in_a_cell_can_be_taken_away() -> None:
    line, publisher = in_cell()
    line.discard()
    assert publisher.messages == []
    line.show("one")
    line.discard()
    assert publisher.messages[-1][:2] == ("", True)


def test_it_is_painted_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "REPAINT_S", 3600.0)
    line, publisher = in_cell()
    for number in range(100):
        line.show(str(number))
    line.end("done")
    assert [text for text, _, _ in publisher.messages] == ["0", "done"]


def test_a_terminal_has_one_line_that_gives_way_to_the_outcome(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    line = in_terminal()
    line.show(HOSTILE * 10)
    line.end("done")
    assert screen.getvalue() == "\r\x1b[2Ktoo [2Jbadtoo [2Jba\r\x1b[2K"
    assert capsys.readouterr().out == "done\n"


def test_where_nobody_looks_only_the_outcome_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    line = in_terminal()
    line.show("one")
    line.discard()
    line.end("done")
    assert tuple(capsys.readouterr()) == ("done\n", "")
