"""Model output is untrusted: what is done to it before a front end may turn it into HTML.

Front ends trust the outputs of a cell that has just run, and Markdown may carry raw HTML, so a
model's ``<script>`` would run in the notebook's page. Markdown keeps its meaning here and loses only
that: raw HTML becomes visible text, links keep their address only where it is a web or mail address,
and images become links, so that showing an answer fetches nothing.
"""

from __future__ import annotations

import html
import re
from functools import cache

import nh3
from markdown_it import MarkdownIt

__all__ = ["safe_html", "safe_markdown"]

_ALLOWED_SCHEMES = frozenset({"http", "https", "mailto"})
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.\-]*):")
_IGNORED_IN_URLS = re.compile(r"[\x00-\x20\x7f-\xa0]")
# A backslash escape, or a run of backticks with what it encloses up to a run of the same length.
_CODE_SPAN = re.compile(r"\\[\\`]|(?<!`)(`+)(?!`)[\s\S]*?(?<!`)\1(?!`)")
_TAG_START = re.compile(r"<(?=[a-zA-Z/!?])")
_IMAGE = re.compile(r"!(?=\[)")
_LINK_TARGET = re.compile(r"(\])(\(\s*)(<?[^\s)>]*)")
_DEFINITION = re.compile(r"^([ \t>*+\-]*)(\[[^\]\n]+\]:)(\s*)(\S+)", re.MULTILINE)


def safe_markdown(text: str) -> str:
    """The same Markdown with no raw HTML, no images and no links that could run code.

    Code blocks and code spans are left as they are: front ends show them as text.
    """
    if not re.search(r"[<\]]", text):
        return text
    lines = text.splitlines(keepends=True)
    is_code = _code_lines(text, len(lines))
    pieces: list[str] = []
    start = 0
    for index in range(1, len(lines) + 1):
        if index == len(lines) or is_code[index] != is_code[start]:
            block = "".join(lines[start:index])
            pieces.append(block if is_code[start] else _safe_prose(block))
            start = index
    return "".join(pieces)


def safe_html(markup: str) -> str:
    """The same HTML without scripts, event handlers, styles that load, images or active links."""
    tags = set(nh3.ALLOWED_TAGS) - {"img", "map", "area"}
    return nh3.clean(markup, tags=tags, url_schemes=set(_ALLOWED_SCHEMES))


@cache
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark").enable("table")


def _code_lines(text: str, count: int) -> list[bool]:
    """For each line, whether it belongs to a code block and so is shown as text."""
    is_code = [False] * count
    for token in _parser().parse(text):
        if token.type in ("fence", "code_block") and token.map:
            for line in range(token.map[0], min(token.map[1], count)):
                is_code[line] = True
    return is_code


def _safe_prose(text: str) -> str:
    pieces: list[str] = []
    position = 0
    for span in _CODE_SPAN.finditer(text):
        if span.group(1) is None or re.search(r"\n[ \t]*\n", span.group()):
            continue
        pieces += [_neutralise(text[position : span.start()]), span.group()]
        position = span.end()
    pieces.append(_neutralise(text[position:]))
    return "".join(pieces)


def _neutralise(text: str) -> str:
    text = _LINK_TARGET.sub(lambda m: m.group() if _is_safe_url(m[3]) else rf"{m[1]}\{m[2]}{m[3]}", text)
    text = _DEFINITION.sub(lambda m: m.group() if _is_safe_url(m[4]) else rf"{m[1]}\{m[2]}{m[3]}{m[4]}", text)
    return _IMAGE.sub("", _TAG_START.sub("&lt;", text))


def _is_safe_url(url: str) -> bool:
    """A relative address, or one with an allowed scheme, however it is disguised."""
    bare = _IGNORED_IN_URLS.sub("", html.unescape(html.unescape(url)).replace("\\", "")).lstrip("<")
    scheme = _SCHEME.match(bare)
    return scheme is None or scheme[1].lower() in _ALLOWED_SCHEMES
