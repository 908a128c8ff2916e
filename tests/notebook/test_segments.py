"""Cutting a streaming answer into parts: nothing is lost, nothing is left open, nothing costs too much."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from farm_notebook.notebook.segments import HARD_LIMIT, SOFT_LIMIT, split_lines, split_markdown

LONGEST_PIECE = 100
LONGEST_PART = HARD_LIMIT + LONGEST_PIECE + 10  # one piece past the limit, and a closing fence

words = st.integers(1, 300).map(lambda n: " ".join(f"word{i}{'.' * (i % 9 == 0)}" for i in range(n)))
paragraphs = words.map(lambda text: f"{text}\n\n")
wrapped = st.integers(1, 120).map(lambda n: "".join(f"line {i} of text\n" for i in range(n)) + "\n")
lists = st.integers(1, 400).map(lambda n: "".join(f"- item {i}\n" for i in range(n)) + "\n")
headings = st.sampled_from(
    ["# One\n\n", "Two\n---\n", "Three\n===\ntext\n\n", "```inline```\n\n", "---\n\n", "Lead:\n"]
)
tables = st.integers(1, 400).map(
    lambda n: "| a | b |\n|:--|---|\n" + "".join(f"| {i} | x{i} |\n" for i in range(n)) + "\n"
)
code_lines = st.lists(
    st.sampled_from(["x = 1\n", "\n", "    y\n", "``\n", "# no heading\n", "| a |\n", "z" * 90 + "\n"]),
    max_size=150,
)
fences = st.builds(
    lambda mark, indent, info, lines: (
        f"{indent}{mark}{info}\n{''.join(indent + line for line in lines)}{indent}{mark}\n\n"
    ),
    st.sampled_from(["```", "~~~", "`````"]),
    st.sampled_from(["", "  "]),
    st.sampled_from(["", "python", " js title=x"]),
    code_lines,
)
documents = st.lists(
    st.one_of(paragraphs, wrapped, lists, headings, tables, fences), min_size=1, max_size=6
).map("".join)
piece_sizes = st.lists(st.integers(4, LONGEST_PIECE), min_size=1, max_size=20)


def pieces(text: str, sizes: list[int]) -> Iterable[str]:
    position = index = 0
    while position < len(text):
        size = sizes[index % len(sizes)]
        yield text[position : position + size]
        position += size
        index += 1


def feed(
    arriving: Iterable[str], split: Callable[[str], tuple[str, str] | None]
) -> tuple[list[str], list[tuple[str, str, str]]]:
    """The parts as the display would paint them, and every cut as (before, finished, rest)."""
    tail, parts, cuts = "", [], []
    for piece in arriving:
        tail += piece
        while cut := split(tail):
            cuts.append((tail, *cut))
            assert len(cuts) < 100_000, "it cuts for ever"
            parts.append(cut[0])
            tail = cut[1]
    return [*parts, tail], cuts


def original_of(before: str, finished: str, rest: str) -> str:
    """What of ``before`` was finished by a cut, with the closing and the continuation taken off again."""
    if finished + rest == before:
        return finished
    end = before.rfind("\n") + 1
    if not finished.startswith(before[:end]) or not rest.endswith(before[end:]):
        end = len(before)  # a line of code without end
    closing, continuation = finished[end:], rest[: len(rest) - len(before[end:])]
    assert finished.startswith(before[:end])
    assert rest == continuation + before[end:]
    if closing:
        assert set(closing.strip()) in ({"`"}, {"~"})
        assert continuation.count("\n") == 1
        assert continuation.lstrip().startswith(closing.strip())
    else:
        assert continuation.count("\n") == 2
        assert continuation in before
    return before[:end]


def rejoin(parts: list[str], cuts: list[tuple[str, str, str]]) -> str:
    """The original, out of the parts with what every cut added taken off again."""
    originals = [original_of(*cut) for cut in cuts]
    added = parts[-1] if not cuts else ""
    if cuts:
        before, finished, rest = cuts[-1]
        kept = before[len(original_of(before, finished, rest)) :]
        added = kept + parts[-1][len(rest) :]
    # A continuation that a later part begins with was added by the cut before it.
    for index in range(1, len(originals)):
        before, finished, rest = cuts[index - 1]
        continuation = len(rest) - len(before[len(original_of(before, finished, rest)) :])
        originals[index] = originals[index][continuation:]
    return "".join(originals) + added


def code_of(text: str) -> str:
    return "".join(token.content for token in MarkdownIt("commonmark").parse(text) if token.type == "fence")


def cells_of(text: str) -> list[str]:
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    return [after.content for token, after in pairwise(tokens) if token.type == "td_open"]


@given(st.text("ab .\n", max_size=6000) | documents, piece_sizes)
@settings(max_examples=30, deadline=None)
def test_parts_of_plain_text_joined_are_the_text(text: str, sizes: list[int]) -> None:
    parts, _ = feed(pieces(text, sizes), split_lines)
    assert "".join(parts) == text
    assert max(map(len, parts)) <= LONGEST_PART


@given(documents, piece_sizes)
@settings(max_examples=30, deadline=None)
def test_markdown_loses_nothing_but_what_cuts_added(text: str, sizes: list[int]) -> None:
    parts, cuts = feed(pieces(text, sizes), split_markdown)
    assert rejoin(parts, cuts) == text
    assert max(map(len, parts)) <= LONGEST_PART


@given(documents, piece_sizes)
@settings(max_examples=30, deadline=None)
def test_code_and_cells_of_all_parts_are_those_of_the_whole(text: str, sizes: list[int]) -> None:
    parts, _ = feed(pieces(text, sizes), split_markdown)
    assert "".join(map(code_of, parts)) == code_of(text)
    assert [cell for part in parts for cell in cells_of(part)] == cells_of(text)


@given(documents, piece_sizes)
@settings(max_examples=30, deadline=None)
def test_every_finished_part_has_its_fences_closed(text: str, sizes: list[int]) -> None:
    parts, _ = feed(pieces(text, sizes), split_markdown)
    for part in parts[:-1]:
        last = MarkdownIt("commonmark").parse(f"{part}\n\nsentinel")[-2]
        assert (last.type, last.content) == ("inline", "sentinel")


@given(st.text("`~|-: \n\r\tab#>*\x0c\u2028。", max_size=5000), piece_sizes)
@settings(max_examples=50, deadline=None)
def test_any_text_is_cut_into_bounded_parts_without_loss(text: str, sizes: list[int]) -> None:
    parts, cuts = feed(pieces(text, sizes), split_markdown)
    assert rejoin(parts, cuts) == text
    assert max(map(len, parts)) <= LONGEST_PART


HOSTILE = {
    "no space": "a" * 20_000,
    "one line of code": "```\n" + "z" * 20_000,
    "one long line late in a fence": "```js\nlet x = 1\n" + "z" * 20_000 + "\n```\n",
    "endless opening": "```" + "i" * 20_000,
    "long opening, short lines": "```" + "i" * 3_000 + "\n" + "x\n" * 10_000,
    "only fences": "```\n" * 5_000,
    "only marks": "`" * 20_000,
    "unclosed inline": "```a``` b\n" * 2_000,
    "rules": "---\n" * 5_000,
    "setext": "Title\n---\n" + "word " * 4_000,
    "wide table": "| " + "h | " * 1_000 + "\n|" + "---|" * 1_000 + "\n" + "| 1 |\n" * 3_000,
    "long row": "| a |\n|---|\n| " + "x" * 20_000 + " |\n",
    "blank lines": "\n" * 20_000,
    "spaces": " " * 20_000,
    "carriage returns": "a\r" * 10_000,
    "line separators": "word\u2028" * 4_000,
    "chinese": "\u4f60\u597d\u3002" * 7_000,
    "nested list": "".join("  " * (i % 40) + "- x\n" for i in range(500)),
    "quote": "> x\n" * 5_000,
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("split", [split_lines, split_markdown])
@pytest.mark.parametrize("size", [7, 100])
def test_a_hostile_answer_is_painted_with_linear_work(
    name: str, split: Callable[[str], tuple[str, str] | None], size: int
) -> None:
    text = HOSTILE[name]
    parts, cuts = feed(pieces(text, [size]), split)
    if split is split_lines:
        assert "".join(parts) == text
    else:
        assert rejoin(parts, cuts) == text
    assert max(map(len, parts)) <= LONGEST_PART
    assert sum(map(len, parts)) <= 2 * len(text) + LONGEST_PART


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("split", [split_lines, split_markdown])
def test_a_hostile_answer_that_comes_at_once_needs_few_cuts(
    name: str, split: Callable[[str], tuple[str, str] | None]
) -> None:
    parts, _ = feed([HOSTILE[name]], split)
    assert len(parts) <= 5
    assert len(parts[-1]) < HARD_LIMIT


@pytest.mark.parametrize("split", [split_lines, split_markdown])
def test_a_short_text_is_not_cut(split: Callable[[str], tuple[str, str] | None]) -> None:
    assert split("") is None
    assert split("word.\n\n" * (SOFT_LIMIT // 7)) is None


def test_a_cut_between_blocks_is_preferred_to_one_inside() -> None:
    paragraph = "word " * (SOFT_LIMIT // 6) + "\n\n"
    unfinished = "- list\n- goes on " + "x" * (SOFT_LIMIT // 3)
    assert split_markdown(paragraph + unfinished) == (paragraph, unfinished)


def test_a_cut_waits_until_the_line_is_whole() -> None:
    paragraph = "word " * (SOFT_LIMIT // 5 + 10) + "\n"
    assert split_markdown(f"{paragraph}   ") is None
    assert split_markdown(f"{paragraph}\n   ") == (f"{paragraph}\n", "   ")


def test_a_heading_is_not_repeated_as_if_it_were_a_table() -> None:
    parts, _ = feed(pieces("Title\n---\n" + "some text here\n" * 400, [50]), split_markdown)
    assert len(parts) > 2
    assert sum(part.count("Title") for part in parts) == 1


def test_a_long_table_repeats_its_header_in_every_part() -> None:
    header = "| a | b |\n|---|---|\n"
    parts, _ = feed(pieces(header + "| 1 | 2 |\n" * 600, [50]), split_markdown)
    assert len(parts) > 2
    assert all(part.startswith(header) for part in parts)


def test_a_long_fence_repeats_its_opening_with_its_language() -> None:
    parts, _ = feed(pieces("```python\n" + "x = 1\n" * 1000, [50]), split_markdown)
    assert len(parts) > 2
    assert all(part.startswith("```python\n") for part in parts)


def test_a_fence_in_a_list_is_closed_where_the_list_can_see_it() -> None:
    text = "- item\n\n  ```python\n" + "  x = 1\n" * 600 + "  ```\n- next\n"
    parts, _ = feed(pieces(text, [50]), split_markdown)
    assert len(parts) > 2
    assert "".join(map(code_of, parts)) == code_of(text)
