"""Objects that are told of as they are, whoever refers to them: classes, caches, tasks, threads, widgets.

And those of this package, which are not told of, but for the leases that a user holds.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable
from typing import Any

from farm_notebook.holders.frames import is_own_name
from farm_notebook.holders.names import Root
from farm_notebook.holders.references import (
    class_module,
    class_name,
    classes_of,
    function_module,
    instance_dict,
    is_a,
)

__all__ = ["is_lease", "is_own", "root_of", "type_name"]

LEASES = frozenset({"LeasedModel"})  # classes of this package that a user holds a model with

_TASKS: tuple[Any, ...] = (asyncio.Task, asyncio.tasks._PyTask)  # type: ignore[attr-defined]


def root_of(value: Any, variable: Callable[[object], str | None]) -> Root | None:
    """What an object is called by itself; ``None`` for one that is only called by who refers to it.

    Args:
        value: The object.
        variable: Finds the name of the user's variable that is an object.
    """
    if is_a(value, type):
        return Root(_qualified(class_module(value), class_name(value)), "class")
    if type(value) is functools._lru_cache_wrapper:
        about = instance_dict(value) or {}
        path = _qualified(str(about.get("__module__")), str(about.get("__qualname__")))
        return Root(path, "cache", f"{path}.cache_clear()")
    for task in _TASKS:
        if is_a(value, task):
            name = variable(value)
            advice = f"{name}.cancel()" if name else "cancel it, or let it end"
            return Root(f"asyncio task {task.get_name(value)!r}", "task", advice)
    if is_a(value, threading.Thread):
        name = (instance_dict(value) or {}).get("_name", "?")
        return Root(f"thread {name!r}", "thread", "let it end")
    if any(class_name(cls) == "Widget" and "ipywidgets" in class_module(cls) for cls in classes_of(value)):
        name = variable(value)
        path = name or f"a widget of class {class_name(type(value))}"
        return Root(path, "widget", f"{name or 'the widget'}.close()")
    return None


def is_own(value: object) -> bool:
    """Whether an object, or the function that runs in it, is one of this package."""
    if is_a(value, type):
        return is_own_name(class_module(value))
    return is_own_name(function_module(value) or class_module(type(value)))


def is_lease(value: object) -> bool:
    """Whether an object is a model lent to the user."""
    return class_name(type(value)) in LEASES and is_own_name(class_module(type(value)))


def type_name(value: object) -> str:
    """The class of an object, with its module."""
    return _qualified(class_module(type(value)), class_name(type(value)))


def _qualified(module: str, name: str) -> str:
    return name if module in ("", "builtins", "__main__") else f"{module}.{name}"
