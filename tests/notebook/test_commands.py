"""The subcommands of ``%farm``: help in every way of asking, and errors that say what is meant."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from farm_notebook.errors import FarmError, InvalidRequestError, ModelNotFoundError
from farm_notebook.notebook.commands import COMMANDS, run_line
from farm_notebook.notebook.known import KnownModels
from farm_notebook.notebook.session import Session


def run(line: str) -> object:
    shell: Any = SimpleNamespace(user_ns={}, history_manager=None)
    return run_line(Session(shell, KnownModels()), line)


@pytest.mark.parametrize("line", ["", "  ", "--help", "-h", "help", "?"])
def test_alone_it_tells_of_every_subcommand(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(line) is None
    out = capsys.readouterr().out
    for command in COMMANDS.values():
        assert f"  {command.name} " in out
        assert command.help in out


@pytest.mark.parametrize("name", COMMANDS)
def test_each_subcommand_has_help_in_every_way_of_asking(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = set()
    for line in (f"help {name}", f"{name} -h", f"{name} --help", f"{name}?", f"{name}??", f"{name} ?"):
        assert run(line) is None
        texts.add(capsys.readouterr().out)
    (text,) = texts
    assert text.startswith(f"usage: %farm {name}")
    assert COMMANDS[name].help in text


@pytest.mark.parametrize("name", COMMANDS)
def test_a_line_of_help_is_short_enough_for_one_line(name: str) -> None:
    assert len(COMMANDS[name].help) < 80
    assert "\n" not in COMMANDS[name].help


ERRORS: list[tuple[str, type[FarmError], str]] = [
    ("cach", InvalidRequestError, "'cach' is no subcommand of %farm. Did you mean cache?"),
    ("xyzzy", InvalidRequestError, "Valid: alias, cache, cassette, config, embed"),
    ("help cach", InvalidRequestError, "Did you mean cache?"),
    ("cache", InvalidRequestError, "required: stats|clear|on|off"),
    ("cache stat", InvalidRequestError, "'stat' is not one of them. Did you mean stats?"),
    ("cache on off", InvalidRequestError, "'off' is not understood"),
    ("config shwo", InvalidRequestError, "Did you mean show?"),
    ("health --refrsh", InvalidRequestError, "Did you mean --refresh?"),
    ("history --limit x", InvalidRequestError, "'x'"),
    ("history --limit 0", InvalidRequestError, "--limit 0 is out of range"),
    ("usage --by dya", InvalidRequestError, "--by: 'dya' is not one of them. Did you mean day?"),
    ("usage --by week", InvalidRequestError, "'week'"),
    ("load", InvalidRequestError, "required: MODEL"),
    ("load scripted:nothing", ModelNotFoundError, "'nothing'"),
    ("unload scripted:nothing", ModelNotFoundError, "'nothing'"),
    ("unload", InvalidRequestError, "required: MODEL|all"),
    ("load scripted:echo --dvice cpu", InvalidRequestError, "Did you mean --device?"),
    ("loaded --events x", InvalidRequestError, "'x'"),
    ("swap scripted:echo", InvalidRequestError, "required: COMING"),
    ("unwatch", InvalidRequestError, "required: MODEL|all"),
    ("model ''", InvalidRequestError, "empty"),
]


@pytest.mark.parametrize(("line", "cls", "text"), ERRORS)
def test_an_error_quotes_what_is_wrong_and_names_what_is_right(
    line: str, cls: type[FarmError], text: str
) -> None:
    with pytest.raises(cls) as caught:
        run(line)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
