"""From the bytes of a file to its text: which encoding it is in, and whether it is text at all."""

from __future__ import annotations

import codecs
import io
import re
import tokenize

__all__ = ["as_string"]

_MARKS = (  # of a byte order; those of UTF-32 first, because they begin like those of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LOOKED_AT = 4_096  # bytes
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")  # without tab, line ends, form feed and escape
MOST_CONTROLS = 0.01  # of all characters; a log may hold one


def as_string(data: bytes, *, is_python: bool = False) -> str | None:
    """A text, with its line ends as ``\\n``.

    A byte order mark counts first, then what a Python file says of itself, then UTF-8, which other text
    hardly ever happens to be, then UTF-16 without a mark, then Windows' Western European encoding.

    Args:
        data: A file's bytes, or its first ones: a character that is cut at the end is left out.
        is_python: Whether a line such as ``# -*- coding: latin-1 -*-`` counts (PEP 263).

    Returns:
        ``None`` where it is no text.
    """
    for encoding in _candidates(data, is_python=is_python):
        try:
            text = codecs.getincrementaldecoder(encoding)().decode(data)
        except (UnicodeError, LookupError):
            continue
        if len(_CONTROLS.findall(text)) <= MOST_CONTROLS * len(text):
            return text.replace("\r\n", "\n").replace("\r", "\n")
    return None


def _candidates(data: bytes, *, is_python: bool) -> list[str]:
    if marked := next((encoding for mark, encoding in _MARKS if data.startswith(mark)), None):
        return [marked]
    start = data[:_LOOKED_AT]
    found = ["utf-8"]
    if is_python and (declared := _declared(start)):
        found.insert(0, declared)
    if b"\0" in start:  # ASCII in UTF-16 has one in every second place
        even, odd = start[::2].count(0), start[1::2].count(0)
        return ["utf-16-le" if odd > even else "utf-16-be"] if max(even, odd) > 4 * min(even, odd) else []
    return [*found, "cp1252"]


def _declared(start: bytes) -> str | None:
    try:
        return tokenize.detect_encoding(io.BytesIO(start).readline)[0]
    except SyntaxError:
        return None
