"""Texts as vectors, a batch at a time: so that it can be told how far it is, and what is done stays."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from farm_notebook.errors import FarmError
from farm_notebook.notebook.session import Session
from farm_notebook.notebook.status import StatusLine
from farm_notebook.types import Embeddings, Usage

__all__ = ["Embedded", "embed_texts"]

BATCH = 64  # texts
HINT = (
    "`-m NAME` names a model that embeds, as in ollama:nomic-embed-text or openai:text-embedding-3-small; "
    "`%config FarmMagics.embedding_model` does so for all cells."
)


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors of texts, and how long they took.

    Args:
        embeddings: One unit vector a text.
        took_s: Seconds that the model's calls took; replayed, those of the recording.
    """

    embeddings: Embeddings
    took_s: float


def embed_texts(session: Session, texts: Sequence[str], *, model: str | None, line: StatusLine) -> Embedded:
    """One unit vector a text; equal ones are asked for once.

    Args:
        session: Of the shell; its farm keeps the vectors.
        texts: At least one.
        model: Its name; ``None`` is the default for embeddings, else the one that answers.
        line: Tells how far it is.

    Raises:
        FarmError: The model does not embed, or failed.
        KeyboardInterrupt: Saying what is kept.
    """
    named = model or session.defaults.embedding_model.strip() or None
    wanted = list(dict.fromkeys(texts))
    found: dict[str, tuple[float, ...]] = {}
    counts: list[int | None] = []
    took_s = 0.0
    try:
        for batch in _batches(wanted):
            if len(wanted) > BATCH:
                line.show(f"Embedding … {len(found):,} of {len(wanted):,} texts")
            called = time.monotonic()
            made = session.farm.embed(batch, model=named)
            took_s += session.took_s("embed", time.monotonic() - called)
            found |= zip(batch, made.vectors, strict=True)
            counts.append(made.usage.input_tokens)
            named = str(made.ref)  # what was picked for the first goes on with the rest
    except KeyboardInterrupt:
        line.discard()
        raise KeyboardInterrupt(_stopped(len(found), session)) from None
    except FarmError as error:
        line.discard()
        if named is None:
            error.args = (f"{error} {HINT}",)
        raise
    usage = Usage(None if None in counts else sum(count or 0 for count in counts))
    return Embedded(Embeddings(tuple(found[text] for text in texts), made.ref, usage), took_s)


def _batches(texts: Sequence[str]) -> list[Sequence[str]]:
    return [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]


def _stopped(done: int, session: Session) -> str:
    if not done:
        return "You stopped it."
    is_kept = session.farm.config.cache.enabled
    rest = (
        "the vectors of these are kept, and the same line goes on from there" if is_kept else "none is kept"
    )
    return f"You stopped it after {done:,} texts; {rest}."
