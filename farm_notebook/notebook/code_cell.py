"""From a model's answer to a cell: its code, the language of that, and whether Python would take it."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from markdown_it import MarkdownIt

from farm_notebook.sanitize import printable

__all__ = ["CodeCell", "cell_of"]

_PYTHON = frozenset({"python", "py", "python3", "ipython", "ipython3", "pycon", "jupyter"})
_SHELL = frozenset({"bash", "sh", "shell", "zsh", "console", "shell-session"})
_MAGICS = {  # cell magics that every IPython kernel has
    **dict.fromkeys(_SHELL, "bash"),
    **dict.fromkeys(("html", "svg", "latex", "markdown", "perl", "ruby"), ""),
    **dict.fromkeys(("javascript", "js"), "javascript"),
    "md": "markdown",
    "tex": "latex",
}
_OUTPUT = frozenset({"text", "txt", "output", "plaintext"})  # what the code would print
_REORDERING = re.compile("[\u202a-\u202e\u2066-\u2069]")  # see https://trojansource.codes
_PROMPT = re.compile(r"^\s*(?:\$|%|#(?=\s*(?:pip|apt|conda)))\s+")


@dataclass(frozen=True, slots=True)
class CodeCell:
    """A cell to be put before the user.

    Args:
        source: Empty where the answer holds no code.
        language: As for a fenced block.
        remark: What the user should know of it, in a few words; empty as a rule.
    """

    source: str
    language: str = "python"
    remark: str = ""


@dataclass(frozen=True, slots=True)
class _Block:
    language: str
    code: str


def cell_of(
    answer: str,
    as_python: Callable[[str], str] = str,
    *,
    needs_fence: bool = False,
    takes_last: bool = False,
) -> CodeCell:
    """The code of an answer, its fenced blocks joined by a blank line.

    Beside Python, lines for a shell become ``!`` and ``%pip`` lines, and other languages are left out. Where
    there is no Python, a language that has a cell magic becomes a cell of that.

    Args:
        answer: Markdown. Without a fenced block all of it is taken for code.
        as_python: Makes Python of what IPython knows besides, such as ``%pip``.
        needs_fence: Whether an answer without a fenced block holds no code, but words.
        takes_last: Whether the last block of Python is the code, and those before it are quoted.
    """
    answer = printable(answer)
    blocks = _blocks(answer)
    if takes_last:
        blocks = [block for block in blocks if block.language in _PYTHON][-1:] or blocks[-1:]
    if not blocks:
        source = "" if needs_fence else answer.strip()
        cell = CodeCell(source, remark=_doubt(source, as_python))
    elif any(block.language in _PYTHON for block in blocks):
        cell = _python(blocks, as_python)
    else:
        cell = _foreign(blocks)
    if _REORDERING.search(cell.source):
        return replace(
            cell, remark=_joined("careful: it holds characters that reorder what is shown", cell.remark)
        )
    return cell


def _foreign(blocks: Sequence[_Block]) -> CodeCell:
    """A cell of the language of the first block that is code."""
    coded = [block for block in blocks if block.language not in _OUTPUT] or blocks
    first = coded[0].language
    source = "\n\n".join(block.code for block in coded if block.language == first)
    remark = _left_out(coded, {first})
    if first not in _MAGICS:
        return CodeCell(source, first, _joined(f"{first}, not Python", remark))
    magic = _MAGICS[first] or first
    if first in _SHELL:
        source = "\n".join(_PROMPT.sub("", line) for line in source.split("\n"))
    return CodeCell(f"%%{magic}\n{source}", magic, remark)


def _python(blocks: Sequence[_Block], as_python: Callable[[str], str]) -> CodeCell:
    parts = [
        _as_lines(block.code) if block.language in _SHELL else block.code
        for block in blocks
        if block.language in _PYTHON | _SHELL
    ]
    source = "\n\n".join(part for part in parts if part.strip())
    left_out = _left_out(blocks, _PYTHON | _SHELL | _OUTPUT)
    return CodeCell(source, remark=_joined(_doubt(source, as_python), left_out))


def _blocks(answer: str) -> list[_Block]:
    """The fenced blocks. One without a language is Python, or, beside Python, what that prints."""
    tokens = [token for token in MarkdownIt("commonmark").parse(answer) if token.type == "fence"]
    languages = [(token.info.split() or [""])[0].strip("{}.").lower() for token in tokens]
    unnamed = "text" if _PYTHON.intersection(languages) else "python"
    return [
        _Block(language or unnamed, token.content.rstrip("\n"))
        for language, token in zip(languages, tokens, strict=True)
    ]


def _as_lines(code: str) -> str:
    """Commands for a shell among Python: ``pip`` into this kernel's own environment, all else with ``!``."""
    lines = (_PROMPT.sub("", line).strip() for line in code.split("\n"))
    return "\n".join(
        f"%{line}" if re.match(r"(?:pip|conda) install\b", line) else f"!{line}"
        for line in lines
        if line and not line.startswith("#")
    )


def _doubt(source: str, as_python: Callable[[str], str]) -> str:
    """Why this will not run, if it is no Python."""
    if not source:
        return "no code in the answer"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes such as "\d"
            ast.parse(as_python(source))
    except SyntaxError as error:
        line = f", line {error.lineno}" if error.lineno else ""
        return f"not valid Python: {error.msg}{line}"
    except (ValueError, RecursionError, MemoryError) as error:
        return f"not valid Python: {error}"
    return ""


def _left_out(blocks: Sequence[_Block], kept: frozenset[str] | set[str]) -> str:
    languages = dict.fromkeys(block.language for block in blocks if block.language not in kept)
    return f"left out: {', '.join(languages)}" if languages else ""


def _joined(*remarks: str) -> str:
    return "; ".join(filter(None, remarks))
