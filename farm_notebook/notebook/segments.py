"""Where a long answer may be cut while it streams, so that a finished part need not be sent again.

A cut gives the part that is finished, and the text the next part begins with. Cuts fall between
Markdown blocks where they can; a block that grows without end is cut inside, with its fence closed and
opened again or its table's header repeated. Where the cell has no other output the finished answer is
shown whole, so that no cut is final.
"""

from __future__ import annotations

import re

__all__ = ["split_lines", "split_markdown"]

SOFT_LIMIT = 1600  # characters from which a cut between blocks is looked for
HARD_LIMIT = 1800  # characters from which a block is cut inside

_FENCE = re.compile(r"[ ]{0,3}(`{3,}(?!.*`)|~{3,})(.*)")


def split_lines(text: str) -> tuple[str, str] | None:
    """Cut after the last whole line; for text that means the same however it is cut."""
    if len(text) < SOFT_LIMIT:
        return None
    end = text.rfind("\n") + 1
    if end == 0 and len(text) >= HARD_LIMIT:
        end = _last_space(text)
    return (text[:end], text[end:]) if end else None


def split_markdown(text: str) -> tuple[str, str] | None:
    """Cut Markdown after its last finished block, or inside a block that has grown too long."""
    if len(text) < SOFT_LIMIT:
        return None
    lines = [f"{line}\n" for line in text.split("\n")[:-1]]  # the last one may still grow
    block_start, fence = _last_block(lines)
    end = sum(map(len, lines[:block_start]))
    if end >= SOFT_LIMIT // 2:
        return text[:end], text[end:]
    if len(text) < HARD_LIMIT:
        return None
    return _cut_inside(text, lines[block_start:], fence)


def _last_block(lines: list[str]) -> tuple[int, str]:
    """The line at which the unfinished last block starts, and its opening fence (empty if it is no fence)."""
    start, fence, fence_mark = 0, "", ""
    for index, line in enumerate(lines):
        mark = _FENCE.match(line)
        if fence:
            if mark and mark[1].startswith(fence_mark) and not mark[2].strip():
                start, fence = index + 1, ""
        elif mark:
            start, fence, fence_mark = index, line, mark[1]
        elif not line.strip():
            start = index + 1
    return start, fence


def _cut_inside(text: str, block: list[str], fence: str) -> tuple[str, str]:
    end = text.rfind("\n") + 1
    if mark := _FENCE.match(fence):
        opening = fence if len(fence) < SOFT_LIMIT else f"{mark[1]}\n"
        closing = f"{fence[: mark.end(1)]}\n"  # indented as the opening is: it may stand in a list
        if len(block) == 1:  # a line of code without end
            return f"{text}\n{closing}", opening
        return text[:end] + closing, opening + text[end:]
    rule = next((index for index, line in enumerate(block[1:-1], 1) if _is_table_rule(line)), None)
    if rule and len(header := "".join(block[rule - 1 : rule + 1])) < SOFT_LIMIT:
        return text[:end], header + text[end:]
    if not end or len(text) - end > SOFT_LIMIT:
        end = _last_space(text)
    return text[:end], text[end:]


def _is_table_rule(line: str) -> bool:
    return "|" in line and "-" in line and not line.strip(" \t\r\n|:-")


def _last_space(text: str) -> int:
    """Just after the last sentence, else after the last word, else everything."""
    sentence = max(text.rfind(mark) for mark in (". ", "! ", "? ", "。"))
    if sentence > len(text) // 2:
        return sentence + 2
    return text.rfind(" ") + 1 or len(text)
