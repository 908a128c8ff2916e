"""What begins anew in a forked child: it has none of its parent's threads, and must leave its files alone."""

from __future__ import annotations

import os
import weakref
from abc import ABC, abstractmethod

__all__ = ["ForkSafe"]

_all: weakref.WeakSet[ForkSafe] = weakref.WeakSet()
_of_parent: list[object] = []  # kept from the garbage collector, which would close the parent's files


class ForkSafe(ABC):
    """Something with locks, threads, files or connections, which belong to the process that made them."""

    def __init__(self) -> None:
        self._begin()
        _all.add(self)

    @abstractmethod
    def _begin(self) -> None:
        """Make what belongs to one process: when it is made, and again in each forked child."""

    def _of_process(self) -> object:
        """What a forked child must neither use nor close."""
        return dict(vars(self))


def _begin_anew_after_fork() -> None:
    """A forked child must neither use nor close its parent's files and connections.

    Source: https://sqlite.org/howtocorrupt.html, section 2.6
    """
    for each in _all:
        _of_parent.append(each._of_process())
        each._begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew_after_fork)
