"""A conversation for readers: as HTML and text below the panel, as Markdown, and as cells of a notebook."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Sequence
from functools import cache
from html import escape
from typing import Any

from markdown_it import MarkdownIt

from farm_notebook.sanitize import closed, printable, safe_html, safe_markdown
from farm_notebook.threads import Exchange
from farm_notebook.types import ChatMessage

__all__ = ["as_cells", "as_html", "as_markdown", "as_notebook", "as_text"]

LONGEST_SAVED = 200_000  # characters of answers in the static output: each of its versions is sent and saved
MOST_FORMULAS = 40  # that a page typesets in it, the latest; hundreds would stop the page for seconds
NOTHING = "Nothing was said yet."

_CODE = re.compile(r"^```(?:python|py|ipython)[0-9]?[ \t]*\n(.*?)^```[ \t]*$\n?", re.M | re.S | re.I)
_FORMULA = re.compile(r"\$\$?[^$]+\$|\\\\[(\[]")
_NOT_TYPESET = "mathjax_ignore tex2jax_ignore"  # MathJax's names for it, of its versions 3 and 2
_KERNEL = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}


def as_html(exchanges: Sequence[Exchange]) -> str:
    """For a page without a kernel. No model's HTML is in it that could act, and nothing that is fetched."""
    told, left_out = _latest(exchanges)
    parts: list[str] = []
    formulas = 0
    for each in reversed(told):
        formulas += len(_FORMULA.findall(f"{each.prompt.content}\n{each.reply.text}"))
        parts.append(_exchange_html(each, is_typeset=formulas <= MOST_FORMULAS))
    if left_out:
        parts.append(f"<p><em>{left_out} earlier questions are left out.</em></p>")
    return "\n<hr>\n".join(reversed(parts)) or f"<p>{NOTHING}</p>"


def as_text(exchanges: Sequence[Exchange]) -> str:
    """For terminals."""
    told, left_out = _latest(exchanges)
    parts = [f"({left_out} earlier questions are left out.)"] if left_out else []
    parts += [f"You: {_said(each.prompt)}\n\n{each.reply.text}\n\n({each.reply.footer})" for each in told]
    return printable("\n\n".join(parts)) or NOTHING


def as_markdown(exchanges: Sequence[Exchange]) -> str:
    """One document, as it was written: nothing is taken out of it."""
    return "\n\n---\n\n".join(f"{_quoted(each.prompt)}\n\n{closed(each.reply.text)}" for each in exchanges)


def as_cells(exchanges: Sequence[Exchange]) -> list[str]:
    """Sources of Markdown cells, one a question and one an answer; whatever shows them may trust them."""
    return [
        safe_markdown(source)
        for each in exchanges
        for source in (_quoted(each.prompt), f"{closed(each.reply.text)}\n\n*{each.reply.footer}*")
    ]


def as_notebook(exchanges: Sequence[Exchange]) -> dict[str, Any]:
    """A notebook in the format 4.5, in which the answers' Python code is in code cells, not run."""
    cells = [cell for each in exchanges for cell in _cells(each)]
    metadata = {"kernelspec": _KERNEL, "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def _cells(exchange: Exchange) -> Iterator[dict[str, Any]]:
    yield _cell("markdown", safe_markdown(_quoted(exchange.prompt)))
    for index, piece in enumerate(_CODE.split(exchange.reply.text)):
        if index % 2:
            yield _cell("code", piece.rstrip("\n"))
        elif piece.strip():
            yield _cell("markdown", safe_markdown(piece.strip("\n")))
    if exchange.reply.footer:
        yield _cell("markdown", safe_markdown(f"*{exchange.reply.footer}*"))


def _cell(kind: str, source: str) -> dict[str, Any]:
    ran: dict[str, Any] = {"execution_count": None, "outputs": []} if kind == "code" else {}
    return {"cell_type": kind, "id": secrets.token_hex(4), "metadata": {}, "source": source, **ran}


def _exchange_html(exchange: Exchange, *, is_typeset: bool) -> str:
    said = escape(_said(exchange.prompt)).replace("\n", "<br>")
    markup = (
        f"<p><strong>You:</strong> {said}</p>\n{_html(exchange.reply.text)}"
        f"<p><small>{escape(exchange.reply.footer)}</small></p>"
    )
    return markup if is_typeset else f'<div class="{_NOT_TYPESET}">{markup}</div>'


def _latest(exchanges: Sequence[Exchange]) -> tuple[Sequence[Exchange], int]:
    """As many of the last ones as may be saved, and how many that leaves out."""
    length, first = 0, len(exchanges)
    while first and (first == len(exchanges) or length < LONGEST_SAVED):
        first -= 1
        length += len(exchanges[first].reply.text) + len(exchanges[first].prompt.content)
    return exchanges[first:], first


def _said(prompt: ChatMessage) -> str:
    """What the user said, pictures as a word."""
    count = len(prompt.images)
    pictures = f"[{count} picture{'s' * (count != 1)}]" if count else ""
    return "\n".join(filter(None, (pictures, prompt.content)))


def _quoted(prompt: ChatMessage) -> str:
    return "\n".join(f"> {line}".rstrip() for line in f"**You:** {_said(prompt)}".splitlines())


def _html(markdown: str) -> str:
    return safe_html(_parser().render(markdown))


@cache
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).enable("table")
