"""Finds what still holds a model's memory, by names its user knows: ``model``, ``Out[7]``, a thread.

The search goes upwards, from what should be gone to whoever refers to it, until it meets a name. It keeps
nothing alive and asks nothing of what it passes.
"""

from __future__ import annotations

import gc
import types
import weakref
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from farm_notebook.holders.ends import is_lease, is_own, root_of, type_name
from farm_notebook.holders.frames import Running, is_own_name
from farm_notebook.holders.graph import held_from_outside, referrers
from farm_notebook.holders.names import RESTART, Holder, Namespace, Root, names_of_sys, unseen
from farm_notebook.holders.references import (
    bases_of,
    class_name,
    code_of,
    instance_dict,
    is_a,
    module_dicts,
    plain_path,
    step,
)

__all__ = ["holders_of"]

MOST_HOLDERS = 20
MOST_OBJECTS = 20_000  # looked at on the way up
MOST_LEVELS = 40
WIDEST_LEVEL = 2_000  # of very many, some are enough to find what holds them all

_WEAK = (weakref.ReferenceType, weakref.ProxyType, weakref.CallableProxyType)


def holders_of(objects: Iterable[object], namespaces: Sequence[Namespace]) -> tuple[Holder, ...]:
    """Who holds what should be gone, nearest first.

    Collect garbage before, or what only waits for that is told as held by something unknown.

    Args:
        objects: All that is left of one model: its module, submodules, parameters, buffers.
        namespaces: The names of the user; globals of imported modules are known anyway.

    Returns:
        At most 20 holders, none twice. Where nothing with a name is found, one of kind ``unknown`` or
        ``farm``; none where there are no objects.
    """
    lists = 2 if type(objects) is list or type(objects) is tuple else 1
    targets = list({id(each): each for each in objects}.values())
    if not targets:
        return ()
    return _Search(targets, {id(objects), id(targets)}, namespaces).run(lists)


class _Node:
    """An object, one below it through which it leads to what should be gone, and through how many it does.

    ``is_farms`` where it is of this package, or a dict of such an object's attributes.
    """

    __slots__ = ("below", "is_farms", "value", "ways")

    def __init__(self, value: object, below: _Node | None = None, ways: int = 0) -> None:
        self.value = value
        self.below = below
        self.ways = ways
        is_inside = below is not None and below.is_farms and type(value) is dict
        self.is_farms: bool = is_inside or (is_own(value) and not is_lease(value))

    def chain(self) -> list[object]:
        node: _Node | None = self
        values = []
        while node is not None:
            values.append(node.value)
            node = node.below
        return values


class _Search:
    """One search; its own objects are told from others by their class or their ids."""

    def __init__(self, targets: list[object], ignored: set[int], namespaces: Sequence[Namespace]) -> None:
        self._targets = targets
        self._running = Running.now()
        self._namespaces = (names_of_sys(), *namespaces)
        self._names = {id(each.entries): each for each in self._namespaces}
        self._names |= {id(each.owner): each for each in self._namespaces if each.owner is not None}
        self._modules = module_dicts()
        self._arrays = self._array_bases()
        self._seen = ignored | self._running.containers
        self._found: dict[str, Holder] = {}
        self._nearest: dict[str, None] = {}
        self._own: dict[str, None] = {}
        self._leases: list[_Node] = []

    def run(self, lists: int) -> tuple[Holder, ...]:
        held, parts = held_from_outside(self._targets, lists=lists)
        self._seen |= parts
        level = {id(each): _Node(each) for each in held or self._targets}
        self._seen |= {id(held), id(self._leases), id(level)}
        for _ in range(MOST_LEVELS):
            if not level or len(self._seen) > MOST_OBJECTS + len(parts) or len(self._found) >= MOST_HOLDERS:
                break
            self._note_unseen(level)
            level = self._above(level)
            self._seen.add(id(level))
        for node in self._leases:
            if not any(holder.kind == "lease" for holder in self._found.values()):
                self._add(Root("a lease", "lease"), node)
        return tuple(self._found.values())[:MOST_HOLDERS] or (self._unknown(),)

    def _array_bases(self) -> dict[int, Root]:
        """Variables that are numpy arrays, by the ids of the objects whose memory they use."""
        return {
            id(base): root
            for namespace in self._namespaces
            for key, value in list(namespace.entries.items())
            for base in bases_of(value)
            if base is not None and (root := namespace.name(key, value)) is not None
        }

    def _note_unseen(self, level: dict[int, _Node]) -> None:
        """Note what the garbage collector does not see: functions that run, and arrays."""
        for found, node in level.items():
            if found in self._running.users:
                self._add(Root(self._running.users[found], "thread", "let that function end"), node)
            if found in self._running.farms:
                self._own.setdefault(self._running.farms[found])
            if found in self._arrays:
                root = self._arrays[found]
                self._add(Root(root.path, root.kind, root.advice or f"del {root.path}"), node)

    def _above(self, level: dict[int, _Node]) -> dict[int, _Node]:
        """What refers to a level and is no name yet; names are noted."""
        above: dict[int, _Node] = {}
        values = [node.value for node in level.values()]
        for value in referrers(values):
            found = id(value)
            if found in self._names or found in self._modules:
                self._note_entries(value, level)
            elif found not in self._seen and found != id(values) and type(value) not in (_Node, *_WEAK):
                below = [level[each] for each in map(id, gc.get_referents(value)) if each in level]
                if not below or len(above) >= WIDEST_LEVEL or not _may_hold(value, below[0]):
                    continue
                self._seen.add(found)
                # The collector walks through lists and tuples from their ends.
                first = below[-1 if is_a(value, (list, tuple)) else 0]
                node = _Node(value, first, len(below))
                self._nearest.setdefault(type_name(value))
                if not self._note_end(node):
                    above[found] = node
        return above

    def _note_entries(self, found: Any, level: dict[int, _Node]) -> None:
        namespace = self._names.get(id(found))
        module = self._modules.get(id(found), "")
        if namespace is None and is_own_name(module):
            return
        for key, value in list(dict.items(namespace.entries if namespace else found)):
            node = level.get(id(value))
            if node is None or node.is_farms or is_a(value, types.ModuleType):
                continue
            root = namespace.name(key, value) if namespace else Root(f"{module}.{key}", "global")
            if root is not None:
                self._add(root, node)

    def _note_end(self, node: _Node) -> bool:
        """Whether a node is told of as it is, and not by who refers to it."""
        value: Any = node.value
        if is_lease(value):
            self._leases.append(node)
            return False
        if node.is_farms:
            if is_own(value):
                self._own.setdefault(type_name(value))
            return False
        root = root_of(value, self._variable)
        if root is not None:
            self._add(root, node)
        return root is not None

    def _variable(self, value: object) -> str | None:
        """The name of a variable that is an object."""
        for namespace in self._namespaces:
            for key, found in list(namespace.entries.items()):
                if found is value and (root := namespace.name(key, found)) and root.kind == "variable":
                    return root.path
        return None

    def _add(self, root: Root, node: _Node) -> None:
        chain = node.chain()
        lease = next((index for index, value in enumerate(chain) if is_lease(value)), None)
        steps = _steps(chain if lease is None else chain[: lease + 1])
        if root.kind == "traceback":  # who reads of it need not know which of its objects holds it
            while steps and steps[0].startswith("."):
                steps.pop(0)
        kind, advice = root.kind, root.advice or _release(root.path, steps, node)
        if lease is not None:
            kind, advice = "lease", "end the `with farm.models.lease(...)` block that gave it"
        path = plain_path(root.path + "".join(each if each[0] in ".[" else f", {each}" for each in steps))
        self._found.setdefault(path, Holder(path, kind, advice, class_name(type(chain[-1]))))

    def _unknown(self) -> Holder:
        holds = class_name(type(self._targets[0]))
        if self._own:
            path = f"work of the farm ({', '.join(list(self._own)[:3])})"
            return Holder(path, "farm", "wait for its requests to end, or interrupt them", holds)
        if not self._nearest:
            return unseen(holds)
        path = f"nothing with a name; the nearest are of class {', '.join(list(self._nearest)[:3])}"
        return Holder(path, "unknown", RESTART, holds)


def _may_hold(value: object, below: _Node) -> bool:
    """From the package's own objects only its own are climbed to: a farm does not hold what it has let go."""
    return not below.is_farms or type(value) is dict or (is_own(value) and code_of(value) is None)


def _steps(chain: Sequence[object]) -> list[str]:
    return [text for text in _all_steps(list(chain)) if text]


def _all_steps(chain: list[object]) -> Iterator[str]:
    while len(chain) > 1:
        text, links = step(*chain)
        yield text
        del chain[:links]


def _release(path: str, steps: list[str], node: _Node) -> str:
    """How to let go of what a variable leads to: its entry or attribute if that is all, else the variable."""
    own, step = instance_dict(node.value), steps[0] if steps else ""
    ways = node.below.ways if node.below is not None and node.below.value is own else node.ways
    is_entry = step.startswith("[") and "<" not in step and is_a(node.value, (dict, list))
    is_attribute = len(steps) == 1 and (is_a(node.value, type) or step[1:] in (own or ()))
    return f"del {path}{step}" if ways <= 1 and (is_entry or is_attribute) else f"del {path}"
