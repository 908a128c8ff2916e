"""The magics in a plain IPython shell: what is sent, what is kept, what is shown, what is left behind."""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from shells import Shell, loaded_shell, plain_shell, snapshot

import farm_notebook.farm.blocking
from farm_notebook import loop
from farm_notebook.errors import (
    FarmError,
    InvalidRequestError,
    ModelNotFoundError,
    NoTargetAnsweredError,
    ProviderConnectionError,
)
from farm_notebook.notebook.options import FormatName
from farm_notebook.reply import Reply
from farm_notebook.types import ChatMessage

pytestmark = pytest.mark.slow  # a shell each


plain = pytest.fixture(name="plain")(plain_shell)
shell = pytest.fixture(name="shell")(loaded_shell)


def test_a_cell_is_answered_and_its_value_is_the_reply(shell: Shell) -> None:
    result, out = shell.run("%%farm_chat\nHello there")
    reply = result.result
    assert isinstance(reply, Reply)
    assert (reply.text.strip(), str(reply.ref)) == ("Hello there", "scripted:echo")
    assert out.startswith("Hello there")
    assert reply.footer in out
    assert shell.ip.user_ns["_"] is reply
    assert shell.ip.user_ns["Out"][result.execution_count] is reply


def test_the_answer_is_shown_once_and_its_value_as_one_line(shell: Shell) -> None:
    _, out = shell.run("%farm_chat unmistakable")
    assert out.count("unmistakable") == 1
    assert "<Reply of scripted:echo, 12 characters>" in out


def test_a_reply_shown_again_is_shown_whole(shell: Shell) -> None:
    shell.run("%farm_chat --out r unmistakable")
    _, out = shell.run("r")
    assert "unmistakable\n\nscripted:echo" in out


def test_a_line_that_ends_with_a_question_mark_is_asked(shell: Shell) -> None:
    assert shell.reply("%farm_chat What is up?").text == "What is up?"
    shell.reply("%farm_chat -o r What's up?")
    result, _ = shell.run("for word in ['a']:\n    %farm_chat -o r Is it {word}?\n")
    result.raise_error()
    assert shell.ip.user_ns["r"].text == "Is it a?"


def test_that_all_models_failed_is_a_line_and_one_for_each(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARM_FALLBACK__CHAIN", "scripted:error-auth")
    error, out = shell.error("%farm_chat -m scripted:error-model Hi")
    assert isinstance(error, NoTargetAnsweredError)
    assert len(out.strip().splitlines()) == 3
    assert "- scripted:error-auth: " in out
    assert sys.last_value is error


def test_other_exception_groups_are_shown_as_ever(shell: Shell) -> None:
    _, out = shell.error("raise ExceptionGroup('both', [ValueError('one'), KeyError('two')])")
    assert "ValueError: one" in out
    assert "KeyError: 'two'" in out


def test_the_reply_can_be_assigned(shell: Shell) -> None:
    shell.run("r = %farm_chat Hi there")
    assert shell.ip.user_ns["r"].text == "Hi there"


def test_out_binds_the_reply(shell: Shell) -> None:
    reply = shell.reply("%%farm_chat --out answer\nHi")
    assert shell.ip.user_ns["answer"] is reply


def test_the_notebook_is_one_conversation(shell: Shell) -> None:
    shell.run("%farm_chat one")
    shell.run("%farm_chat two")
    assert [message.content.strip() for message in shell.thread()] == ["one", "one", "two", "two"]
    out = shell.sent("", "three")
    turns = re.findall(r"--- (\w+)\n(\w+)\n", out)
    assert turns == [
        ("user", "one"),
        ("assistant", "one"),
        ("user", "two"),
        ("assistant", "two"),
        ("user", "three"),
    ]


def test_a_thread_of_its_own_is_a_conversation_of_its_own(shell: Shell) -> None:
    shell.run("%farm_chat one")
    shell.run("%farm_chat --thread side two")
    assert [message.content for message in shell.thread()] == ["one", "one"]
    assert [message.content for message in shell.thread("side")] == ["two", "two"]


def test_without_history_nothing_is_sent_of_it_and_nothing_added(shell: Shell) -> None:
    shell.run("%farm_chat one")
    assert "one" not in shell.sent("--no-history", "two")
    shell.run("%farm_chat --no-history two")
    assert [message.content for message in shell.thread()] == ["one", "one"]


def test_reset_forgets_the_thread_it_names(shell: Shell) -> None:
    shell.run("%farm_chat one")
    shell.run("%farm_chat --thread side two")
    result, out = shell.run("%farm_chat --reset")
    assert result.result is None
    assert out == "The conversation 'notebook' is empty now.\n"
    assert (shell.thread(), len(shell.thread("side"))) == ((), 2)
    shell.run("%farm_chat --reset --thread side three")
    assert [message.content for message in shell.thread("side")] == ["three", "three"]


def test_a_dry_run_shows_all_that_would_be_sent_and_sends_nothing(shell: Shell) -> None:
    shell.ip.user_ns["name"] = "Ada"
    out = shell.sent(
        "-t 0.5 --seed 3 --max-tokens 9 --stop END -s 'Be {name}.'", "Hi {name}, {unknown} {{name}}"
    )
    assert "scripted:echo" in out
    for shown in ("temperature=0.5", "seed=3", "max_tokens=9", "stop=['END']", "filled: {name}", "{unknown}"):
        assert shown in out
    assert "--- system\nBe Ada.\n--- user\nHi Ada, {unknown} {{name}}\n" in out
    assert shell.thread() == ()
    assert "_oh" not in shell.ip.user_ns or shell.ip.user_ns["_oh"] == {}


def test_a_dry_run_tells_the_route_and_what_the_alias_adds(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    alias = {
        "model": "scripted:echo",
        "fallback": ["scripted:count-2"],
        "parameters": {"temperature": 0.2, "max_tokens": 9, "system": "Be kind."},
    }
    monkeypatch.setenv("FARM_ALIASES", json.dumps({"fast": alias}))
    monkeypatch.setattr(farm_notebook.farm.blocking, "_default", None)
    out = shell.sent("-m fast -t 0.7 --sample 2", "Hi")
    assert "Would go to scripted:echo; nothing was sent." in out
    assert "because: " in out
    assert "'fast'" in out or "fast" in out
    assert "scripted:count-2" in out
    assert "parameters: temperature=0.7, max_tokens=9" in out
    (of_alias,) = [line for line in out.splitlines() if "alias" in line and "max_tokens" in line]
    assert "max_tokens=9" in of_alias
    assert "temperature" not in of_alias
    assert "sample: 2" in out
    assert "--- system\nBe kind." in out


def test_each_sample_of_a_question_is_kept_apart(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FARM_CACHE__ENABLED", "true")
    monkeypatch.setenv("FARM_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(farm_notebook.farm.blocking, "_default", None)
    samples = (1, 2, 1, 2)
    replies = [shell.reply(f"%farm_chat --no-history -t 1 --sample {number} one") for number in samples]
    assert [reply.cached for reply in replies] == [False, False, True, True]
    assert replies[3].parameters == {"temperature": 1.0, "sample": 2}


@pytest.mark.parametrize("name", get_args(FormatName))
def test_every_format_is_shown_in_a_terminal(shell: Shell, name: FormatName) -> None:
    reply = shell.reply(f"%%farm_chat -f {name}\n[1]")
    assert reply.text == "[1]"
    if name in ("markdown", "text"):
        assert "--- system" not in shell.sent(f"-f {name}", "x")
    else:
        assert "--- system\nAnswer with" in shell.sent(f"-f {name}", "x")


def test_a_format_adds_its_instruction_to_the_users_system_message(shell: Shell) -> None:
    assert "--- system\nBe brief.\n\nAnswer with Python code only" in shell.sent(
        "-f code -s 'Be brief.'", "x"
    )


def test_code_becomes_the_next_input(shell: Shell) -> None:
    inputs: list[tuple[str, bool]] = []
    shell.ip.set_next_input = lambda text, replace=False: inputs.append((text, replace))
    shell.run("%%farm_chat -f code\n```py\nx = 1\n```\n")
    assert inputs == [("x = 1", False)]


def test_without_streaming_the_answer_is_shown_once(shell: Shell) -> None:
    _, out = shell.run("%farm_chat --no-stream one two")
    assert out.startswith("one two\n\nscripted:echo")
    assert out.count("one two") == 1


def test_options_do_not_leak_into_the_next_call(shell: Shell) -> None:
    before = shell.sent("", "Hi")
    shell.run("%farm_chat -m scripted:count-3 -t 1 -s S --seed 1 --stop q -f json --no-history --out r x")
    shell.run("%farm_chat --thread other --max-tokens 1 -f code x y")
    del shell.ip.user_ns["r"]
    assert shell.sent("", "Hi") == before
    reply = shell.reply("%farm_chat Hi")
    assert (reply.parameters, str(reply.ref)) == ({}, "scripted:echo")
    assert "r" not in shell.ip.user_ns


def test_a_repeated_question_is_answered_from_what_was_kept(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FARM_CACHE__ENABLED", "true")
    monkeypatch.setenv("FARM_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(farm_notebook.farm.blocking, "_default", None)
    lines = ("-t 0", "-t 0", "-t 0 --no-cache", "-t 0 --refresh", "-t 0", "--seed 7", "")
    replies = [shell.reply(f"%%farm_chat --no-history {line}\none two") for line in lines]
    assert [reply.cached for reply in replies] == [False, True, False, False, True, False, False]
    assert {reply.text for reply in replies} == {"one two"}
    assert replies[1].footer == "scripted:echo · 2 tokens · cached"


def test_the_parameters_go_with_the_request(shell: Shell) -> None:
    reply = shell.reply("%farm_chat -m scripted:count-9 -t 0.5 --max-tokens 4 --seed 2 --stop word3 go")
    assert reply.parameters == {"temperature": 0.5, "max_tokens": 4, "seed": 2, "stop": ["word3"]}
    assert reply.text == "word0 word1 word2"


ERRORS: list[tuple[str, type[FarmError], str]] = [
    ("%farm_chat --modle x Hi", InvalidRequestError, "Did you mean --model?"),
    ("%farm_chat -t", InvalidRequestError, "-t needs a value"),
    ("%farm_chat -t warm Hi", InvalidRequestError, "'warm'"),
    ("%farm_chat -t -1 Hi", InvalidRequestError, "out of range"),
    ("%farm_chat --max-tokens 0 Hi", InvalidRequestError, "max_tokens"),
    ("%farm_chat --out a-b Hi", InvalidRequestError, "'a-b'"),
    ("%farm_chat", InvalidRequestError, "The prompt is empty"),
    ("%%farm_chat\n\n", InvalidRequestError, "The prompt is empty"),
    ("%%farm_chat Hello\nHi", InvalidRequestError, "'Hello' stands behind %%farm_chat"),
    ("%farm_chat -m scripted:nothing Hi", ModelNotFoundError, "'nothing'"),
    ("%farm_chat -m '' Hi", InvalidRequestError, "The model's name is empty"),
    ("%farm_chat -m scripted:fail-0 Hi", ProviderConnectionError, "broke on cue"),
]


@pytest.mark.parametrize(("cell", "cls", "text"), ERRORS)
def test_an_error_is_one_clear_line(shell: Shell, cell: str, cls: type[FarmError], text: str) -> None:
    error, out = shell.error(cell)
    assert isinstance(error, cls)
    assert text in str(error)
    lines = [line for line in out.splitlines() if line.strip()]
    assert len(lines) == 1
    assert re.sub(r"\x1b\[\d+m", "", lines[0]) == f"{cls.__name__}: {error}"
    assert shell.thread() == ()
    assert shell.reply("%farm_chat fine").text == "fine"


def test_a_bad_setting_is_one_clear_line(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARM_DISPLAY__REPAINT_S", "never")
    error, out = shell.error("%farm_chat Hi")
    assert "FARM_DISPLAY__REPAINT_S" in str(error)
    assert len(out.strip().splitlines()) == 1


def test_an_answer_that_breaks_is_kept_in_out_and_in_the_thread(shell: Shell) -> None:
    error, out = shell.error("%farm_chat -m scripted:fail-3 --out r Hi")
    assert isinstance(error, ProviderConnectionError)
    assert error.partial_text == "word0 word1 word2"
    assert out.startswith("word0 word1 word2")
    assert "incomplete" in out
    reply = shell.ip.user_ns["r"]
    assert (reply.text, reply.finish_reason, reply.is_partial) == ("word0 word1 word2", "error", True)
    assert shell.thread() == (ChatMessage("user", "Hi"), ChatMessage("assistant", "word0 word1 word2"))


def test_a_stream_without_its_finish_mark_is_an_error_with_what_arrived(shell: Shell) -> None:
    error, _ = shell.error("%farm_chat -m scripted:truncate-2 --out r Hi")
    assert type(error).__name__ == "IncompleteStreamError"
    assert shell.ip.user_ns["r"].text == "word0 word1"


def interrupt_after(polls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Ctrl-C come while the magic waits for the farm's loop."""
    waited: list[int] = []
    wait, here = threading.Event.wait, threading.current_thread()

    def interrupt(event: threading.Event, timeout: float | None = None) -> bool:
        if timeout == loop.POLL_S and threading.current_thread() is here:
            waited.append(1)
            if len(waited) == polls:
                raise KeyboardInterrupt
        return wait(event, timeout)

    monkeypatch.setattr(threading.Event, "wait", interrupt)


def test_an_interrupted_answer_is_kept_and_the_next_cell_works(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_after(10, monkeypatch)
    error, out = shell.error("%farm_chat -m scripted:slow-500 --out r Hi")
    assert (type(error).__name__, "word0" in out) == ("InterruptedReply", True)
    reply = shell.ip.user_ns["r"]
    assert reply.finish_reason == "interrupted"
    assert reply.text.startswith("word0")
    assert [message.role for message in shell.thread()] == ["user", "assistant"]
    assert shell.thread()[1].content == reply.text
    assert shell.reply("%farm_chat next").text == "next"


def test_a_model_that_was_interrupted_before_its_first_word_is_not_offered_by_completion(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_after(10, monkeypatch)
    shell.error("%farm_chat -m scripted:stall-0 --out r Hi")
    assert shell.ip.user_ns["r"].text == ""
    shell.reply("%farm_chat -m scripted:count-2 Hi")
    assert shell.magics.session.known.matching("scripted:count-2") == ["scripted:count-2"]
    assert shell.magics.session.known.matching("scripted:stall-0") == []


def test_fields_are_filled_from_the_notebook(shell: Shell) -> None:
    shell.run("name = 'Ada'; rows = [1, 2]")
    assert shell.reply("%farm_chat {name} {rows[1]} {In[2]} {nothing} {{name}}").text == (
        "Ada 2 name = 'Ada'; rows = [1, 2] {nothing} {{name}}"
    )
    shell.run("6 * 7")
    assert shell.reply("%farm_chat {_} {Out[4]}").text == "42 42"


def test_in_a_function_fields_are_its_own_variables(shell: Shell) -> None:
    shell.run("city = 'Oslo'")
    shell.run("def ask(city):\n    reply = %farm_chat Where is {city}, {len}?\n    return reply")
    assert shell.reply("ask('Rome')").text == "Where is Rome, {len}?"
    shell.run("def find(rows):\n    found = %farm similar cats --in rows -k 1\n    return found")
    result, _ = shell.run("find(['dogs', 'cats'])")
    assert result.result[0].text == "cats"
    assert shell.reply("%farm_chat Where is {city}, {rows}?").text == "Where is Oslo, {rows}?"


def test_a_field_is_filled_once_and_ipython_expands_nothing(shell: Shell) -> None:
    shell.run("x = '{y} $y'; y = 'wrong'")
    assert shell.reply("%farm_chat {x} $y").text == "{y} $y $y"


def test_interpolation_can_be_switched_off(shell: Shell) -> None:
    shell.run("name = 'Ada'")
    assert shell.reply("%farm_chat --no-interpolate Hi {name}").text == "Hi {name}"


def test_the_last_error_can_be_asked_about(shell: Shell) -> None:
    assert shell.reply("%farm_chat {Err}").text == "{Err}"
    shell.run("1 / 0")
    assert "ZeroDivisionError: division by zero" in shell.reply("%farm_chat Why? {Err}").text


@pytest.mark.parametrize("cell", ["%farm_chat?", "%%farm_chat?"])
def test_the_help_documents_every_option(shell: Shell, cell: str) -> None:
    pages: list[str] = []

    def page(_: object, data: dict[str, str], start: int = 0, screen_lines: int = 0) -> None:
        pages.append(data["text/plain"])

    shell.ip.set_hook("show_in_pager", page)
    result, out = shell.run(cell)
    result.raise_error()
    text = "".join(pages) + out
    for option in (
        *("-m", "--model", "-t", "--temperature", "--max-tokens", "-s", "--system", "--seed", "--stop"),
        *("-o", "--out", "--thread", "--no-history", "--reset", "--dry-run", "-f", "--format", "--no-stream"),
        *("--no-interpolate", *get_args(FormatName)),
    ):
        assert option in text


def add_and_remove(shell: Shell) -> None:
    shell.run("%load_ext farm_notebook")
    shell.run("%unload_ext farm_notebook")


def reload_twice(shell: Shell) -> None:
    shell.run("%load_ext farm_notebook")
    shell.run("%reload_ext farm_notebook")
    shell.run("%reload_ext farm_notebook")
    shell.run("%unload_ext farm_notebook")


def use_everything(shell: Shell) -> None:
    shell.run("%load_ext farm_notebook")
    shell.run("%farm_chat Hi")
    shell.run("%farm_chat -f code Hi")
    shell.run("%farm_chat --bad")
    shell.run("%farm models")
    shell.run("%farm cache?")
    shell.run("%farm cach")
    shell.ip.Completer.all_completions("%farm_chat -m ")
    shell.run("_")
    shell.run("%unload_ext farm_notebook")


@pytest.mark.parametrize("use", [add_and_remove, reload_twice, use_everything])
def test_unloading_leaves_nothing_behind(plain: Shell, use: Callable[[Shell], None]) -> None:
    plain.run("%unload_ext farm_notebook")  # IPython makes these magics of its own at first use
    plain.run("1")
    before = snapshot(plain.ip)
    use(plain)
    assert snapshot(plain.ip) == before
    _, out = plain.run("%farm_chat Hi")
    assert "not found" in out


def test_reloading_leaves_one_of_everything(shell: Shell) -> None:
    once = {name: len(value) for name, value in snapshot(shell.ip).items() if isinstance(value, list | set)}
    shell.run("%reload_ext farm_notebook")
    again = {name: len(value) for name, value in snapshot(shell.ip).items() if isinstance(value, list | set)}
    assert again == once
    assert shell.reply("%farm_chat Hi").text == "Hi"


def test_loading_twice_keeps_the_conversation(shell: Shell) -> None:
    shell.run("%farm_chat one")
    shell.run("%load_ext farm_notebook")
    assert len(shell.thread()) == 2


def test_unloading_twice_is_harmless(shell: Shell) -> None:
    import farm_notebook

    farm_notebook.unload_ipython_extension(shell.ip)
    farm_notebook.unload_ipython_extension(shell.ip)
    _, out = shell.run("%farm_chat Hi")
    assert "not found" in out
