"""``--tool`` and ``--schema`` in a plain IPython shell: what is called, shown, kept, refused."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator

import pandas as pd  # type: ignore[import-untyped]
import pytest
from shells import Shell, loaded_shell, plain_shell

from farm_notebook.errors import InterruptedReply, InvalidAnswerError, InvalidRequestError
from farm_notebook.farm.steps import MAX_STEPS
from farm_notebook.notebook.options import MAX_STEPS as SHOWN_MAX_STEPS
from farm_notebook.reply import Reply

pytestmark = pytest.mark.slow  # a shell each

plain = pytest.fixture(name="plain")(plain_shell)

DEFINITIONS = """
from dataclasses import dataclass
from pydantic import BaseModel, Field, field_validator

called = []

def weather(city: str) -> str:
    '''The weather in a city.'''
    called.append(city)
    print('looking out in', city)
    return f'rain in {city}'

async def weather_later(city: str) -> str:
    return f'sun in {city}'

def interrupted() -> None:
    raise KeyboardInterrupt

def broken() -> None:
    raise LookupError('no window')

class City(BaseModel):
    name: str
    population: int

class Named(BaseModel):
    name: str

    @field_validator('name')
    @classmethod
    def is_named(cls, name):
        assert name, 'a city has a name'
        return name

class Coded(BaseModel):
    code: str = Field(pattern='^[a-z]+$')
"""
ASK = '{"city": "Rome"}'


@pytest.fixture(name="shell")
def shell_with_definitions(plain: Shell) -> Iterator[Shell]:
    for shell in [loaded_shell(plain)]:
        shell.run(DEFINITIONS)[0].raise_error()
        yield shell


def test_a_tool_is_called_and_shown_and_the_answer_stands_below(shell: Shell) -> None:
    result, out = shell.run(f"%%farm_chat -m scripted:call --tool weather --out r\n{ASK}")
    assert isinstance(result.result, Reply)
    assert shell.ip.user_ns["called"] == ["Rome"]
    called, printed, came_of_it, answer, *_ = out.strip().splitlines()
    assert called == 'weather(city="Rome")'
    assert printed == "looking out in Rome"
    assert came_of_it.startswith("  → rain in Rome")
    assert answer == "rain in Rome"
    assert "called weather" in out
    assert shell.ip.user_ns["r"].steps[0].results[0].text == "rain in Rome"


def test_the_conversation_keeps_the_question_and_the_answer_only(shell: Shell) -> None:
    shell.run(f"%%farm_chat -m scripted:call --tool weather\n{ASK}")
    assert [(each.role, each.content, each.tool_calls) for each in shell.thread()] == [
        ("user", ASK, ()),
        ("assistant", "rain in Rome", ()),
    ]


def test_several_tools_and_methods_and_coroutine_functions(shell: Shell) -> None:
    _, out = shell.run(
        f"%%farm_chat -m scripted:call-weather_later --tool weather --tool weather_later\n{ASK}"
    )
    assert 'weather_later(city="Rome")\n  → sun in Rome' in out


def test_the_error_of_a_tool_is_shown_and_told(shell: Shell) -> None:
    reply = shell.reply("%farm_chat -m scripted:call --tool broken What is outside?")
    assert reply.text == "LookupError: no window"


def test_an_interrupt_in_a_tool_ends_the_answer(shell: Shell) -> None:
    error, out = shell.error("%farm_chat -m scripted:call --tool interrupted --out r Hi")
    assert isinstance(error, InterruptedReply)
    assert shell.ip.user_ns["r"].finish_reason == "interrupted"
    assert "LookupError" not in out


def test_a_wrong_name_is_told_the_closest_before_anything_is_asked(shell: Shell) -> None:
    error, _ = shell.error("%farm_chat -m scripted:call --tool wether Hi")
    assert isinstance(error, InvalidRequestError)
    assert "Did you mean weather?" in str(error)
    error, _ = shell.error("%farm_chat --schema Citty Hi")
    assert "Did you mean City?" in str(error)


def test_a_model_that_goes_on_calling_is_stopped_and_the_user_told(shell: Shell) -> None:
    result, out = shell.run(f"%%farm_chat -m scripted:call --tool weather --max-steps 1\n{ASK}")
    assert [call.name for call in result.result.tool_calls] == ["weather"]
    assert shell.ip.user_ns["called"] == []
    assert "stopped after 1 request (--max-steps)" in out
    assert SHOWN_MAX_STEPS == MAX_STEPS


@pytest.mark.parametrize(
    ("said", "called", "asked"),
    [(["y"], ["Rome"], 1), (["what?", "a"], ["Rome"], 2), (["n"], [], 1), ([""], [], 1)],
)
def test_confirm_asks_before_a_call(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, said: list[str], called: list[str], asked: int
) -> None:
    questions: list[str] = []

    def answer(question: str) -> str:
        questions.append(question)
        assert threading.current_thread() is threading.main_thread()
        return said[len(questions) - 1]

    monkeypatch.setattr("builtins.input", answer)
    _, out = shell.run(f"%%farm_chat -m scripted:call --tool weather --confirm\n{ASK}")
    assert questions == ['Call weather(city="Rome")? [y]es, [n]o, [a]ll: '] * asked
    assert shell.ip.user_ns["called"] == called
    assert ("does not allow" in out) == (not called)


def test_where_nobody_can_be_asked_confirm_fails_and_nothing_is_called(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(question: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", nobody)
    error, _ = shell.error(f"%%farm_chat -m scripted:call --tool weather --confirm\n{ASK}")
    assert isinstance(error, InvalidRequestError)
    assert "nobody can be asked here" in str(error)
    assert shell.ip.user_ns["called"] == []


def test_a_setting_has_all_cells_ask_and_one_can_do_without(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda question: "n")
    shell.run("%config FarmMagics.confirm = True")
    shell.run(f"%%farm_chat -m scripted:call --tool weather\n{ASK}")
    assert shell.ip.user_ns["called"] == []
    shell.run(f"%%farm_chat -m scripted:call --tool weather --no-confirm\n{ASK}")
    assert shell.ip.user_ns["called"] == ["Rome"]


def test_a_dry_run_shows_tools_and_schema_and_calls_nothing(shell: Shell) -> None:
    out = shell.sent("--tool weather --confirm", ASK)
    assert "'name': 'weather'" in out
    assert "'population'" in shell.sent("--schema City", "Hi")
    assert "It must fit this JSON schema" in shell.sent("--schema City --tool weather", "Hi")
    assert shell.ip.user_ns["called"] == []


def test_the_value_of_a_cell_with_a_schema_is_an_object_of_it(shell: Shell) -> None:
    result, out = shell.run("%farm_chat --schema City --out city Name one.")
    city = shell.ip.user_ns["City"](name="", population=0)
    assert result.result == shell.ip.user_ns["city"] == city
    assert '"population": 0' in out
    assert out.count("scripted:echo") == 1
    assert [each.role for each in shell.thread()] == ["user", "assistant"]


@pytest.mark.parametrize("how", ["--schema City --as json", "--as=json --schema=City"])
def test_as_json_it_is_plain_values(shell: Shell, how: str) -> None:
    assert shell.run(f"%farm_chat {how} Name one.")[0].result == {"name": "", "population": 0}


def test_as_df_it_is_a_data_frame(shell: Shell) -> None:
    frame = shell.run("%farm_chat --schema City --as df -o frame Name one.")[0].result
    assert isinstance(frame, pd.DataFrame)
    assert frame.to_dict("records") == [{"name": "", "population": 0}]
    assert shell.ip.user_ns["frame"] is frame


def test_a_list_and_a_json_schema_as_it_stands(shell: Shell) -> None:
    assert shell.run("%farm_chat --schema list[City] Name some.")[0].result == []
    schema = """'{"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}'"""
    assert shell.run(f"%farm_chat --schema {schema} Name some.")[0].result == {"x": 0}


def test_an_answer_that_does_not_fit_twice_is_one_line_and_the_reply_is_kept(shell: Shell) -> None:
    error, out = shell.error("%farm_chat --schema Named --out r Name one.")
    assert isinstance(error, InvalidAnswerError)
    assert (
        "does not fit Named, nor did it after the model was asked to correct it: name: Assertion failed"
        in out
    )
    kept = shell.ip.user_ns["r"]
    assert isinstance(kept, Reply)
    assert (kept.text, kept.finish_reason, len(kept.steps)) == ('{"name": ""}', "stop", 1)


def test_a_model_that_cannot_be_held_to_a_schema_is_asked_in_words_and_the_user_is_told(shell: Shell) -> None:
    result, out = shell.run('%%farm_chat --schema Coded\n{"code": "ab"}')
    assert result.result == shell.ip.user_ns["Coded"](code="ab")
    assert re.search(r"asked for JSON in words, and checked: .*'pattern' is not known", out)


def test_tools_and_a_schema_go_together(shell: Shell) -> None:
    result, out = shell.run(f"%%farm_chat -m scripted:call --tool weather --schema City\n{ASK}")
    assert result.result == shell.ip.user_ns["City"](name="", population=0)
    assert "corrected once: it is no JSON: 'rain in Rome'" in out


def test_as_needs_a_schema(shell: Shell) -> None:
    error, _ = shell.error("%farm_chat --as df Hi")
    assert "--as df needs --schema" in str(error)


@pytest.mark.parametrize("steps", ["0", "-3", "many"])
def test_a_number_of_steps_that_is_none_is_refused(shell: Shell, steps: str) -> None:
    error, _ = shell.error(f"%farm_chat --tool weather --max-steps {steps} Hi")
    assert isinstance(error, InvalidRequestError)
    assert "--max-steps" in str(error)


def test_a_tool_may_ask_a_model_itself(shell: Shell) -> None:
    shell.run(
        "def ask(city: str) -> str:\n    import farm_notebook\n    return farm_notebook.chat(city).text"
    )
    _, out = shell.run(f"%%farm_chat -m scripted:call --tool ask\n{ASK}")
    assert 'ask(city="Rome")\n  → Rome' in out


def test_nothing_is_left_running(shell: Shell) -> None:
    shell.run(f"%%farm_chat -m scripted:call --tool weather\n{ASK}")
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()
