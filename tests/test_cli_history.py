"""``farm history`` and ``farm usage``: what is listed, shown, summed up and forgotten."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from farm_notebook.cli import main
from farm_notebook.stores.calls import CallRecord
from farm_notebook.stores.history import History
from farm_notebook.types import ChatMessage, ChatRequest, ModelRef, Route, Timings, ToolCall, Usage

REF = ModelRef("openai", "gpt-4o")
CONVERSATION = (
    ChatMessage("system", "Be brief."),
    ChatMessage("user", "What is the capital of France?"),
)


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


Farm = Callable[..., Outcome]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder with three calls in it, and none of the user's settings."""
    for name in list(os.environ):
        if name.upper().startswith("FARM_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("FARM_CACHE_DIR", str(tmp_path))
    first = CallRecord(
        at=time.time() - 3 * 86_400,
        kind="chat",
        request=ChatRequest(REF, CONVERSATION, seed=7, route=Route("fast")),
        ref=REF,
        texts=("Paris",),
        usage=Usage(20, 5, 10, 2),
        cost=0.0125,
        timings=Timings(queue_s=1.5, load_s=0.5, first_token_s=0.25, total_s=2.0, tokens_per_s=40.0),
        finish_reason="stop",
        is_taken=True,
        notebook="study.ipynb",
        environment="development",
    )
    other = replace(
        first, at=time.time(), request=ChatRequest(REF, (ChatMessage("user", "And of \x1b[31m Norway?"),))
    )
    history = History(tmp_path / "history-1.sqlite", keep_days=90, max_bytes=50_000_000)
    history.record(first)
    history.record(replace(other, texts=("Oslo",), tool_calls=(ToolCall("1", "map", '{"at": "Oslo"}'),)))
    history.record(replace(other, texts=(), error="RateLimitedError", problem="too many", finish_reason=None))
    asyncio.run(history.aclose())
    return tmp_path


@pytest.fixture
def farm(cache: Path, capsys: pytest.CaptureFixture[str]) -> Farm:
    """Runs a command in this process."""

    def run(*arguments: str) -> Outcome:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        return Outcome(int(ended.value.code or 0), *capsys.readouterr())

    return run


def ids(outcome: Outcome) -> list[str]:
    """The numbers of the calls in a table."""
    assert (outcome.code, outcome.err) == (0, "")
    return [line.split()[0] for line in outcome.out.splitlines()[1:]]


def test_calls_are_listed_newest_first(farm: Farm) -> None:
    listed = farm("history")
    assert ids(listed) == ["3", "2", "1"]
    assert listed.out.splitlines()[0].split() == ["id", "when", "model", "asked", "answer", "tokens", "cost"]
    assert "(RateLimitedError) too many" in listed.out


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("capital",), ["1"]),
        (("capital", "france"), ["1"]),
        (("find", "norway"), ["3", "2"]),
        (("--since", "1d"), ["3", "2"]),
        (("--limit", "1"), ["3"]),
        (("--model", "fast"), ["1"]),
        (("-m", "gpt-4o", "oslo"), ["2"]),
    ],
)
def test_words_and_options_choose_among_them(
    farm: Farm, arguments: tuple[str, ...], found: list[str]
) -> None:
    assert ids(farm("history", *arguments)) == found


def test_nothing_found_is_said_and_no_error(farm: Farm) -> None:
    assert farm("history", "nowhere") == (0, "no such calls\n", "")


def test_json_is_an_array_of_all_that_is_known(farm: Farm) -> None:
    (call,) = json.loads(farm("history", "capital", "--json").out)
    assert (call["id"], call["model"], call["name"], call["text"]) == (1, "openai:gpt-4o", "fast", "Paris")
    assert (call["usage"]["input_tokens"], call["cost"], call["parameters"]) == (20, 0.0125, {"seed": 7})


def test_one_call_is_shown_with_its_whole_conversation(farm: Farm) -> None:
    code, out, err = farm("history", "show", "1")
    assert (code, err) == (0, "")
    facts, *turns = out.split("\n\n")
    told = {line[:14].strip(): line[14:] for line in facts.splitlines()}
    assert told["model"] == "openai:gpt-4o (asked for fast)"
    assert told["tokens"] == "20 in, 5 out, 10 of them kept by the provider, 2 of them reasoning"
    assert told["time"] == "waiting 1.50 s, loading 0.50 s, first token 0.25 s, in all 2.00 s"
    assert (told["cost"], told["ended"], told["notebook"]) == ("$0.0125", "stop", "study.ipynb")
    assert turns == [
        "[system]\nBe brief.",
        "[user]\nWhat is the capital of France?",
        "[assistant]\nParis\n",
    ]


def test_what_a_model_asked_for_is_shown_too(farm: Farm) -> None:
    assert '[assistant]\nOslo\n(calls map with {"at": "Oslo"})\n' in farm("history", "show", "2").out
    shown = json.loads(farm("history", "show", "2", "--json").out)
    assert [turn["role"] for turn in shown["messages"]] == ["user"]


def test_a_number_that_no_call_has_is_a_wrong_request(farm: Farm) -> None:
    code, out, err = farm("history", "show", "99")
    assert (code, out) == (2, "")
    assert err == "error: There is no call 99. `farm history` lists those there are.\n"


def test_a_wrong_moment_is_a_wrong_request(farm: Farm) -> None:
    for command in ("history", "usage"):
        code, out, err = farm(command, "--since", "yesterday")
        assert (code, out) == (2, "")
        assert "'yesterday' is no moment" in err


def test_forgetting_says_how_many_there_were(farm: Farm, cache: Path) -> None:
    assert farm("history", "clear") == (0, "3 calls forgotten\n", "")
    assert farm("history") == (0, "no calls so far\n", "")
    assert farm("usage") == (0, "No calls so far.\n", "")
    assert b"capital of France" not in (cache / "history-1.sqlite").read_bytes()


def test_who_sits_at_a_terminal_is_asked_before_all_is_forgotten(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [False, True]
    monkeypatch.setattr("farm_notebook.cli.history.is_terminal", lambda _: True)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: answers.pop(0))
    assert farm("history", "clear") == (1, "", "")
    assert farm("history", "clear") == (0, "3 calls forgotten\n", "")
    assert farm("history", "clear", "--yes") == (0, "0 calls forgotten\n", "")
    assert not answers


def test_a_history_that_is_switched_off_is_still_listed_and_said_to_be_off(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARM_HISTORY__ENABLED", "false")
    code, out, err = farm("history")
    assert (code, len(out.splitlines())) == (0, 4)
    assert "switched off" in err


@pytest.mark.parametrize(
    "command", ["history", "history show 1", "history clear", "usage", "cache stats", "cache clear"]
)
def test_a_folder_that_cannot_be_used_is_one_line_with_the_fix(
    command: str, farm: Farm, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cache / "taken").write_text("a file")
    monkeypatch.setenv("FARM_CACHE_DIR", str(cache / "taken"))
    code, out, err = farm(*command.split())
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert f"the folder {str(cache / 'taken')!r} cannot be written (" in err
    assert err.endswith("set FARM_CACHE_DIR to one that can be.\n")
    assert err.count("\n") == 1


def test_usage_is_a_table_with_a_note(farm: Farm) -> None:
    code, out, err = farm("usage")
    assert (code, err) == (0, "")
    assert " ".join(out.splitlines()[1].split()) == "openai:gpt-4o 3 0 1 60 15 $0.0375 0.25 s 40"
    assert out.endswith("times are medians.\n")


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        (("--by", "provider"), ["openai"]),
        (("--by", "notebook"), ["study.ipynb"]),
        (("--since", "1d"), ["openai:gpt-4o"]),
    ],
)
def test_usage_in_json_is_plain_figures(farm: Farm, arguments: tuple[str, ...], keys: list[str]) -> None:
    rows = json.loads(farm("usage", *arguments, "--json").out)
    assert [row["key"] for row in rows] == keys
    assert rows[0]["requests"] == (2 if "--since" in arguments else 3)


def test_a_terminal_gets_no_control_characters_of_a_prompt(cache: Path) -> None:
    pty = pytest.importorskip("pty")
    for arguments in (("history",), ("history", "show", "2")):
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "farm_notebook.cli", *arguments]
        environment = os.environ | {"COLUMNS": "160", "TERM": "xterm", "NO_COLOR": "1"}
        with subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
        ) as process:
            os.close(theirs)
            process.wait(60)
            screen = os.read(ours, 65_536).decode()
        os.close(ours)
        assert "Norway?" in screen
        assert "\x1b[31m" not in screen
