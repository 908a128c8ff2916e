"""Warns of a key that is written into a cell, where it is saved with the notebook and with the history.

A cell is looked at before it runs. What counts is a text of the shape of a provider's key, a literal that a
name like ``api_key`` or ``HF_TOKEN`` is set to, or a password in the address of a Redis server. Placeholders
and names of variables do not. Nearly every cell holds no word that a key could begin with or follow, which is
found out in microseconds.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

__all__ = ["MASK", "KeyWatch", "keys_in", "without_keys"]

# How keys begin, and what follows. Prefixes are looked for first, because that costs next to nothing.
_SHAPES = {
    "sk-": r"[\w-]{20,}",  # OpenAI, Anthropic, OpenRouter, DeepSeek
    "hf_": r"[A-Za-z0-9]{20,}",
    "gsk_": r"[A-Za-z0-9]{20,}",
    "AIza": r"[\w-]{30,}",
    "xai-": r"[A-Za-z0-9]{20,}",
    "pplx-": r"[A-Za-z0-9]{20,}",
    "nvapi-": r"[\w-]{20,}",
    "r8_": r"[A-Za-z0-9]{20,}",
    "Bearer ": r"[\w.~+/-]{16,}",  # whoever's it is: what stands in a header
}
# The last word of a key's name, and the words before it that make it one.
_LAST_WORDS = ("key", "KEY", "Key", "token", "TOKEN", "Token")
_FIRST_WORDS = ("api", "secret", "access", "auth", "hf", "huggingface")
_LONGEST_FIRST = 12  # characters, with a "_"
# Compiled where first used, so that importing stays cheap.
# What may stand between a name and the literal it is set to: api_key: str = "...", {"api_key": "..."},
# environ["API_KEY"] = "...", setdefault("API_KEY", "...").
_LITERAL = r"""(?:["']\]?\s*[=:,]|\s*(?::\s*str\s*)?[=:])\s*[rRuUbB]?(["'])([^"'\n]+)\1"""
_BARE = r"[= ]\s*([^\s\"']+)"
_SETS_VARIABLE = r"\s*(?:%(?:set_)?env|!?\s*export|%?set)\s+\w*"

_REDIS = "redis://…@"
_PASSWORD = r"""rediss?://[^\s/@:"']*:([^\s/@"']+)@"""
_FILLED_IN = r"[{}<>$*…]|\.\.\."  # whatever stands in the place of a password

MASK = "***"
_SHORTEST = 12  # characters of a key
_LONGEST = 1_000  # characters that are looked at behind a name
_FEWEST = 6  # different characters of a key
_PLACEHOLDER = (
    r"(?i)[\s{}<>$*…]|://|\.\.\.|xxx|your|placeholder|example|dummy|fake|change.?me|insert|replace|api.?key|secret|"
    r"password|needed|required|123456789"
)
_WARNING = (
    "Careful: line {line} of this cell holds what looks like {what} ({kind}). It is saved with the "
    "notebook and in IPython's history. Take it out, and put it into a file .env, or keep it with "
    "`farm config set-key`, or ask for it with getpass.getpass(). If the notebook was shared, revoke it."
)


class KeyWatch:
    """Warns of each kind of key once, and once a cell."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def look(self, info: Any) -> None:
        """For the event ``pre_run_cell``."""
        cell: str = info.raw_cell or ""
        found = list(keys_in(cell))
        news = [(kind, position) for kind, position in found if kind not in self._told]
        self._told.update(kind for kind, _ in found)
        if news:
            kind, position = news[0]
            line = cell.count("\n", 0, position) + 1
            what = "a password" if kind == _REDIS else "an API key"
            print(_WARNING.format(line=line, what=what, kind=kind), file=sys.stderr)


def keys_in(cell: str) -> Iterator[tuple[str, int]]:
    """What looks like a key in a cell's text: how that kind is told, never the key, and where it stands."""
    for kind, start, _ in _found(cell):
        yield kind, start


def without_keys(text: str) -> str:
    """A text, such as a cell's, with ``***`` in the place of what looks like a key in it."""
    for secret in sorted({secret for _, _, secret in _found(text)}, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def _found(cell: str) -> Iterator[tuple[str, int, str]]:
    """Each key: how its kind is told, where it stands, and what is to be kept secret of it."""
    for prefix, rest in _SHAPES.items():
        if prefix in cell:
            for found in re.finditer(rf"(?<![\w-]){prefix}({rest})", cell):
                if any(each.isdigit() for each in found[1]) and not _is_placeholder(found[1]):
                    yield f"{prefix}…", found.start(), found[1]
    if "redis" in cell:
        for found in re.finditer(_PASSWORD, cell):
            if not re.search(_FILLED_IN, found[1]):
                yield _REDIS, found.start(), found[1]
    for word in _LAST_WORDS:
        position = cell.find(word)
        while position >= 0:
            end = position + len(word)
            if _completes_name(cell, position):
                literal = _literal_after(cell, position, end)
                if not _is_placeholder(literal):
                    yield "the value of a name such as api_key", position, literal
            position = cell.find(word, end)


def _completes_name(cell: str, position: int) -> bool:
    """Whether the word there ends a name such as ``OPENAI_API_KEY``."""
    before = cell[max(0, position - _LONGEST_FIRST) : position].lower()
    return before.removesuffix("_").endswith(_FIRST_WORDS)


def _literal_after(cell: str, start: int, end: int) -> str:
    """What a name is set to, if that is a literal; else nothing."""
    after = cell[end : end + _LONGEST]
    if literal := re.match(_LITERAL, after):
        return literal[2]
    before = cell[cell.rfind("\n", 0, start) + 1 : start]
    bare = re.match(_BARE, after) if re.fullmatch(_SETS_VARIABLE, before) else None
    return bare[1] if bare else ""


def _is_placeholder(text: str) -> bool:
    """Whether a text only stands for a key, or names the variable that holds it."""
    is_plain = not any(each.isdigit() for each in text) and (text.islower() or text.isupper())
    return (
        len(text) < _SHORTEST
        or len(set(text)) < _FEWEST
        or is_plain
        or re.search(_PLACEHOLDER, text) is not None
    )
