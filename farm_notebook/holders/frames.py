"""The functions that run at this moment, in every thread: the collector does not see what they hold."""

from __future__ import annotations

import sys
import threading
import types
from dataclasses import dataclass, field

from farm_notebook.holders.references import CONTAINERS, instance_dict, is_a, locals_of

__all__ = ["OWN", "Running", "is_own_name"]

OWN = __name__.partition(".")[0]


def is_own_name(module: object) -> bool:
    """Whether a module's name is one of this package's."""
    return type(module) is str and (module == OWN or module.startswith(OWN + "."))


@dataclass(frozen=True, slots=True)
class Running:
    """What the variables of running functions hold, by the ids of objects.

    Args:
        users: The words for a variable of somebody's function, the outermost that holds it: ``thread
            'Thread-5', function work(), local 'm'``.
        farms: The same for this package's functions and what they call, in other threads than this.
        containers: What else these hold: containers that are on nobody's account.
    """

    users: dict[int, str] = field(default_factory=dict)
    farms: dict[int, str] = field(default_factory=dict)
    containers: set[int] = field(default_factory=set)

    @classmethod
    def now(cls) -> Running:
        """What holds at this moment, but for the functions that ask."""
        running, here = cls(), threading.get_ident()
        names = {thread.ident: _name(thread) for thread in threading.enumerate()}
        others = {ident: frame for ident, frame in sys._current_frames().items() if ident != here}
        for ident, innermost in (*others.items(), (here, sys._getframe().f_back)):
            thread = names.get(ident, f"thread {ident}")
            is_farms = False
            for frame in _stack(innermost):
                held = locals_of(frame)
                is_farms = is_farms or is_own_name(dict.get(frame.f_globals, "__name__"))
                if is_farms:
                    running.containers.update(id(value) for value in held.values() if is_a(value, CONTAINERS))
                if is_farms and ident == here:
                    continue  # it holds what it asks about
                table = running.farms if is_farms else running.users
                for name, value in held.items():
                    words = f"{thread}, function {frame.f_code.co_name}(), local {name!r}"
                    table.setdefault(id(value), words)
        return running


def _stack(frame: types.FrameType | None) -> list[types.FrameType]:
    stack: list[types.FrameType] = []
    while frame is not None:
        stack.append(frame)
        frame = frame.f_back
    return stack[::-1]


def _name(thread: threading.Thread) -> str:
    return f"thread {(instance_dict(thread) or {}).get('_name', '?')!r}"
