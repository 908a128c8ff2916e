"""``%farm similar``: which texts of a list or a column are nearest to a question, by their meaning."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from farm_notebook.errors import InvalidRequestError
from farm_notebook.notebook.line import LineParser
from farm_notebook.notebook.options import check_out
from farm_notebook.notebook.session import Session
from farm_notebook.notebook.tables import Table

if TYPE_CHECKING:
    from farm_notebook.farm.similarity import Match
    from farm_notebook.notebook.texts import Texts
    from farm_notebook.types import ModelRef

__all__ = ["add_arguments", "run"]

DEFAULT_K = 5
LONGEST_TEXT = 300  # characters of a text in the table
SCORE = "score"


def add_arguments(parser: LineParser) -> None:
    parser.add_argument("query", nargs="+", metavar="QUESTION", help="what to look for, in quotes or not")
    parser.add_argument(
        "--in",
        dest="source",
        required=True,
        metavar="NAME",
        help="a list, dict, array, column or data frame, or a file of lines",
    )
    parser.suggest_names("source", "texts")
    parser.add_argument("--column", metavar="COLUMN", help="of a data frame")
    parser.suggest_names("column", "column")
    parser.add_argument(
        "-k", type=int, default=DEFAULT_K, metavar="N", help=f"how many (default: {DEFAULT_K})"
    )
    parser.add_argument("-m", "--model", metavar="MODEL", help="a model that embeds")
    parser.add_argument("-o", "--out", metavar="NAME", help="bind what is found to this name")


def run(session: Session, arguments: argparse.Namespace) -> object:
    """The nearest, best first: rows of the data frame where one was given, else matches as a table."""
    from farm_notebook.farm.similarity import Match, nearest
    from farm_notebook.notebook.embedding import embed_texts
    from farm_notebook.notebook.status import StatusLine
    from farm_notebook.notebook.texts import read_texts

    check_out(arguments.out)
    nearest([], [], arguments.k)  # a wrong k costs no embedding
    query = " ".join(arguments.query).strip()
    if not query:
        raise InvalidRequestError("The question is empty. Write what to look for.")
    texts = read_texts(arguments.source, session.namespace(), arguments.column)
    line = StatusLine(session.shell)
    made = embed_texts(session, (query, *texts.texts), model=arguments.model, line=line).embeddings
    session.known.add([str(made.ref)])
    best = nearest(made.vectors[0], made.vectors[1:], arguments.k)
    found: object
    if hasattr(texts.frame, "iloc"):
        line.end(_note(texts, made.ref))
        found = _rows(texts, best)
    else:
        line.discard()
        matches = [Match(score, texts.labels[place], texts.texts[place]) for score, place in best]
        found = _table(matches, _note(texts, made.ref))
    if arguments.out:
        session.shell.user_ns[arguments.out] = found
    return found


def _rows(texts: Texts, best: Sequence[tuple[float, int]]) -> Any:
    rows = texts.frame.iloc[[texts.places[place] for _, place in best]].copy()
    name = SCORE
    while name in rows.columns:
        name = f"_{name}"
    rows.insert(0, name, [score for score, _ in best])
    return rows


def _table(matches: Sequence[Match], note: str) -> Table[Match]:
    rows = ((f"{match.score:.3f}", str(match.index), _cut(match.text)) for match in matches)
    return Table((SCORE, "index", "text"), tuple(rows), tuple(matches), note)


def _note(texts: Texts, ref: ModelRef) -> str:
    count, empty = len(texts.texts), len(texts.empty)
    left = f"; {empty:,} more {'is' if empty == 1 else 'are'} empty, and left out" if empty else ""
    return f"Of {count:,} text{'s' * (count != 1)}, by {ref}{left}."


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"
