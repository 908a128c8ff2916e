"""``%farm history``: what was asked, newest first; one call in full; and forgetting them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from farm_notebook.errors import InvalidRequestError
from farm_notebook.notebook.line import LineParser
from farm_notebook.notebook.session import Session

if TYPE_CHECKING:
    from farm_notebook.farm import Farm
    from farm_notebook.reports import CallReport, HistoryReport

__all__ = ["add_arguments", "run"]


def add_arguments(parser: LineParser) -> None:
    parser.add_argument(
        "search",
        nargs="*",
        metavar="SEARCH",
        help="words of the prompt or of the answer; or `show ID`: one call in full; or `clear`: forget all",
    )
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="how many calls (default: 20)")
    parser.add_argument("-m", "--model", metavar="NAME", help="of this model only")
    parser.add_argument("--since", metavar="WHEN", help="a day, as in 2026-05-31, or an age, as in 7d")
    parser.add_argument("--yes", action="store_true", help="with `clear`: I mean it")


def run(session: Session, arguments: argparse.Namespace) -> HistoryReport | CallReport | None:
    """Show the calls that this user's kernels made, or one of them, or forget them all."""
    if arguments.limit < 1:
        raise InvalidRequestError(f"--limit {arguments.limit} is out of range. Valid: 1 and up.")
    match arguments.search:
        case ["show", *words]:
            return _show(session.farm, words)
        case ["clear", *words]:
            _clear(session.farm, words, is_meant=arguments.yes)
            return None
        case ["find", *words] | words:
            return session.farm.history(
                " ".join(words) or None, model=arguments.model, since=arguments.since, limit=arguments.limit
            )


def _show(farm: Farm, words: Sequence[str]) -> CallReport:
    if len(words) != 1 or not words[0].isdecimal():
        raise InvalidRequestError(
            f"`show` takes the id of one call, as in `%farm history show 42`, and not {' '.join(words)!r}. "
            "To search for the word, say `%farm history find show`."
        )
    return farm.history_show(int(words[0]))


def _clear(farm: Farm, words: Sequence[str], *, is_meant: bool) -> None:
    if words:
        raise InvalidRequestError(
            f"`clear` forgets every call, and takes no {' '.join(words)!r}. "
            "To search for the word, say `%farm history find clear`."
        )
    if not is_meant:
        raise InvalidRequestError(
            "That would forget every call of all your notebooks. If it is meant: `%farm history clear --yes`."
        )
    count = farm.history_clear()
    print(f"{count:,} call{'s' * (count != 1)} forgotten.")
