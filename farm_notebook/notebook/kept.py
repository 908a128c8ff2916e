"""What IPython itself keeps: values of cells, the last error. What of it holds a model can be cleared.

A user's own variables are told of, never touched.
"""

from __future__ import annotations

import inspect
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

from farm_notebook.holders.graph import leads_to
from farm_notebook.holders.names import CLEAR_KEPT, LAST_TRACEBACK, Namespace, Root
from farm_notebook.holders.references import instance_dict, module_dicts
from farm_notebook.holders.search import holders_of

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["clear_kept", "namespaces_of"]

IsDoomed: TypeAlias = Callable[[object], bool]

UNDERSCORES = ("_", "__", "___")
_NUMBERED = re.compile(r"_\d+")
_HISTORIES = ("Out", "_oh", "In", "_ih", "_dh", "get_ipython", "exit", "quit")
_LAST_ERROR = ("last_value", "last_exc", "last_traceback", "last_type")
_ERRORS_OF_RESULT = ("error_in_exec", "error_before_exec")
_WAITING = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_NOBODYS = ("traceback", "unknown", "farm")


def namespaces_of(shell: InteractiveShell) -> tuple[Namespace, ...]:
    """Where a shell's names stand, for ``holders_of``: the user's variables, and all that IPython keeps."""
    kept = _Kept(shell)
    error = Root(LAST_TRACEBACK, "traceback", CLEAR_KEPT)

    def of_result(key: str, value: object) -> Root:
        return error if key in _ERRORS_OF_RESULT else kept.name_of_output(value)

    return (
        Namespace(kept.variables, kept.name_of_variable),
        Namespace(kept.hidden, kept.name_of_variable),
        Namespace(kept.outputs, lambda key, _: Root(f"Out[{key}]", "output", CLEAR_KEPT)),
        Namespace(kept.hook, lambda _, value: kept.name_of_output(value), shell.displayhook),
        Namespace(kept.handler, lambda *_: error, shell.InteractiveTB),
        *(Namespace(instance_dict(result) or {}, of_result, result) for result in kept.results()),
    )


def clear_kept(shell: InteractiveShell, is_doomed: IsDoomed | None = None) -> tuple[str, ...]:
    """Have IPython let go of what it keeps of its own accord.

    Args:
        shell: Whose.
        is_doomed: Tells the objects that are to be let go; only what leads to one of them is cleared. Without
            it everything that is kept is cleared.

    Returns:
        What was cleared, in words: ``Out[3]``, ``the last traceback``. Names that the user gave are left.
    """
    kept = _Kept(shell)
    closed = {*module_dicts(), *map(id, (shell, kept.variables, kept.hidden, kept.outputs))}

    def leads(value: object) -> bool:
        return is_doomed is None or leads_to(value, is_doomed, closed=closed)

    return tuple(dict.fromkeys(_clear_error(kept, leads) + _clear_outputs(kept, leads)))


class _Kept:
    """The places in a shell where IPython keeps values, and what they are called."""

    def __init__(self, shell: InteractiveShell) -> None:
        self.shell: Any = shell
        self.variables: dict[str, object] = shell.user_ns
        self.hidden: dict[str, object] = shell.user_ns_hidden
        self.hook: dict[str, object] = instance_dict(shell.displayhook) or {}
        self.handler: dict[str, object] = instance_dict(shell.InteractiveTB) or {}
        found = shell.user_ns.get("_oh")
        self.outputs: dict[int, object] = found if type(found) is dict else {}

    def results(self) -> list[Any]:
        """The outcomes of the last cell and of the one that runs, each once."""
        found = [self.shell.last_execution_result, getattr(self.shell.displayhook, "exec_result", None)]
        return list({id(each): each for each in found if each is not None}.values())

    def is_ipythons(self, name: object, value: object) -> bool:
        """Whether a name such as ``_`` or ``_7`` holds what IPython gave it, and not a user's own value."""
        if name in UNDERSCORES:
            return value is self.hook.get(str(name))
        if type(name) is not str or not _NUMBERED.fullmatch(name):
            return False
        return value is self.outputs.get(int(name[1:])) or value is self.hidden.get(name)

    def name_of_variable(self, name: Any, value: object) -> Root | None:
        if name in _HISTORIES:
            return None
        return (
            self.name_of_output(value, name) if self.is_ipythons(name, value) else Root(str(name), "variable")
        )

    def name_of_output(self, value: object, name: str = "_") -> Root:
        """``Out[7]`` for a value that stands there, else the name it goes by besides."""
        for number, found in list(self.outputs.items()):
            if found is value:
                return Root(f"Out[{number}]", "output", CLEAR_KEPT)
        names = [each for each, found in self.variables.items() if found is value and type(each) is str]
        return Root(next(filter(_NUMBERED.fullmatch, names), name), "output", CLEAR_KEPT)

    def entries(self) -> list[tuple[dict[Any, Any], Any]]:
        """All places where values of cells are kept, as a dict and its key."""
        places: list[tuple[dict[Any, Any], Any]] = [(self.outputs, number) for number in self.outputs]
        for names in (self.variables, self.hidden):
            places += [(names, name) for name, value in names.items() if self.is_ipythons(name, value)]
        places += [(self.hook, name) for name in UNDERSCORES]
        for result in self.results():
            places.append((instance_dict(result) or {}, "result"))
        return [(names, key) for names, key in places if not _is_empty(names.get(key))]


def _clear_outputs(kept: _Kept, leads: IsDoomed) -> list[str]:
    """Clear values of cells from every place they are kept in."""
    entries = kept.entries()
    values = {id(names[key]): names[key] for names, key in entries}
    doomed = {found for found, value in values.items() if leads(value)}
    going = [(names, key) for names, key in entries if id(names[key]) in doomed]
    words = [kept.name_of_output(names[key], _written(key)).path for names, key in going]
    for names, key in going:
        if key == "result":
            names[key] = None
        elif key in UNDERSCORES:
            names[key] = ""  # as in a new shell
        else:
            del names[key]
    return words


def _is_empty(value: object) -> bool:
    return value is None or (type(value) is str and not value)


def _written(key: object) -> str:
    return key if type(key) is str and key != "result" else "_"


def _clear_error(kept: _Kept, leads: IsDoomed) -> list[str]:
    """Clear the last error, its traceback, and what a debugger has left."""
    results = kept.results()
    links = [getattr(sys, name, None) for name in _LAST_ERROR]
    links += [getattr(result, name, None) for result in results for name in _ERRORS_OF_RESULT]
    links += [kept.handler.get("tb"), kept.handler.get("pdb")]
    if not any(link is not None and leads(link) for link in links):
        return []
    errors = [link for link in links if isinstance(link, BaseException)]
    links.clear()
    for name in _LAST_ERROR:
        if hasattr(sys, name):
            delattr(sys, name)
    for result in results:
        for name in _ERRORS_OF_RESULT:
            setattr(result, name, None)
    for name in {"tb", "pdb"} & kept.handler.keys():
        kept.handler[name] = None
    _clear_frames(errors, namespaces_of(kept.shell))
    return [LAST_TRACEBACK]


def _clear_frames(errors: list[BaseException], namespaces: Sequence[Namespace]) -> None:
    """Empty the functions that errors came through, unless somebody else keeps the errors.

    Generators and coroutines are left: they may only be waiting.
    """
    chain: list[BaseException] = []
    for error in errors:  # grows while it is walked through
        if not any(error is each for each in chain):
            chain.append(error)
            errors += [each for each in (error.__cause__, error.__context__) if each is not None]
    errors.clear()
    if any(holder.kind not in _NOBODYS for holder in holders_of(chain, namespaces)):
        return
    for error in chain:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if not frame.f_code.co_flags & _WAITING:
                with suppress(RuntimeError):  # it still runs
                    frame.clear()
