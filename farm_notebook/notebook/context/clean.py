"""Takes secrets out of what is put before a prompt: nobody reads a notebook through before it is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from farm_notebook.config import FarmConfig
from farm_notebook.notebook.context.piece import Piece
from farm_notebook.notebook.keys import without_keys
from farm_notebook.stores.redaction import Redaction, secrets_of

__all__ = ["clean", "cleaner"]


def cleaner(config: FarmConfig) -> Callable[[str], str]:
    """A function that masks the keys and passwords of a configuration, and whatever else looks like a key."""
    redaction = Redaction(lambda: secrets_of(config))
    return lambda text: without_keys(redaction(text))


def clean(pieces: Iterable[Piece], mask: Callable[[str], str]) -> list[Piece]:
    """Pieces without secrets.

    Args:
        pieces: What is to be told.
        mask: As of ``cleaner``.
    """
    return [replace(piece, text=mask(piece.text), output=mask(piece.output)) for piece in pieces]
