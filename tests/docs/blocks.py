"""The code blocks of the documentation, each with the notes for its test that stand above it.

A note is a comment that no reader sees, directly above its block:

    <!-- skip: REASON -->     it is not run; the reason says why it cannot be
    <!-- before: CODE -->     a cell that is run first, for what the reader has and the page does not show
    <!-- fails: CODE -->      a cell that is run first, and fails
    <!-- file: NAME -->       the reader saves it as this file, whose content is checked by its name
    <!-- types: WORDS -->     what its reader types into the commands of the block
    <!-- raises: NAME -->     the block ends in this error
    <!-- figures vary -->     a text whose digits are not compared with what the block before it showed
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt

__all__ = ["ROOT", "Block", "blocks_of", "pages", "words_of"]

ROOT = Path(__file__).parents[2]
OTHERS = ("README.md", "CONTRIBUTING.md", "farm_notebook/providers/ADDING_A_PROVIDER.md")
WORDS = ("skip", "before", "fails", "file", "types", "raises", "figures vary")
COMMENT = re.compile(rf"<!--\s*({'|'.join(WORDS)})\b(?::(.*?))?\s*-->\s*", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Args:
        place: The page and the line of its fence, as ``docs/magics.md:16``.
        line: That line, from 1.
        language: The word behind the fence.
        text: What stands between the fences.
        notes: By their words, with what follows the colon.
        problem: What is wrong with its fence or its notes.
    """

    place: str
    line: int
    language: str
    text: str
    notes: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


def pages() -> list[Path]:
    """Every page there is."""
    found = sorted(path for path in (ROOT / "docs").rglob("*.md") if not _is_built(path))
    return [*map(ROOT.joinpath, OTHERS), *found]


def words_of(page: Path) -> Iterator[tuple[str, str]]:
    """What a page has in code within its sentences, each with its place."""
    for token in MarkdownIt().enable("table").parse(page.read_text("utf-8")):
        if token.type == "inline" and token.map:
            place = f"{page.relative_to(ROOT).as_posix()}:{token.map[0] + 1}"
            yield from ((place, each.content) for each in token.children or () if each.type == "code_inline")


def blocks_of(page: Path, *, root: Path = ROOT) -> Iterator[Block]:
    """The code blocks of a page, in their order; directives of MyST, as ``{toctree}``, are none."""
    comments: list[str] = []
    for token in MarkdownIt().parse(page.read_text("utf-8")):
        if token.type == "html_block" and token.content.startswith("<!--"):
            comments.append(token.content)
            continue
        if token.type in ("fence", "code_block") and not re.match(r"\{(?!code)", token.info):
            assert token.map
            line = token.map[0] + 1
            place = f"{page.relative_to(root).as_posix()}:{line}"
            language = token.info.partition(" ")[0]
            notes, problem = _read(comments)
            yield Block(place, line, language, token.content, notes, problem)
        comments = []


def _read(comments: list[str]) -> tuple[dict[str, str], str]:
    found = [COMMENT.fullmatch(comment) for comment in comments]
    notes = {match[1]: (match[2] or "").strip() for match in found if match}
    unread = [comment for comment, match in zip(comments, found, strict=True) if not match]
    empty = [word for word, said in notes.items() if not said and word != "figures vary"]
    if unread:
        return notes, f"the comment above it is no note for its test: {unread[0]!r}; see {__file__}"
    return notes, f"the note {empty[0]!r} above it says nothing" if empty else ""


def _is_built(path: Path) -> bool:
    return any(part.startswith((".", "_")) or part == "build" for part in path.relative_to(ROOT).parts)
