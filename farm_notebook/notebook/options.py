"""The line of ``%farm_chat`` and ``%%farm_chat``: options first, then the prompt as it stands."""

from __future__ import annotations

import argparse
import difflib
import keyword
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal, NoReturn, get_args

from farm_notebook.errors import InvalidRequestError
from farm_notebook.types import CacheUse

__all__ = ["DEFAULT_THREAD", "CellOptions", "FormatName", "help_text", "parse_line"]

FormatName = Literal["markdown", "text", "code", "json", "html", "math"]

DEFAULT_THREAD = "notebook"

_TOKEN = re.compile(r"""\s*((?:[^\s"']|"(?:\\.|[^"\\])*"|'[^']*')+)(?=\s|$)""")
_QUOTED = re.compile(r""""((?:\\.|[^"\\])*)"|'([^']*)'""")
_GLUED_NUMBER = re.compile(r"(-t)(-?[0-9.]\S*)")


@dataclass(frozen=True, slots=True)
class CellOptions:
    """What the line says about the request and about the cell."""

    model: str | None
    temperature: float | None
    max_tokens: int | None
    system: str | None
    seed: int | None
    stop: tuple[str, ...]
    no_cache: bool
    refresh: bool
    out: str | None
    thread: str
    no_history: bool
    reset: bool
    dry_run: bool
    format: FormatName
    no_stream: bool
    no_interpolate: bool

    @property
    def cache(self) -> CacheUse:
        """How a kept answer may be used."""
        return "off" if self.no_cache else "refresh" if self.refresh else "use"


def parse_line(line: str, fill: Callable[[str], str]) -> tuple[CellOptions, str]:
    """Split a magic's line into its options and the prompt that follows them.

    The prompt is everything from the first word that is neither an option nor an option's value, quotes
    and all; ``--`` ends the options where a prompt begins with a dash.

    Args:
        line: What stands behind the magic's name.
        fill: Replaces ``{names}`` in an option's value; not asked with ``--no-interpolate``.

    Raises:
        InvalidRequestError: Quoting the bad option and listing the valid ones.
    """
    parser = _parser()
    arguments, prompt = _split(line, parser)
    if "--no-interpolate" not in arguments:
        arguments = [fill(argument) for argument in arguments]
    values = vars(parser.parse_args(arguments))
    options = CellOptions(**values | {"stop": tuple(values["stop"] or ())})
    if options.out is not None and (not options.out.isidentifier() or keyword.iskeyword(options.out)):
        raise InvalidRequestError(f"--out {options.out!r} is not a name a variable can have.")
    return options, prompt


def help_text() -> str:
    """The options, a line or two each."""
    return _parser().format_help()


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InvalidRequestError(f"{message[:1].upper()}{message[1:]}. `%farm_chat?` lists the options.")


@cache
def _parser() -> _Parser:
    parser = _Parser(prog="%%farm_chat", usage="%%farm_chat [options]", add_help=False, allow_abbrev=False)
    request = parser.add_argument_group("the request")
    request.add_argument(
        "-m", "--model", metavar="NAME", help="the model, e.g. llamacpp:smollm2:135m or ./x.gguf"
    )
    request.add_argument("-s", "--system", metavar="TEXT", help="a system message, for this request only")
    request.add_argument("-t", "--temperature", type=float, metavar="T", help="0 is greedy; above 1 is wild")
    request.add_argument("--max-tokens", type=int, metavar="N", help="longest answer, in tokens")
    request.add_argument("--seed", type=int, metavar="N", help="repeatable sampling")
    request.add_argument("--stop", action="append", metavar="TEXT", help="end before this text; repeatable")
    kept = request.add_mutually_exclusive_group()
    kept.add_argument("--no-cache", action="store_true", help="neither use nor keep an answer")
    kept.add_argument("--refresh", action="store_true", help="ask anew, and keep that answer")
    memory = parser.add_argument_group("conversation memory")
    memory.add_argument(
        "--thread",
        default=DEFAULT_THREAD,
        metavar="NAME",
        help="the conversation to go on with (default: the notebook's)",
    )
    memory.add_argument(
        "--no-history", action="store_true", help="neither send the conversation nor add to it"
    )
    memory.add_argument("--reset", action="store_true", help="forget the conversation first")
    cell = parser.add_argument_group("the cell")
    cell.add_argument("-o", "--out", metavar="NAME", help="bind the Reply to this name")
    cell.add_argument(
        "-f", "--format", default="markdown", choices=get_args(FormatName), help="what the answer is shown as"
    )
    cell.add_argument("--no-stream", action="store_true", help="show the answer once, complete")
    cell.add_argument("--dry-run", action="store_true", help="show what would be sent, and send nothing")
    cell.add_argument("--no-interpolate", action="store_true", help="leave {names} as they are")
    return parser


def _split(line: str, parser: _Parser) -> tuple[list[str], str]:
    """The arguments, unquoted, and the untouched rest."""
    actions = parser._option_string_actions  # argparse has no public table of its options
    arguments: list[str] = []
    position = 0
    while (rest := line[position:].lstrip()).startswith("-"):
        token = _TOKEN.match(line, position)
        word = token[1] if token else rest.split()[0]
        if token and word == "--":
            position = token.end()
            break
        name = word.partition("=")[0]
        if name not in actions and (glued := _GLUED_NUMBER.fullmatch(word)):
            name, word = glued[1], f"{glued[1]}={glued[2]}"
        if name not in actions:
            close = difflib.get_close_matches(name, actions, n=1)
            raise InvalidRequestError(
                f"{word!r} is not an option."
                + (f" Did you mean {close[0]}?" if close else f" Valid: {', '.join(sorted(actions))}.")
                + " Put -- before a prompt that begins with a dash."
            )
        value = token
        if token and "=" not in word and actions[name].nargs != 0:
            value = _TOKEN.match(line, token.end())
            word = f"{name}={value[1]}" if value else name
        if value is None:
            raise InvalidRequestError(f"{name} needs a value, with its quotes closed: {line.strip()!r}.")
        # Joined with "=", so that a value that begins with a dash is still a value.
        arguments.append(_unquote(word))
        position = value.end()
    return arguments, line[position:].strip()


def _unquote(word: str) -> str:
    """A word without its quotes; only ``"`` and a backslash are escaped, and only between double quotes."""
    return _QUOTED.sub(lambda quoted: _unescape(quoted[1]) if quoted[2] is None else quoted[2], word)


def _unescape(text: str) -> str:
    return re.sub(r'\\(["\\])', r"\1", text)
