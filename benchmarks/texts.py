"""Two answers of 24,000 characters whose words are numbered, so that what is shown tells what had arrived."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import count, pairwise

__all__ = ["DELTAS", "LENGTH", "MARK", "TEXTS", "deltas"]

LENGTH = 24_000
DELTAS = 5_000
MARK = re.compile(r"[a-z](\d{4})(?!\d)")  # a whole word's number
_STEMS = ("of", "the", "river", "and", "a", "small", "house", "in", "every", "green", "field", "that", "it")
_CODE_SHARE = 6_000


class _Words:
    """An endless text of words no two of which are the same."""

    def __init__(self) -> None:
        self._numbers = count()

    def take(self, words: int) -> list[str]:
        numbers = [next(self._numbers) for _ in range(words)]
        return [f"{_STEMS[number % len(_STEMS)]}{number:04d}" for number in numbers]

    def sentence(self) -> str:
        words = self.take(11)
        words[5] = f"`{words[5]}`"
        words[8] = f"**{words[8]}**"
        return f"{' '.join(words)}. "

    def paragraph(self) -> str:
        link, less, more = self.take(3)
        text = "".join(self.sentence() for _ in range(3))
        return f"{text}See [{link}](https://example.org/page), where {less} < {more}."


def markdown() -> str:
    """Paragraphs of about 400 characters, lists, tables, and one long fenced block of code."""
    words = _Words()
    return _cut(words, _markdown_blocks(words))


def paragraph() -> str:
    """One paragraph without a line break, with a link and a ``<`` now and then."""
    words = _Words()
    return _cut(words, (f"{words.paragraph()} " for _ in count()))


TEXTS: dict[str, Callable[[], str]] = {"markdown": markdown, "paragraph": paragraph}


def deltas(text: str) -> list[str]:
    """The text in ``DELTAS`` pieces of nearly equal length, cut wherever that falls."""
    ends = [len(text) * number // DELTAS for number in range(DELTAS + 1)]
    return [text[start:end] for start, end in pairwise(ends)]


def _markdown_blocks(words: _Words) -> Iterator[str]:
    for section in count():
        yield f"## {' '.join(words.take(4))}\n\n"
        yield f"{words.paragraph()}\n\n"
        yield "".join(f"- **{name}**: {words.sentence()}\n" for name in words.take(5)) + "\n"
        yield f"{words.paragraph()}\n\n"
        if section == 1:
            yield _code(words)
        yield "| name | value | note |\n| --- | --: | --- |\n"
        yield "".join(f"| {' | '.join(words.take(3))} |\n" for _ in range(6)) + "\n"


def _code(words: _Words) -> str:
    lines = ["```python"]
    while sum(map(len, lines)) < _CODE_SHARE:
        name, rows, index, size, limit = words.take(5)
        lines.append(f"    {name} = {rows}[{index}] if {size} < {limit} else []")
    return "\n".join([*lines, "```", "", ""])


def _cut(words: _Words, blocks: Iterator[str]) -> str:
    """The blocks up to ``LENGTH`` characters, the last ones a word of its own to end on."""
    text = ""
    while len(text) < LENGTH:
        text += next(blocks)
    last = f" end{next(words._numbers):04d}"
    return text[: LENGTH - len(last)] + last
