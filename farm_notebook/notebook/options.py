"""The line of ``%farm_chat`` and ``%%farm_chat``: options first, then the prompt as it stands."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal, get_args

from farm_notebook.errors import InvalidRequestError
from farm_notebook.notebook.line import LineParser, next_word, suggestion, unquote

if TYPE_CHECKING:
    from farm_notebook.types import CacheUse

__all__ = ["DEFAULT_THREAD", "CellOptions", "FormatName", "chat_parser", "help_text", "parse_line"]

FormatName = Literal["markdown", "text", "code", "json", "html", "math"]

DEFAULT_THREAD = "notebook"

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
    sample: int | None
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
    parser = chat_parser()
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
    return chat_parser().format_help()


@cache
def chat_parser() -> LineParser:
    """What parses the options."""
    parser = LineParser("%%farm_chat", usage="%%farm_chat [options]", help_at="%farm_chat?")
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
    request.add_argument(
        "--sample", type=int, metavar="N", help="which of several answers to one question; each is kept"
    )
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


def _split(line: str, parser: LineParser) -> tuple[list[str], str]:
    """The arguments, unquoted, and the untouched rest."""
    actions = parser.options()
    arguments: list[str] = []
    position = 0
    while (rest := line[position:].lstrip()).startswith("-"):
        token = next_word(line, position)
        word = token[1] if token else rest.split()[0]
        if token and word == "--":
            position = token.end()
            break
        name = word.partition("=")[0]
        if name not in actions and (glued := _GLUED_NUMBER.fullmatch(word)):
            name, word = glued[1], f"{glued[1]}={glued[2]}"
        if name not in actions:
            raise InvalidRequestError(
                f"{word!r} is not an option. {suggestion(name, actions)} "
                "Put -- before a prompt that begins with a dash."
            )
        value = token
        if token and "=" not in word and actions[name].nargs != 0:
            value = next_word(line, token.end())
            word = f"{name}={value[1]}" if value else name
        if value is None:
            raise InvalidRequestError(f"{name} needs a value, with its quotes closed: {line.strip()!r}.")
        # Joined with "=", so that a value that begins with a dash is still a value.
        arguments.append(unquote(word))
        position = value.end()
    return arguments, line[position:].strip()
