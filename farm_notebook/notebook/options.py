"""What the lines of several magics have in common: options of a request, and of how a cell is shown."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from farm_notebook.errors import InvalidRequestError

if TYPE_CHECKING:
    from argparse import _ArgumentGroup as ArgumentGroup

__all__ = [
    "FormatName",
    "add_cell_options",
    "add_context_options",
    "add_request_options",
    "check_out",
    "unfilled_names",
]

_NAMES = r"(?:-c|--context|--image)=\{[^{}]+\}"

FormatName = Literal["markdown", "text", "code", "json", "html", "math"]


def check_out(name: str | None) -> None:
    """See that ``--out`` names something a variable can be called.

    Raises:
        InvalidRequestError: It does not.
    """
    if name is not None and (not name.isidentifier() or keyword.iskeyword(name)):
        raise InvalidRequestError(f"--out {name!r} is not a name a variable can have.")


def add_context_options(group: ArgumentGroup) -> None:
    """What of the notebook, and which pictures, a request goes with."""
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
    group.add_argument(
        "--image",
        action="append",
        metavar="NAME_OR_PATH",
        help="a figure, a picture, a file, a URL; repeatable",
    )


def unfilled_names(fill: Callable[[str], str]) -> Callable[[str], str]:
    """What fills an option's value, but where a name in it stands for the variable itself: ``-c {df}``."""
    return lambda argument: argument if re.fullmatch(_NAMES, argument) else fill(argument)


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
