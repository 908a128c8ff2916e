"""Model output is untrusted: what is done to it before a front end may turn it into HTML.

Front ends trust the outputs of a cell that has just run, and Markdown may carry raw HTML, so a
model's ``<script>`` would run in the notebook's page. Markdown keeps its meaning here and loses only
that: raw HTML becomes visible text, links keep their address only where it is a web or mail address,
and images become links, so that showing an answer fetches nothing.

JupyterLab takes formulas out before it reads Markdown, and puts them back into the HTML it has made,
also into an attribute. Where there may be formulas, no quote that would end an attribute is left.

The result is parsed again and must hold none of these. What does not pass, because it was built so
that parsers disagree on what is code in it, is shown as text.
"""

from __future__ import annotations

import html
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from itertools import groupby

import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token

__all__ = ["as_inline_text", "closed", "printable", "safe_html", "safe_markdown"]

_ALLOWED_SCHEMES = frozenset({"http", "https", "mailto"})
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.\-]*):")
_IGNORED_IN_URLS = re.compile(r"[\x00-\x20\x7f-\xa0]")
# Without one of these there is no tag, no image, and no link but to a plain web address: most answers
# need no parser.
_SUSPICIOUS = re.compile(r"<[a-zA-Z/!?]|\]\((?!https?://[\w\-./?=&%#:+~,;@]*\))|\]:|!\[")
_MATH_DELIMITER = re.compile(r"\$|\\\\[(\[]|\\begin\{", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_FENCE_MARK = re.compile(r"`{3,}|~{3,}")
_PLAIN_FENCE = re.compile(r"^(`{3,}|~{3,})([^`\n]*)$", re.MULTILINE)
_FENCE_INFO = re.compile(r"^([ \t>*+\-\d.)]*(?:`{3,}|~{3,})[ \t]*)([\w+#.-]*)([^\r\n]*)")
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")  # CommonMark's; str.splitlines knows more
_BACKTICKS = re.compile(r"`+")
_SPAN_START = re.compile(r"\\[\\`]|`+")
_MATH = re.compile(r"(\$\$[^$]+\$\$|(?<![\\$])\$(?![\s$])[^$\n]*(?<!\s)\$(?!\d))")
_AUTOLINK = r"(?:https?://|mailto:)[^\s<>]*>"
_TAG_START = re.compile(rf"(?<!\\)(\\*)<(?!{_AUTOLINK})(?=[a-zA-Z/!?])")
_IMAGE = re.compile(r"(?:(?<![\\!])|(?<=\\!))!+(?=\[([^\[\]]{0,200}\]\()?)")
_LONGEST_START = 200  # characters of an address that are looked at: enough for any honest scheme
_LINK_TARGET = re.compile(rf"\](?=\(\s*(<?[^\s)>]{{0,{_LONGEST_START}}}))")
_BRACKET = re.compile(r"[\[\]]")
_DEFINITION = re.compile(rf"\]:(?=\s*(\S{{1,{_LONGEST_START}}}))")

_DEEPEST_BRACKET = 20
_DEEPEST = 100  # the nesting up to which the parsers of front ends read on

_CODE = -1
_BETWEEN = -2


def safe_markdown(text: str) -> str:
    """The same Markdown with no raw HTML, no images and no links that could run code.

    Code blocks and code spans are left as they are: front ends show them as text.
    """
    has_formulas = '"' in text and _MATH_DELIMITER.search(text) is not None
    if not has_formulas and not _SUSPICIOUS.search(text):
        return text
    pieces: list[str] = []
    for block, group in groupby(_lines_by_block(text), key=lambda pair: pair[0]):
        lines = "".join(line for _, line in group)
        if block == _CODE:
            pieces.append(_without_info(lines) if has_formulas else lines)
        else:
            pieces.append(_safe_prose(lines, has_spans=block != _BETWEEN, has_formulas=has_formulas))
    safe = "".join(pieces)
    return safe if _is_inert(safe) else _as_text(text)


def printable(text: str) -> str:
    """Text that cannot move the cursor, colour the screen or change a terminal's settings."""
    return _CONTROL.sub("", text)


def closed(text: str) -> str:
    """Markdown whose last code block is closed, so that what is written below it stays outside."""
    if _has_plain_fences_only(text):
        return text
    last = _block_parser().parse(f"{text}\n\nbelow")[-1]
    return f"{text}\n{last.markup}" if last.type == "fence" else text


def _has_plain_fences_only(text: str) -> bool:
    """Whether every fence stands at the start of its line and is closed: so nearly always, and no parser is
    needed to see it. One that is indented may belong to a list, and end with it; one with a backtick after it
    may open nothing.
    """
    opened = ""
    marks = 0
    for mark, rest in _PLAIN_FENCE.findall(text):
        marks += 1
        if not opened:
            opened = mark
        elif mark.startswith(opened) and not rest.strip():
            opened = ""
    return not opened and marks == len(_FENCE_MARK.findall(text))


def as_inline_text(text: str) -> str:
    """Plain text as Markdown and HTML that show just this text."""
    return re.sub(r"([\\`*_\[\]$|~])", r"\\\1", html.escape(text))


def safe_html(markup: str) -> str:
    """The same HTML without scripts, event handlers, styles that load, images or active links."""
    tags = set(nh3.ALLOWED_TAGS) - {"img", "map", "area"}
    return nh3.clean(markup, tags=tags, url_schemes=set(_ALLOWED_SCHEMES))


@cache
def _block_parser() -> MarkdownIt:
    """A parser that only tells the blocks apart, and knows none of HTML."""
    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": _DEEPEST}).enable("table")
    parser.core.ruler.disable("inline")
    return _trusting(parser)


@cache
def _whole_parser(*, tables: bool) -> MarkdownIt:
    """A parser as front ends have them, with all HTML."""
    parser = MarkdownIt("commonmark", {"html": True, "maxNesting": _DEEPEST})
    return _trusting(parser.enable("table") if tables else parser)


def _trusting(parser: MarkdownIt) -> MarkdownIt:
    """The parser letting every address pass: which are safe is decided here."""
    parser.validateLink = lambda url: True  # type: ignore[method-assign]  # its way to be configured
    return parser


def _lines_by_block(text: str) -> Iterator[tuple[int, str]]:
    """Each line with the number of its paragraph, ``_CODE`` in code blocks, ``_BETWEEN`` elsewhere.

    The text is parsed as if there were no HTML blocks, since none will be left.
    """
    lines = _LINE.findall(text)
    blocks = [_BETWEEN] * len(lines)
    for number, token in enumerate(_block_parser().parse(text)):
        if token.type in ("fence", "code_block", "inline") and token.map:
            first, end = token.map
            for line in range(first, min(end, len(lines))):
                blocks[line] = number if token.type == "inline" else _CODE
    return zip(blocks, lines, strict=True)


def _without_info(code: str) -> str:
    """A fence that says its language and nothing else, for what it says becomes an attribute."""
    return "".join(_FENCE_INFO.sub(_info_kept, line) for line in _LINE.findall(code))


def _info_kept(fence: re.Match[str]) -> str:
    return fence[0] if '"' not in fence[3] else f"{fence[1]}{fence[2]}"


def _safe_prose(text: str, *, has_spans: bool, has_formulas: bool) -> str:
    pieces: list[str] = []
    position = 0
    for start, end in _code_spans(text) if has_spans else ():
        pieces += [_neutralise(text[position:start], has_formulas=has_formulas), text[start:end]]
        position = end
    pieces.append(_neutralise(text[position:], has_formulas=has_formulas))
    return "".join(pieces)


def _code_spans(text: str) -> Iterator[tuple[int, int]]:
    """Where code spans are: a run of backticks, up to the next run of the same length."""
    runs: defaultdict[int, list[int]] = defaultdict(list)
    for run in _BACKTICKS.finditer(text):
        runs[len(run[0])].append(run.start())
    position = 0
    while opener := _SPAN_START.search(text, position):
        position = opener.end()
        closers = runs[len(opener[0])] if opener[0][0] == "`" else []
        if (index := bisect_left(closers, position)) < len(closers):
            position = closers[index] + len(opener[0])
            yield opener.start(), position


def _neutralise(text: str, *, has_formulas: bool) -> str:
    text = _LINK_TARGET.sub(lambda m: "]" if _is_safe_url(m[1]) else "]\\", text)
    text = _DEFINITION.sub(lambda m: "]:" if _is_safe_url(m[1]) else "]\\:", text)
    text = _without_deep_brackets(text)
    text = _IMAGE.sub(lambda m: r"\!" * (len(m[0]) - (m[1] is not None)), text)
    pieces = _MATH.split(text)
    pieces[::2] = (_TAG_START.sub(_as_entity, piece) for piece in pieces[::2])
    # A front end takes formulas out before it reads Markdown and would show an entity as it is written.
    pieces[1::2] = (_TAG_START.sub(r"\1< ", piece) for piece in pieces[1::2])
    if has_formulas:
        pieces[::2] = (piece.replace('"', "&quot;") for piece in pieces[::2])
        pieces[1::2] = (piece.replace('"', "''") for piece in pieces[1::2])
    return "".join(pieces)


def _without_deep_brackets(text: str) -> str:
    """Brackets beyond any sane nesting as entities: a parser takes time with each level of them."""
    if text.count("[") <= _DEEPEST_BRACKET:
        return text
    depth = 0

    def shown(bracket: re.Match[str]) -> str:
        nonlocal depth
        depth = depth + 1 if bracket[0] == "[" else max(0, depth - 1)
        return "&#91;" if bracket[0] == "[" and depth > _DEEPEST_BRACKET else bracket[0]

    return _BRACKET.sub(shown, text)


def _as_entity(tag_start: re.Match[str]) -> str:
    backslashes = tag_start[1]
    return f"{backslashes[: len(backslashes) // 2 * 2]}&lt;"  # the odd one escaped what is no longer there


def _is_safe_url(url: str) -> bool:
    """A relative address, or one with an allowed scheme, however it is disguised."""
    bare = _IGNORED_IN_URLS.sub("", html.unescape(html.unescape(url)).replace("\\", "")).lstrip("<")
    if scheme := _SCHEME.match(bare):
        return scheme[1].lower() in _ALLOWED_SCHEMES
    return len(url) < _LONGEST_START or bool(re.search("[/?]", bare))  # behind which no scheme can come


def _is_inert(text: str) -> bool:
    """Whether parsers, with tables or without, find nothing in a Markdown text that could act."""
    tokens = _whole_parser(tables=True).parse(text)
    if any(token.type == "table_open" for token in tokens):
        tokens += _whole_parser(tables=False).parse(text)
    return all(_is_inert_token(token) for token in tokens)


def _is_inert_token(token: Token) -> bool:
    if token.type in ("html_block", "html_inline", "image"):
        return False
    if token.type == "link_open" and not _is_safe_url(str(token.attrGet("href"))):
        return False
    return all(_is_inert_token(child) for child in token.children or ())


def _as_text(text: str) -> str:
    """No HTML, image or link in it by any parser's reading; in code the entities stay visible."""
    return text.replace("<", "&lt;").replace("[", "&#91;").replace('"', "&quot;")
