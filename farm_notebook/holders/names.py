"""What holds a model is called by these: a holder, the name it begins with, and where such names stand."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

__all__ = [
    "CLEAR_KEPT",
    "LAST_TRACEBACK",
    "RESTART",
    "Holder",
    "HolderKind",
    "Namespace",
    "Root",
    "names_of_sys",
    "unseen",
]

HolderKind: TypeAlias = Literal[
    "variable", "output", "traceback", "global", "class", "cache", "thread", "task", "widget", "lease",
    "farm", "unknown",
]  # fmt: skip
"""What kind of thing a holder is; ``unknown`` where nothing with a name was found."""

CLEAR_KEPT = "%farm free --force"
RESTART = "restart the kernel if the memory is needed"
LAST_TRACEBACK = "the last traceback"

_SYS_LAST = ("last_value", "last_exc", "last_traceback", "last_type")


@dataclass(frozen=True, slots=True)
class Holder:
    """Something with a name that keeps a model's memory.

    Args:
        path: How to reach it: Python where it can be written so, else words.
        kind: What it is.
        advice: What lets go of it, in one line.
        holds: The class of the object that it holds.
    """

    path: str
    kind: HolderKind
    advice: str
    holds: str

    def __str__(self) -> str:
        return f"{self.path} ({self.holds}): {self.advice}"


class Root(NamedTuple):
    """The name under which something is held.

    Args:
        path: How it is written.
        kind: Of the holder.
        advice: What lets go of it; ``None`` for a variable, which is deleted.
    """

    path: str
    kind: HolderKind
    advice: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Namespace:
    """A dict whose entries have names.

    Args:
        entries: The dict itself, not a copy.
        name: What an entry of this key and value is called; ``None`` for one that is not to be told of.
            Without it a key is the name of a variable.
        owner: The object whose attributes they are, if any. Python 3.13 has the values in the object itself,
            and it is the object that the garbage collector knows of.
    """

    entries: dict[Any, Any]
    name: Callable[[Any, object], Root | None] = lambda key, _: Root(str(key), "variable")
    owner: object = None


def unseen(holds: str) -> Holder:
    """The holder of what no Python object refers to."""
    path = "something that Python does not show, such as a library's own code"
    return Holder(path, "unknown", RESTART, holds)


def names_of_sys() -> Namespace:
    """The globals of ``sys``, where the interpreter keeps the last error."""
    return Namespace(vars(sys), _name_in_sys)


def _name_in_sys(key: str, value: object) -> Root | None:
    if key in _SYS_LAST:
        return Root(LAST_TRACEBACK, "traceback", CLEAR_KEPT)
    return Root(f"sys.{key}", "global")
