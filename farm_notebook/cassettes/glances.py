"""Glances: what a panel asks again and again while somebody sees it, and no cell asked for.

How often it does is chance. So none of it is recorded, and a replay does not take it for a call of a cell's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["glancing", "is_glance"]

_is_glance: ContextVar[bool] = ContextVar("farm_glance", default=False)


@contextmanager
def glancing() -> Iterator[None]:
    """Whatever is asked inside, also by tasks that begin there, is a glance."""
    token = _is_glance.set(True)
    try:
        yield
    finally:
        _is_glance.reset(token)


def is_glance() -> bool:
    """Whether what is asked here was asked for by no cell."""
    return _is_glance.get()
