"""Takes secrets out of what is put before a prompt: nobody reads a notebook through before it is sent."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace

from farm_notebook.config import FarmConfig
from farm_notebook.notebook.context.piece import Piece
from farm_notebook.notebook.keys import MASK, without_keys
from farm_notebook.stores.redaction import Redaction, secrets_of

__all__ = ["clean", "cleaner", "without_secrets"]

# Names are bounded, so that a search takes linear time.
_WORDS = r"passw(?:or)?d|passphrase|secret|api_?key|(?:access|auth|private)_?(?:key|token)"
_NAME = rf"[\w-]{{0,40}}(?:{_WORDS})[\w-]{{0,40}}"
_LITERAL = re.compile(  # password="...", {'db_password': '...'}
    rf"""(?i)((?<![\w-]){_NAME}["']?\]?\s*[:=]\s*[a-z]{{0,2}}(["']))((?:(?!\2)[^\n\\]|\\.)+)(?=\2)"""
)
_VARIABLE = re.compile(  # PASSWORD=..., as in a dotenv file
    r"(?m)^((?:export )?[A-Z0-9_]{0,40}(?:PASSWORD|PASSWD|SECRET|TOKEN|API_KEY|ACCESS_KEY|PRIVATE_KEY)"
    r"[A-Z0-9_]{0,40}=)"
    r"(?!$)[^\s\"'{].*$"
)
_IN_ADDRESS = re.compile(r"(://[^\s/:@\"']*:)[^\s/@\"'{}]+(?=@)")  # postgresql://user:...@host
_PRIVATE_KEY = re.compile(
    r"(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(?=-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)


def cleaner(config: FarmConfig) -> Callable[[str], str]:
    """A function that masks the keys and passwords of a configuration, and what else looks like one."""
    redaction = Redaction(lambda: secrets_of(config))
    return lambda text: without_secrets(redaction(text))


def without_secrets(text: str) -> str:
    """A text with ``***`` in the place of what it says is a password or a key, or what is shaped like one."""
    text = _PRIVATE_KEY.sub(rf"\1\n{MASK}\n", without_keys(text))
    text = _IN_ADDRESS.sub(rf"\1{MASK}", text)
    return _VARIABLE.sub(rf"\1{MASK}", _LITERAL.sub(rf"\1{MASK}", text))


def clean(pieces: Iterable[Piece], mask: Callable[[str], str]) -> list[Piece]:
    """Pieces without secrets.

    Args:
        pieces: What is to be told.
        mask: As of ``cleaner``.
    """
    return [replace(piece, text=mask(piece.text), output=mask(piece.output)) for piece in pieces]
