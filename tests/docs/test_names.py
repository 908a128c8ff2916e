"""Commands, magics and options that a page names within its sentences are there."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

sys.path.append(str(Path(__file__).parent))

from blocks import pages, words_of

from farm_notebook.cli.app import app
from farm_notebook.notebook.cells import CELL_MAGICS
from farm_notebook.notebook.commands import COMMANDS

CLI: Any = get_command(app)
NAME = re.compile(r"[a-z][a-z-]*")  # what the reader is to put there has capitals


def problem_of(code: str) -> str:
    """What of a line is not there; empty where all of it is, and where it is no line of ours."""
    first, *words = re.findall(r"[^\s\[\]?]+", code) or [""]
    if first == "farm":
        return problem_of_command(CLI, words)
    if first == "%farm":
        return problem_of_magic(COMMANDS, words)
    if magic := re.fullmatch(r"%%?(farm_\w+)", first):
        return problem_of_magic(CELL_MAGICS, [magic[1], *words])
    return ""


def problem_of_command(command: Any, words: list[str]) -> str:
    """Of a command for a terminal, or of a group of such."""
    names = getattr(command, "commands", {})
    if words and words[0] in names:
        return problem_of_command(names[words[0]], words[1:])
    if words and NAME.fullmatch(words[0]) and (command is CLI or command.no_args_is_help):
        return f"no command {words[0]!r}"
    options = (name for each in command.params for name in (*each.opts, *each.secondary_opts))
    return problem_of_options(words, {"--help", *options})


def problem_of_magic(table: Any, words: list[str]) -> str:
    """Of a line of a notebook: its subcommand, the word behind it where there is a choice, its options."""
    if not words or not NAME.fullmatch(words[0].replace("_", "-")):
        return ""
    if words[0] not in table:
        return f"no magic {words[0]!r}"
    parser = table[words[0]].parser()
    valid = [parser.values(each) for each in parser.positionals()]
    if valid and valid[0] and len(words) > 1 and NAME.fullmatch(words[1]) and words[1] not in valid[0]:
        return f"no {words[1]!r} of {', '.join(valid[0])}"
    return problem_of_options(words, parser.options())


def problem_of_options(words: list[str], valid: Collection[str]) -> str:
    wrong = [word for word in words if re.match(r"--?[a-zA-Z]", word) and word not in valid]
    return f"no option {wrong[0]!r}" if wrong else ""


def test_what_pages_name_is_there() -> None:
    named = [(place, code) for page in pages() for place, code in words_of(page)]
    assert sum(code.startswith(("farm ", "%farm", "%%farm_")) for _, code in named) > 100
    assert [(place, code, said) for place, code in named if (said := problem_of(code))] == []


@pytest.mark.parametrize(
    "code",
    [
        "farm modles",
        "farm chat --modle NAME",
        "farm config shw",
        "%farm modles",
        "%farm cassette of",
        "%farm load REF --nwo",
        "%%farm_cht",
        "%%farm_chat --temprature 0",
    ],
)
def test_a_name_that_is_not_there_is_found(code: str) -> None:
    assert problem_of(code)


@pytest.mark.parametrize(
    "code", ["farm history show me", "%farm alias [NAME [MODEL]]", "%farm_chat?", "farmer", ""]
)
def test_what_is_there_or_is_none_of_ours_is_none(code: str) -> None:
    assert problem_of(code) == ""
