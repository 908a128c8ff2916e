"""The functions that run at this moment, in every thread: the collector does not see what they hold."""

from __future__ import annotations

import sys
import threading
import types

from farm_notebook.lifecycle.references import CONTAINERS, instance_dict, is_a, locals_of

__all__ = ["OWN", "is_own_name", "running_locals"]

OWN = __name__.partition(".")[0]


def is_own_name(module: object) -> bool:
    """Whether a module's name is one of this package's."""
    return type(module) is str and (module == OWN or module.startswith(OWN + "."))


def running_locals() -> tuple[dict[int, str], set[int]]:
    """What the variables of running functions hold, outermost function first.

    Returns:
        By an object's id the words for the variable, such as ``thread 'Thread-5', function work(), local
        'm'``; and the ids of the containers that functions of this package hold in theirs.
    """
    names = {thread.ident: _name(thread) for thread in threading.enumerate()}
    found: dict[int, str] = {}
    own: set[int] = set()
    stacks = [
        (names.get(ident, f"thread {ident}"), _stack(frame))
        for ident, frame in sys._current_frames().items()
        if ident != threading.get_ident()
    ]
    stacks.append((names.get(threading.get_ident(), ""), _stack(sys._getframe().f_back)))
    for thread, stack in stacks:
        for frame in stack:
            held = locals_of(frame)
            if is_own_name(dict.get(frame.f_globals, "__name__")):
                own.update(id(value) for value in held.values() if is_a(value, CONTAINERS))
                continue
            for name, value in held.items():
                words = f"{thread}, function {frame.f_code.co_name}(), local {name!r}"
                found.setdefault(id(value), words)
    return found, own


def _stack(frame: types.FrameType | None) -> list[types.FrameType]:
    stack: list[types.FrameType] = []
    while frame is not None:
        stack.append(frame)
        frame = frame.f_back
    return stack[::-1]


def _name(thread: threading.Thread) -> str:
    return f"thread {(instance_dict(thread) or {}).get('_name', '?')!r}"
