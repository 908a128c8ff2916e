"""Cells of Jupyter AI's documentation, with ``%%farm_chat`` in the place of ``%%ai``, do what they say there.

Source: docs/source/users/index.md of jupyter-ai 2.x, and docs/source/users/magic_commands/index.md of 3.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from shells import Shell, loaded_shell, plain_shell

from farm_notebook.errors import InvalidRequestError
from farm_notebook.farm import default_farm
from farm_notebook.notebook.jupyter_ai import FOREIGN_OPTIONS, FOREIGN_SUBCOMMANDS, RENAMED, our_name

pytestmark = pytest.mark.slow  # a shell each

TABLE = (Path(__file__).parents[2] / "docs" / "from_jupyter_ai.md").read_text(encoding="utf-8")
# The cloud's models, which answer here by a script.
ALIASES = """
[aliases]
chatgpt = "scripted:echo"
"anthropic" = "scripted:echo"
claude = "scripted:count-2"
"""


@pytest.fixture
def shell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Shell]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "farm.toml").write_text(ALIASES)
    for shell in plain_shell(monkeypatch, capsys):
        yield loaded_shell(shell)


def test_the_model_stands_behind_the_magic(shell: Shell) -> None:
    reply = shell.reply("%%farm_chat scripted:echo\nWrite a poem about C++.")
    assert str(reply.ref) == "scripted:echo"
    assert reply.text == "Write a poem about C++."
    assert str(shell.reply("%%farm_chat scripted/echo\nHi").ref) == "scripted:echo"
    assert str(shell.reply("%%farm_chat claude\nHi").ref) == "scripted:count-2"


@pytest.mark.parametrize(
    ("line", "prompt"),
    [
        ("scripted:echo -f html", "Create a square using SVG with a black border and white fill."),
        ("chatgpt -f math", "Generate the 2D heat equation in LaTeX surrounded by `$$`."),
        ("chatgpt --format code", "A function that computes the lowest common multiples of two integers"),
        ("-f md chatgpt", "A list."),
        ("chatgpt -f JSON", '{"a": 1}'),
    ],
)
def test_the_format_is_chosen_with_f(shell: Shell, line: str, prompt: str) -> None:
    assert shell.reply(f"%%farm_chat {line}\n{prompt}").text == prompt


def test_code_goes_into_the_next_cell(shell: Shell) -> None:
    shell.run("%%farm_chat chatgpt -f code\n```python\nx = 1\n```")
    assert shell.ip.rl_next_input == "x = 1"


def test_a_cell_may_keep_its_name(shell: Shell) -> None:
    shell.run("%alias_magic ai farm_chat")
    assert shell.reply("%%ai scripted:echo\nHi").text == "Hi"
    assert shell.reply("%ai -m scripted:echo Hi").text == "Hi"


def test_a_default_model_is_configured(shell: Shell) -> None:
    shell.run('%config FarmMagics.model = "scripted:count-2"')
    assert shell.reply("%%farm_chat\nWrite a poem about C++.").text.startswith("word0")


def test_parameters_are_json_behind_m(shell: Shell) -> None:
    for parameters in ('{"temperature": 0.2}', """'{"temperature": 0.2}'""", '{"temperature":0.2}'):
        reply = shell.reply(f"%%farm_chat chatgpt -m {parameters}\nHi")
        assert reply.parameters["temperature"] == 0.2
    out = shell.sent('chatgpt --model-parameters {"top_p": 0.5}', "Hi")
    assert "top_p" in out


def test_values_cells_outputs_and_errors_are_filled_in(shell: Shell) -> None:
    shell.run('poet = "Walt Whitman"')
    assert "style of Walt Whitman" in shell.reply("%%farm_chat chatgpt\nA poem in the style of {poet}").text
    number = shell.ip.execution_count
    shell.run("1 + 41")
    text = shell.reply(f"%%farm_chat chatgpt\nExplain: {{In[{number}]}} gives {{Out[{number}]}}").text
    assert text == "Explain: 1 + 41 gives 42"
    first = shell.ip.execution_count
    shell.run("1 / 0")
    shell.run("[][3]")
    text = shell.reply(f"%%farm_chat chatgpt\nThis:\n{{In[{first}]}}\nproduced:\n{{Err[{first}]}}").text
    assert text.startswith("This:\n1 / 0\nproduced:\n")
    assert "ZeroDivisionError: division by zero" in text
    assert "\x1b" not in text
    assert "IndexError" in shell.reply("%%farm_chat chatgpt\n{Err}").text
    left = f"{{Err[{first + 1000}]}}"
    assert shell.reply(f"%%farm_chat chatgpt\n{left}").text == left, "that cell had none"


def test_the_conversation_is_reset_and_bounded(shell: Shell) -> None:
    shell.reply("%%farm_chat chatgpt\nfirst")
    shell.reply("%%farm_chat chatgpt\nsecond")
    shell.run("%config FarmMagics.max_history = 1")
    sent = shell.sent("chatgpt", "third")
    assert "second" in sent
    assert "first" not in sent
    shell.run("%farm_chat --reset")
    assert shell.thread() == ()


def test_aliases_are_made_changed_and_taken_away(shell: Shell) -> None:
    shell.run("%farm alias mine scripted:echo")
    assert str(shell.reply("%%farm_chat mine\nHi").ref) == "scripted:echo"
    shell.run("%farm alias mine scripted:count-2")
    assert str(shell.reply("%%farm_chat mine\nHi").ref) == "scripted:count-2"
    shell.run("%farm alias mine --remove")
    assert "mine" not in default_farm().config.aliases


def test_a_provider_that_is_called_otherwise_is_found(shell: Shell) -> None:
    assert our_name("openai-chat:gpt-4o") == "openai:gpt-4o"
    assert our_name("ollama:llama3.2:1b") == "ollama:llama3.2:1b"
    shell.run("%farm alias gpt openai-chat:gpt-4o")
    assert default_farm().config.aliases["gpt"].model == "openai:gpt-4o"
    shell.run("gpt = 1")
    for line in ("%farm explain gpt", "%farm_code", "%farm_chat"):
        _, out = shell.run(f"{line} -m openai-chat:gpt-4o --dry-run Hi")
        assert "Would go to openai:gpt-4o" in out


def test_a_model_of_a_provider_that_is_none_is_told_so(shell: Shell) -> None:
    error, _ = shell.error("%%farm_chat bedrock:amazon.titan\nHi")
    assert "'bedrock' is no provider" in str(error)


@pytest.mark.parametrize("option", FOREIGN_OPTIONS)
def test_what_there_is_not_is_answered_by_our_way(shell: Shell, option: str) -> None:
    error, _ = shell.error(f"%%farm_chat chatgpt {option} x\nHi")
    assert isinstance(error, InvalidRequestError)
    assert FOREIGN_OPTIONS[option] in str(error)


@pytest.mark.parametrize("word", [*FOREIGN_OPTIONS, *RENAMED, *FOREIGN_SUBCOMMANDS])
def test_the_table_of_the_docs_has_each(word: str) -> None:
    rows = [line for line in TABLE.splitlines() if line.startswith("|")]
    assert any(re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", row.split("|")[1]) for row in rows)
