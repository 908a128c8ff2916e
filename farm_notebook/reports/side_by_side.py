"""Several texts beside each other, as one Markdown: in columns where there is room, else in rows of them.

Answers hold paragraphs and code, which no cell of a Markdown table can. So each stands, as Markdown between
blank lines, in an HTML block of its own; a viewer that leaves the style out shows them one below the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from farm_notebook.sanitize import as_inline_text, closed, printable, safe_markdown

__all__ = ["Part", "side_by_side"]

NARROWEST = "16em"  # a column of a few words a line is worse than one below another

_GRID = f"display:grid;grid-template-columns:repeat(auto-fit,minmax({NARROWEST},1fr));gap:0.5em 1.5em"
_COLUMN = "min-width:0;overflow-x:auto;border-top:2px solid rgba(128,128,128,0.4);padding-top:0.25em"


@dataclass(frozen=True, slots=True)
class Part:
    """One of the texts; nothing of it is trusted.

    Args:
        title: Plain text.
        body: Markdown; maybe empty.
        note: Plain text that stands small below the title.
        remark: Plain text that stands in italics below the body.
    """

    title: str
    body: str = ""
    note: str = ""
    remark: str = ""


def side_by_side(parts: Sequence[Part]) -> str:
    """The texts as one Markdown, safe to show."""
    columns = [f'<div style="{_COLUMN}">\n\n{_column(part)}\n\n</div>' for part in parts]
    return "\n".join([f'<div style="{_GRID}">', *columns, "</div>"])


def _column(part: Part) -> str:
    head = f"**{_inline(part.title)}**"
    if part.note:
        head += f"<br><small>{_inline(part.note)}</small>"
    body = closed(safe_markdown(part.body.strip("\n")))
    remark = f"*{_inline(part.remark)}*" if part.remark else ""
    return "\n\n".join(filter(None, (head, body, remark)))


def _inline(text: str) -> str:
    return as_inline_text(printable(" ".join(text.split())))
