"""Walks the references between objects: up to whoever refers to them, down to whatever they lead to.

A kernel holds a million objects. Looking through all of them takes tens of milliseconds for a few objects
that are asked for, so those are kept few: what a model's own parts hold of each other is counted first, and
only the parts that somebody else holds, too, are looked for.
"""

from __future__ import annotations

import gc
import sys
import types
import weakref
from collections import Counter
from collections.abc import Callable, Sequence, Set

from farm_notebook.holders.references import CONTAINERS, is_a

__all__ = ["held_from_outside", "leads_to", "referrers"]

MOST_PARTS = 200_000  # objects looked at below the parts of one thing
MOST_OBJECTS = 50_000  # looked at below one value
MANY = 100  # from so many on a pass of our own is faster than the interpreter's, which compares with each

_WEAK = (weakref.ReferenceType, weakref.ProxyType, weakref.CallableProxyType)
_CLOSED = (type, types.ModuleType, types.CodeType, *_WEAK)  # lead to everything, or keep nothing alive


def referrers(objects: Sequence[object]) -> list[object]:
    """All that refers to any of some objects, as far as the garbage collector knows of it."""
    if len(objects) < MANY:
        return gc.get_referrers(*objects)
    ids = {id(each) for each in objects}
    foreign, referents = ids.isdisjoint, gc.get_referents
    return [each for each in gc.get_objects() if not foreign(map(id, referents(each)))]


def held_from_outside(objects: list[object], *, lists: int = 1) -> tuple[list[object], set[int]]:
    """Those of some objects, and of the containers that join them, to which others refer as well.

    Args:
        objects: Parts of one thing, such as a module, its submodules and its parameters; each once.
        lists: How many lists of the callers hold all of them; this argument is one.

    Returns:
        The parts in question, and the ids of all parts.
    """
    parts = _joined(objects)
    ids = {id(each) for each in parts}
    inner = Counter(found for each in parts for found in map(id, gc.get_referents(each)) if found in ids)
    given = {id(each) for each in objects}
    parts.append(object())  # nobody else's: what it counts, every other counts for being counted
    counts = list(map(sys.getrefcount, parts))
    parts.pop()
    counted = counts.pop()
    held = [
        part
        for part, count in zip(parts, counts, strict=True)
        if count > counted + inner[id(part)] + lists * (id(part) in given)
    ]
    return held, ids


def _joined(objects: list[object]) -> list[object]:
    """The objects, and every container below one of them through which it leads to another."""
    wanted = {id(each) for each in objects}
    queue, seen = list(objects), set(wanted)
    above: dict[int, list[object]] = {}
    for each in queue:  # grows while it is walked through
        if len(seen) > MOST_PARTS:
            break
        for below in gc.get_referents(each):
            if id(below) in wanted or is_a(below, CONTAINERS):
                above.setdefault(id(below), []).append(each)
                if id(below) not in seen:
                    seen.add(id(below))
                    queue.append(below)
    parts, leading = list(objects), set(wanted)
    for each in parts:
        for holder in above.get(id(each), ()):
            if id(holder) not in leading:
                leading.add(id(holder))
                parts.append(holder)
    return parts


def leads_to(
    value: object, is_wanted: Callable[[object], bool], *, closed: Set[int], most: int = MOST_OBJECTS
) -> bool:
    """Whether an object is, or keeps alive through others, one that is wanted.

    Args:
        value: Where to begin.
        is_wanted: Asked of each object on the way that the garbage collector knows.
        closed: Ids of objects that are not looked into, ``module_dicts`` at least. Modules, classes and the
            globals of functions never are.
        most: So many objects are looked at.
    """
    if is_wanted(value):
        return True
    seen = {id(value)}
    queue = [value]
    for each in queue:  # grows while it is walked through
        for below in _below(each):
            if id(below) in seen or id(below) in closed or not gc.is_tracked(below) or is_a(below, _CLOSED):
                continue
            if is_wanted(below):
                return True
            if len(queue) < most:
                seen.add(id(below))
                queue.append(below)
    return False


def _below(value: object) -> list[object]:
    """What an object keeps alive, but for the globals of functions and the callers of frames."""
    if is_a(value, _CLOSED):
        return []
    found = gc.get_referents(value)
    if type(value) is types.FunctionType:
        return [each for each in found if each is not value.__globals__]
    if type(value) is types.FrameType:
        return [each for each in found if each is not value.f_globals and each is not value.f_back]
    return found
