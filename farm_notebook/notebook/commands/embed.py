"""``%farm embed``: texts as vectors."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from farm_notebook.errors import InvalidRequestError
from farm_notebook.notebook.line import LineParser
from farm_notebook.notebook.options import check_out
from farm_notebook.notebook.session import Session

if TYPE_CHECKING:
    from farm_notebook.notebook.texts import Texts
    from farm_notebook.types import Embeddings

__all__ = ["add_arguments", "run"]

MOST_NAMED = 5


def add_arguments(parser: LineParser) -> None:
    parser.add_argument(
        "name", metavar="NAME", help="a list, dict, array, column or data frame, or a file of lines"
    )
    parser.suggest_names("name", "texts")
    parser.add_argument("--column", metavar="COLUMN", help="of a data frame")
    parser.suggest_names("column", "column")
    parser.add_argument("-m", "--model", metavar="MODEL", help="a model that embeds")
    parser.add_argument("-o", "--out", metavar="NAME", help="bind the vectors to this name")


def run(session: Session, arguments: argparse.Namespace) -> Embeddings:
    """Make them, and say of how many texts and by whom."""
    from farm_notebook.notebook.embedding import embed_texts
    from farm_notebook.notebook.status import StatusLine
    from farm_notebook.notebook.texts import read_texts

    check_out(arguments.out)
    texts = read_texts(arguments.name, session.namespace(), arguments.column)
    _refuse_empty(texts, arguments.name)
    line = StatusLine(session.shell)
    embedded = embed_texts(session, texts.texts, model=arguments.model, line=line)
    made = embedded.embeddings
    line.end(_outcome(arguments.name, made, embedded.took_s))
    if arguments.out:
        session.shell.user_ns[arguments.out] = made
    session.known.add([str(made.ref)])
    return made


def _outcome(name: str, made: Embeddings, took_s: float) -> str:
    count, tokens = len(made.vectors), made.usage.input_tokens
    told = "" if tokens is None else f"{tokens:,} tokens, "
    return (
        f"{count:,} text{'s' * (count != 1)} of {name}: vectors of {len(made.vectors[0]):,} numbers, "
        f"by {made.ref} ({told}{took_s:.1f} s)."
    )


def _refuse_empty(texts: Texts, name: str) -> None:
    """An empty text has no vector; to leave it out would put all behind it in the wrong places."""
    if texts.empty:
        count = len(texts.empty)
        rest = f" and {count - MOST_NAMED:,} more" if count > MOST_NAMED else ""
        raise InvalidRequestError(
            f"{count:,} of the texts of {name} {'is' if count == 1 else 'are'} empty, at "
            f"{', '.join(map(repr, texts.empty[:MOST_NAMED]))}{rest}. Leave out what is empty first: "
            "each text has a vector."
        )
