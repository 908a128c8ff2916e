"""``%farm``: the table of its subcommands, one module each, and how one of them is run.

A module has ``add_arguments(parser)`` and ``run(session, arguments)``, whose value is the cell's. It is
imported when its subcommand is first used. An argument whose destination is ``model``, or ends in ``_model``,
is completed with models' names; what else an argument may be called is said by ``LineParser.suggest_names``.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from farm_notebook.errors import InvalidRequestError
from farm_notebook.notebook.cells import CELL_MAGICS
from farm_notebook.notebook.jupyter_ai import FOREIGN_SUBCOMMANDS
from farm_notebook.notebook.line import LineParser, split_words, suggestion
from farm_notebook.notebook.session import Session

__all__ = ["COMMANDS", "Command", "find_command", "overview", "run_line"]


@dataclass(frozen=True, slots=True)
class Command:
    """One subcommand.

    Args:
        name: What the user types, and the module's name.
        help: One line.
        takes_text: Whether its arguments are prose, which may end with a question mark.
        asks: Whether it asks a model: in place of ``run``, its module has
            ``prepare(session, arguments, owns_cell=...)``, which gives a ``Turn``.
    """

    name: str
    help: str
    takes_text: bool = False
    asks: bool = False

    def parser(self) -> LineParser:
        """What parses its arguments."""
        return _parser(self.name)

    def run(self, session: Session, arguments: argparse.Namespace, *, owns_cell: bool = False) -> object:
        """Do it; the value is the cell's, or a ``Turn`` that is still to be run."""
        module = _module(self.name)
        value: object = (
            module.prepare(session, arguments, owns_cell=owns_cell)
            if self.asks
            else module.run(session, arguments)
        )
        return value


COMMANDS = {
    command.name: command
    for command in (
        Command("help", "what there is, or all about one of these"),
        Command("models", "the models there are"),
        Command("model", "the model that answers when none is named: which one, or another one"),
        Command("alias", "other names for models: list them, set or remove one"),
        Command("route", "who would answer, and why"),
        Command("health", "whether each provider can answer"),
        Command("load", "bring a model into memory"),
        Command("unload", "give a model's memory back, or that of all"),
        Command("free", "give all unused memory back, and tell what holds the rest"),
        Command("loaded", "the models in memory, or what happened to them"),
        Command("reload", "have a model answer from its files as they are now"),
        Command("watch", "load a model anew whenever its files change"),
        Command("unwatch", "leave a model as it is loaded"),
        Command("swap", "have one model take another's place in memory"),
        Command("gpu", "the devices: whose their memory is, load, temperature, power"),
        Command("cache", "kept answers: stats, clear, on, off"),
        Command("record", "keep what is asked and answered in a file beside the notebook"),
        Command("replay", "give what was recorded, and ask no model"),
        Command("cassette", "what is recorded or replayed: status, check, prune, off"),
        Command("seed", "one seed for all requests that name none"),
        Command("history", "what was asked, newest first; show ID, clear", takes_text=True),
        Command("fix", "the last error explained, and the cell corrected", takes_text=True, asks=True),
        Command("explain", "a cell, a function or a variable explained", takes_text=True, asks=True),
        Command("embed", "the texts of a list or a column as vectors"),
        Command("similar", "which of them are nearest to a question", takes_text=True),
        Command("usage", "calls, tokens and cost, by model or day"),
        Command("panel", "a panel to look at and click on: chat, models, gpu, health, usage, dashboard"),
        Command("config", "the settings: show, reload, path"),
    )
}


def run_line(session: Session, line: str, *, owns_cell: bool = False) -> object:
    """Run what stands behind ``%farm``.

    Args:
        session: What the subcommand works with.
        line: The subcommand and its arguments; empty prints the help.
        owns_cell: Whether the cell has no other output, so that it may be cleared.

    Returns:
        The cell's value; ``None`` where everything was printed; a ``Turn`` where a model is to be asked.

    Raises:
        InvalidRequestError: Quoting what is not understood, with the closest valid word.
    """
    words = split_words(line)
    if not words or words[0] in ("-h", "--help", "?"):
        print(overview())
        return None
    command = find_command(words[0].rstrip("?"))
    is_question = words[-1].endswith("?") and not command.takes_text
    asks_for_help = words[0].endswith("?") or words[1:] == ["?"] or is_question
    if asks_for_help or {"-h", "--help"} & set(words):
        print(command.parser().format_help().rstrip())
        return None
    arguments = command.parser().parse_words([session.fill(word) for word in words[1:]])
    return command.run(session, arguments, owns_cell=owns_cell)


def find_command(name: str) -> Command:
    """The subcommand of a name.

    Raises:
        InvalidRequestError: Quoting the name, with the closest valid one.
    """
    if name not in COMMANDS:
        hint = FOREIGN_SUBCOMMANDS.get(name) or suggestion(name, COMMANDS)
        raise InvalidRequestError(f"{name!r} is no subcommand of %farm. {hint} `%farm` alone tells of each.")
    return COMMANDS[name]


def overview() -> str:
    """All subcommands, a line each."""
    lines = [f"  {command.name:<10}{command.help}" for command in COMMANDS.values()]
    usage = "%farm SUBCOMMAND [arguments]"
    more = f"`%farm help SUBCOMMAND` tells all about one, and so of {', '.join(CELL_MAGICS)}."
    return "\n".join([usage, "", *lines, "", more])


@cache
def _parser(name: str) -> LineParser:
    parser = LineParser(f"%farm {name}", help_at=f"%farm help {name}", description=COMMANDS[name].help)
    _module(name).add_arguments(parser)
    parser.add_argument("-h", "--help", action="store_true", help="this help")
    return parser


def _module(name: str) -> Any:
    return import_module(f"{__name__}.{name}")
