"""What the lines of several magics have in common: options of a request, and of how a cell is shown."""

from __future__ import annotations

import keyword
import re
from argparse import BooleanOptionalAction
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, get_args

from farm_notebook.errors import InvalidRequestError
from farm_notebook.notebook.jupyter_ai import FOREIGN_OPTIONS, ModelOrParameters, Parameters, our_name
from farm_notebook.notebook.line import one_of
from farm_notebook.threads import DEFAULT_THREAD

if TYPE_CHECKING:
    from argparse import _ArgumentGroup as ArgumentGroup

    from farm_notebook.notebook.line import LineParser, NameKind

__all__ = [
    "CONTEXT_KINDS",
    "FormatName",
    "add_cell_options",
    "add_context_options",
    "add_format_option",
    "add_help_options",
    "add_image_option",
    "add_model_option",
    "add_request_options",
    "add_schema_options",
    "add_thread_options",
    "add_tool_options",
    "check_out",
    "finish_parser",
    "unfilled_names",
]

_NAMES = r"(?:-c|--context|--image|--tool|--schema)=\{[^{}]+\}"

CONTEXT_KINDS: Mapping[str, NameKind] = {
    "context": "variable",
    "file": "path",
    "image": "image",
    "tool": "callable",
    "schema": "class",
}
_OF_CHAT = ("-f", "--format", "--schema", "--as", "--tool", "--max-steps", "--confirm", "--no-confirm")
_OF_CONVERSATIONS = ("--thread", "--no-history", "--reset")
MAGICS_OF: Mapping[str, str] = {  # who has an option that not all cell magics have
    **dict.fromkeys(_OF_CHAT, "%%farm_chat"),
    **dict.fromkeys(_OF_CONVERSATIONS, "%%farm_chat and %%farm_code"),
    "--replace": "%%farm_code",
    "--one-by-one": "%%farm_compare",
}
AS_NAMES = ("object", "json", "df")
MAX_STEPS = 8  # as farm.steps has it, which is not loaded for the options
FormatName = Literal["markdown", "text", "code", "json", "html", "math"]


def check_out(name: str | None) -> None:
    """See that ``--out`` names something a variable can be called.

    Raises:
        InvalidRequestError: It does not.
    """
    if name is not None and (not name.isidentifier() or keyword.iskeyword(name)):
        raise InvalidRequestError(f"--out {name!r} is not a name a variable can have.")


def add_context_options(group: ArgumentGroup) -> None:
    """What of the notebook a request goes with."""
    group.add_argument(
        "-c", "--context", action="append", metavar="NAME", help="a variable: its type, columns, a few rows"
    )
    group.add_argument(
        "--cell", action="append", metavar="N", help="a cell that was run, and its output: 3, -1, 3-5"
    )
    group.add_argument("--notebook", action="store_true", help="the cells that were run so far")
    group.add_argument("--file", action="append", metavar="PATH", help="a text file, or a pattern: src/*.py")
    group.add_argument(
        "--context-tokens", type=int, metavar="N", help="how long all of that may be, in tokens"
    )


def add_image_option(group: ArgumentGroup) -> None:
    """Which pictures a request goes with."""
    group.add_argument(
        "--image",
        action="append",
        metavar="NAME_OR_PATH",
        help="a figure, a picture, a file, a URL; repeatable",
    )


def add_schema_options(group: ArgumentGroup) -> None:
    """What an answer is to be."""
    group.add_argument(
        "--schema", metavar="NAME", help="a class, a type of some, a JSON schema: the cell's value is one"
    )
    group.add_argument(
        "--as",
        dest="as_",
        choices=AS_NAMES,
        type=one_of(AS_NAMES),
        help="what --schema gives (df: a DataFrame; default: object)",
    )


def add_tool_options(group: ArgumentGroup) -> None:
    """What a model may have called."""
    group.add_argument(
        "--tool", action="append", metavar="NAME", help="a function of the notebook; repeatable"
    )
    group.add_argument(
        "--max-steps",
        type=int,
        default=MAX_STEPS,
        metavar="N",
        help="how often the model may be asked until it answers (default: %(default)s)",
    )
    group.add_argument(
        "--confirm", action=BooleanOptionalAction, default=False, help="ask before a tool is called"
    )


def add_help_options(parser: LineParser) -> None:
    """What may be said of a question that a subcommand of ``%farm`` asks."""
    parser.add_argument("-m", "--model", type=our_name, metavar="NAME", help="the model that is asked")
    parser.add_argument("-t", "--temperature", type=float, metavar="T", help="0 is greedy; above 1 is wild")
    parser.add_argument("--max-tokens", type=int, metavar="N", help="longest answer, in tokens")
    add_context_options(parser.add_argument_group("what of the notebook is told besides"))
    parser.add_argument("--dry-run", action="store_true", help="show what would be sent, and send nothing")
    for name, kind in CONTEXT_KINDS.items():
        parser.suggest_names(name, kind)


def add_thread_options(group: ArgumentGroup) -> None:
    """Which conversation a request goes on with."""
    group.add_argument(
        "--thread",
        default=DEFAULT_THREAD,
        metavar="NAME",
        help="the conversation to go on with (default: the notebook's)",
    )
    group.add_argument(
        "--no-history", action="store_true", help="neither send the conversation nor add to it"
    )
    group.add_argument("--reset", action="store_true", help="forget the conversation first")


def finish_parser(parser: LineParser, *, models_alone: float) -> None:
    """What the lines of all cell magics have in common besides.

    Args:
        parser: With all of its options.
        models_alone: How many models may be named without an option.
    """
    elsewhere = {name: f"It belongs to {magics}." for name, magics in MAGICS_OF.items()}
    parser.explain_foreign({**elsewhere, **FOREIGN_OPTIONS})
    parser.models_alone = models_alone
    for name, kind in CONTEXT_KINDS.items():
        parser.suggest_names(name, kind)


def unfilled_names(fill: Callable[[str], str]) -> Callable[[str], str]:
    """What fills an option's value, but where a name in it stands for the variable itself: ``-c {df}``."""
    return lambda argument: argument if re.fullmatch(_NAMES, argument) else fill(argument)


def add_model_option(group: ArgumentGroup) -> None:
    """Which model is asked, and what is said to it that no other option says."""
    group.add_argument(
        "-m",
        "--model",
        action=ModelOrParameters,
        metavar="NAME",
        help="the model, e.g. llamacpp:smollm2:135m or ./x.gguf",
    )
    group.add_argument(
        "--model-parameters",
        action=Parameters,
        default=MappingProxyType({}),
        metavar="JSON",
        help='what no option says, e.g. {"top_p": 0.9}; -m takes it too',
    )


def add_format_option(group: ArgumentGroup) -> None:
    """What an answer is shown as."""
    group.add_argument(
        "-f",
        "--format",
        default="markdown",
        choices=get_args(FormatName),
        type=one_of(get_args(FormatName), _format_name),
        help="what the answer is shown as",
    )


def _format_name(word: str) -> str:
    """Also in capitals, and ``md``, as Jupyter AI has it."""
    return {"md": "markdown"}.get(word.lower(), word.lower())


def add_request_options(group: ArgumentGroup) -> None:
    """What may be said of a request, whichever model it goes to."""
    group.add_argument("-s", "--system", metavar="TEXT", help="a system message, for this request only")
    group.add_argument("-t", "--temperature", type=float, metavar="T", help="0 is greedy; above 1 is wild")
    group.add_argument("--max-tokens", type=int, metavar="N", help="longest answer, in tokens")
    group.add_argument("--seed", type=int, metavar="N", help="repeatable sampling")
    group.add_argument("--stop", action="append", metavar="TEXT", help="end before this text; repeatable")
    kept = group.add_mutually_exclusive_group()
    kept.add_argument("--no-cache", action="store_true", help="neither use nor keep an answer")
    kept.add_argument("--refresh", action="store_true", help="ask anew, and keep that answer")
    group.add_argument(
        "--sample", type=int, metavar="N", help="which of several answers to one question; each is kept"
    )


def add_cell_options(group: ArgumentGroup) -> None:
    """What may be said of how a cell is read and shown."""
    group.add_argument("--no-stream", action="store_true", help="show the answer once, complete")
    group.add_argument("--dry-run", action="store_true", help="show what would be sent, and send nothing")
    group.add_argument("--no-interpolate", action="store_true", help="leave {names} as they are")
