"""What of the notebook fits into the tokens there are for it, and what is left out.

What the user named comes first, and shares the tokens: what is short is told whole, what is long is cut in
its middle. The rest is for the notebook's cells, of which the newest are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from farm_notebook.notebook.context.piece import Piece, rendered
from farm_notebook.pipeline.estimate import BYTES_A_TOKEN, text_tokens
from farm_notebook.types import ChatMessage

__all__ = ["Context", "fit"]

FEWEST_TOKENS = 24  # less of a thing than that tells nothing
MARK_TOKENS = 12  # of a line that tells how much is missing, and of a longer name of the marks
HEAD = 2 / 3  # how much of what is kept of a long text is from its beginning
MOST_LABELS = 8


@dataclass(frozen=True, slots=True)
class Context:
    """What is put before a prompt.

    Args:
        pieces: In their order.
        left_out: What there was no room for.
        budget_tokens: How much room there was.
    """

    pieces: tuple[Piece, ...] = ()
    left_out: tuple[str, ...] = ()
    budget_tokens: int = 0

    @property
    def text(self) -> str:
        """All of it as the model reads it; empty where there is nothing."""
        return rendered(self.pieces) if self.pieces else ""

    @property
    def tokens(self) -> int:
        """About how many that are."""
        return text_tokens(self.text)

    @property
    def note(self) -> str:
        """One line for the user: what is told, how much of the room it takes, and what is not told."""
        if not self.pieces and not self.left_out:
            return ""
        told = _listed([f"{piece.label} (cut)" if piece.is_cut else piece.label for piece in self.pieces])
        room = f"{self.tokens:,} of {self.budget_tokens:,} tokens"
        missing = f"; left out: {_listed(self.left_out)}" if self.left_out else ""
        return f"context: {told or 'nothing'} · {room}{missing}"

    def before(self, prompt: str) -> str:
        """The prompt with the context before it; an empty one stays empty."""
        return f"{self.text}\n\n{prompt}" if self.pieces and prompt.strip() else prompt

    def before_message(self, message: ChatMessage) -> ChatMessage:
        """The same of a message of the user."""
        return replace(message, content=self.before(message.content))


def fit(named: Sequence[Piece], cells: Sequence[Piece], *, budget_tokens: int) -> Context:
    """Choose and cut.

    Args:
        named: What the user asked for by its name. None of it is left out while there is any room.
        cells: Of the notebook, oldest first.
        budget_tokens: How many tokens all of it may take, its marks included; at least 1.
    """
    room = budget_tokens - text_tokens(rendered(())) - MARK_TOKENS
    kept: dict[int, Piece] = {}
    waiting = sorted(range(len(named)), key=lambda index: _tokens(named[index]))
    for place, index in enumerate(waiting):
        piece = _cut(named[index], room // (len(waiting) - place))
        if piece is not None:
            kept[index] = piece
            room -= _tokens(piece)
    newest: list[Piece] = []
    for cell in reversed(cells):
        told = None if newest and _tokens(cell) > room else _cut(cell, room)  # only the newest is ever cut
        if told is None:  # an older one would be read as what came just before
            break
        newest.insert(0, told)
        room -= _tokens(told)
    left_out = [piece.label for index, piece in enumerate(named) if index not in kept]
    left_out += [cell.label for cell in cells[: len(cells) - len(newest)]]
    pieces = (*newest, *(kept[index] for index in sorted(kept)))
    return Context(pieces, tuple(left_out), budget_tokens)


def _tokens(piece: Piece) -> int:
    """Of one piece with its marks; a little more than it adds to the whole."""
    return text_tokens(rendered((piece,))) - text_tokens(rendered(())) + 1


def _cut(piece: Piece, tokens: int) -> Piece | None:
    """A piece that takes no more than so many tokens; ``None`` where that is too little to tell anything."""
    if _tokens(piece) <= tokens:
        return piece
    room = tokens - _tokens(replace(piece, text="", output="." if piece.output else ""))
    if room < FEWEST_TOKENS:
        return None
    text = _middle_cut(piece.text, room - min(text_tokens(piece.output), room // 2))
    output = _middle_cut(piece.output, room - text_tokens(text))
    return replace(piece, text=text, output=output, is_cut=True)


def _middle_cut(text: str, tokens: int) -> str:
    """A text's beginning and end, with a line between them that tells how much is missing."""
    if text_tokens(text) <= tokens:
        return text
    size_bytes = max(0, tokens - MARK_TOKENS) * BYTES_A_TOKEN
    data = text.encode(errors="surrogatepass")
    head = _whole_lines(data[: int(size_bytes * HEAD)].decode(errors="ignore"))
    tail = _whole_lines(
        data[len(data) - int(size_bytes * (1 - HEAD)) :].decode(errors="ignore"), from_end=True
    )
    return f"{head}\n... ({len(text) - len(head) - len(tail):,} characters left out)\n{tail}"


def _whole_lines(text: str, *, from_end: bool = False) -> str:
    """A cut text without the line it was cut in, unless that is nearly all of it."""
    at = text.find("\n") + 1 if from_end else text.rfind("\n")
    whole = text[at:] if from_end else text[: max(at, 0)]
    return whole if len(whole) * 2 > len(text) else text


def _listed(labels: Sequence[str]) -> str:
    """Labels in a line: of cells that follow each other the first and the last, and no more than a few."""
    runs: list[list[str]] = []
    for label in labels:
        if runs and _number(label) == (_number(runs[-1][-1]) or -9) + 1:
            runs[-1].append(label)
        else:
            runs.append([label])
    words = [f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(run) for run in runs]
    more = len(words) - MOST_LABELS
    return ", ".join(words[:MOST_LABELS]) + (f" and {more:,} more" if more > 0 else "")


def _number(label: str) -> int | None:
    """Of a cell."""
    inner = label.removeprefix("In[").removesuffix("]")
    return int(inner) if label == f"In[{inner}]" and inner.isdecimal() else None
