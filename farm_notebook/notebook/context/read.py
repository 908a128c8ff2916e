"""Reads what is to be put before a prompt out of a shell and its farm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from farm_notebook import loop
from farm_notebook.errors import InvalidRequestError
from farm_notebook.notebook.context.budget import Context
from farm_notebook.notebook.context.clean import cleaner
from farm_notebook.notebook.context.gather import Wanted, budget_of, gather
from farm_notebook.notebook.context.piece import Piece
from farm_notebook.notebook.context.shell import cells_of

if TYPE_CHECKING:
    from farm_notebook.notebook.session import Session

__all__ = ["read_context"]


def read_context(
    session: Session,
    wanted: Wanted,
    *,
    model: str | None = None,
    tokens: int | None = None,
    first: Sequence[Piece] = (),
) -> Context:
    """What is put before a prompt; nobody is asked anything where nothing is.

    Args:
        session: The shell's.
        wanted: What the user asked for.
        model: Who will read it, whose window says how much it may be; ``None`` is the default.
        tokens: How much it may be, where the user says so.
        first: What the magic itself puts before all else.

    Raises:
        FarmError: Something of it is not there; says what is valid.
    """
    if tokens is not None and tokens < 1:
        raise InvalidRequestError(f"--context-tokens {tokens} is out of range. Valid: 1 and up.")
    if not wanted and not first:
        return Context()
    farm = session.farm
    if tokens is None:
        tokens = budget_of(loop.run_blocking(farm.core.context_tokens(model)))
    return gather(
        wanted,
        session.namespace(),
        lambda: cells_of(session.shell, session.printed.of),
        budget_tokens=tokens,
        mask=cleaner(farm.config),
        first=first,
    )
