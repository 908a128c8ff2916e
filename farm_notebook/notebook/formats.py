"""What an answer is shown as: the mime bundle of a finished reply and of a piece still streaming."""

from __future__ import annotations

import html
import json
import re
from abc import ABC, abstractmethod
from typing import Any, ClassVar, TypeAlias

from markdown_it import MarkdownIt

from farm_notebook.notebook.options import FormatName
from farm_notebook.notebook.segments import split_lines, split_markdown
from farm_notebook.reply import Reply
from farm_notebook.sanitize import as_inline_text, safe_html, safe_markdown

__all__ = [
    "FORMATS",
    "Bundle",
    "CodeFormat",
    "Format",
    "code_bundle",
    "fence",
    "fenced_code",
    "has_footer",
    "remark_bundle",
    "with_remark",
]

Bundle: TypeAlias = dict[str, Any]

LONGEST_PLAIN = 2_000  # characters
_WITHOUT_FOOTER = frozenset({"application/json", "text/latex"})

_MATH_DELIMITERS = re.compile(r"^\s*(?:\$\$|\\\[|\\\(|\$)(.*?)(?:\$\$|\\\]|\\\)|\$)\s*$", re.S)


class Format(ABC):
    """One value of ``--format``.

    ``instruction`` is put to the model as a system message. ``is_shown_as_it_streams`` says that the
    finished answer is its previews put together, so that parts of it may stay on the page.
    """

    instruction: ClassVar[str | None] = None
    is_shown_as_it_streams: ClassVar[bool] = False

    def preview(self, text: str) -> Bundle:
        """A piece of an answer that is still streaming."""
        return {"text/plain": text}

    def split(self, text: str) -> tuple[str, str] | None:
        """Where a piece that has grown long may be cut while it streams; see ``segments``."""
        return split_lines(text)

    @abstractmethod
    def final(self, reply: Reply) -> Bundle:
        """The whole answer."""


class MarkdownFormat(Format):
    is_shown_as_it_streams = True

    def preview(self, text: str) -> Bundle:
        return {"text/markdown": safe_markdown(text)}

    def split(self, text: str) -> tuple[str, str] | None:
        return split_markdown(text)

    def final(self, reply: Reply) -> Bundle:
        data = reply._repr_mimebundle_()[0]
        return data | {"text/plain": _shortened(data["text/plain"])}


class TextFormat(Format):
    is_shown_as_it_streams = True

    def final(self, reply: Reply) -> Bundle:
        return {"text/plain": f"{reply.text}\n\n{reply.footer}"}


class CodeFormat(Format):
    """Shown as code; the magic also puts it into the next cell."""

    instruction = "Answer with Python code only, in one fenced code block, without explanations."

    def preview(self, text: str) -> Bundle:
        return {"text/markdown": fence(text)}

    def final(self, reply: Reply) -> Bundle:
        return code_bundle(fenced_code(reply.text), "python", reply.footer)


class JsonFormat(Format):
    instruction = "Answer with one JSON value only, without explanations."

    def final(self, reply: Reply) -> Bundle:
        text = fenced_code(reply.text)
        try:
            value = json.loads(text)
            pretty = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
            pretty.encode()  # Python reads NaN and half characters too, which no message can carry
        except (ValueError, RecursionError):
            return {"text/plain": f"{reply.text}\n\nNot JSON. {reply.footer}"}
        return {"application/json": value, "text/plain": pretty}


class HtmlFormat(Format):
    """Sanitised: no scripts, no event handlers, nothing that loads."""

    instruction = "Answer with an HTML fragment only, without Markdown and without explanations."

    def final(self, reply: Reply) -> Bundle:
        markup = safe_html(fenced_code(reply.text))
        footer = f"<p><small>{html.escape(reply.footer)}</small></p>"
        return {"text/html": f"{markup}\n{footer}", "text/plain": f"{reply.text}\n\n{reply.footer}"}


class MathFormat(Format):
    instruction = "Answer with one LaTeX formula only, without delimiters and without explanations."

    def final(self, reply: Reply) -> Bundle:
        formula = fenced_code(reply.text).strip()
        if delimited := _MATH_DELIMITERS.match(formula):
            formula = delimited[1].strip()
        # A lone $ would end the formula and hand the rest to the page as text; a last \ would not let it end.
        formula = re.sub(r"(\\.)|[\\$]", r"\1", formula, flags=re.S)
        return {"text/latex": f"$\\displaystyle {formula}$", "text/plain": f"{formula}\n\n{reply.footer}"}


FORMATS: dict[FormatName, Format] = {
    "markdown": MarkdownFormat(),
    "text": TextFormat(),
    "code": CodeFormat(),
    "json": JsonFormat(),
    "html": HtmlFormat(),
    "math": MathFormat(),
}


def fenced_code(text: str) -> str:
    """The content of the answer's fenced blocks, joined by a blank line; the whole text where it has none."""
    tokens = MarkdownIt("commonmark").parse(text)
    blocks = [token.content.rstrip("\n") for token in tokens if token.type == "fence"]
    return "\n\n".join(blocks) if blocks else text.strip()


def code_bundle(code: str, language: str, footer: str) -> Bundle:
    """Code as it is shown, with a small line below.

    Args:
        code: The code.
        language: As for a fenced block; it is not trusted.
        footer: Plain text.
    """
    word = re.sub(r"[^\w+#-]", "", language)
    return {
        "text/markdown": f"{fence(code, word)}\n\n<small>{as_inline_text(footer)}</small>",
        "text/plain": f"{code}\n\n{footer}",
    }


def with_remark(data: Bundle, remark: str) -> Bundle:
    """An answer with one more small line below its footer, in the forms that have a footer.

    Args:
        data: The bundle of a finished answer.
        remark: Plain text, not trusted; empty adds nothing.
    """
    if not remark or not has_footer(data):
        return data
    line = " ".join(remark.split())
    below = {
        "text/markdown": f"\n\n<small>{as_inline_text(line)}</small>",
        "text/html": f"\n<p><small>{html.escape(line)}</small></p>",
        "text/plain": f"\n{line}",
    }
    return {kind: value + below.get(kind, "") for kind, value in data.items()}


def has_footer(data: Bundle) -> bool:
    """Whether an answer has a line below it; JSON and a formula stand by themselves."""
    return _WITHOUT_FOOTER.isdisjoint(data)


def remark_bundle(remark: str) -> Bundle:
    """The small line by itself, for an answer that has no footer; plain text, not trusted."""
    line = " ".join(remark.split())
    return {"text/markdown": f"<small>{as_inline_text(line)}</small>", "text/plain": line}


def _shortened(text: str) -> str:
    """Plain text beside the Markdown that says the same, for viewers that know no Markdown; a long one
    would double the notebook's file.
    """
    more = len(text) - LONGEST_PLAIN
    return text if more <= 0 else f"{text[:LONGEST_PLAIN]}…\n({more:,} more characters in the Markdown)"


def fence(code: str, language: str = "") -> str:
    """Code in a fence longer than any run of backticks in it."""
    longest = max((len(run) for run in re.findall(r"`{3,}", code)), default=2)
    mark = "`" * (longest + 1)
    return f"{mark}{language}\n{code}\n{mark}"
