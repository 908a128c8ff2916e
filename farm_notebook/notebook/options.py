"""What the lines of several magics have in common: options of a request, and of how a cell is shown."""

from __future__ import annotations

import keyword
from typing import TYPE_CHECKING, Literal

from farm_notebook.errors import InvalidRequestError

if TYPE_CHECKING:
    from argparse import _ArgumentGroup as ArgumentGroup

__all__ = ["FormatName", "add_cell_options", "add_request_options", "check_out"]

FormatName = Literal["markdown", "text", "code", "json", "html", "math"]


def check_out(name: str | None) -> None:
    """See that ``--out`` names something a variable can be called.

    Raises:
        InvalidRequestError: It does not.
    """
    if name is not None and (not name.isidentifier() or keyword.iskeyword(name)):
        raise InvalidRequestError(f"--out {name!r} is not a name a variable can have.")


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
