"""How one object refers to another, written as Python where it can be: ``.weight``, ``['a']``, a local.

Objects of other people are looked at and never asked: none of their ``__getattr__``, properties, ``__eq__``
or ``__repr__`` runs.
"""

from __future__ import annotations

import inspect
import re
import sys
import types
from collections import deque
from collections.abc import Iterator
from typing import Any

__all__ = [
    "CONTAINERS",
    "SUSPENDED",
    "attributes",
    "bases_of",
    "class_module",
    "class_name",
    "classes_of",
    "code_of",
    "function_module",
    "instance_dict",
    "is_a",
    "key_text",
    "locals_of",
    "module_dicts",
    "plain_path",
    "step",
]

CONTAINERS = (dict, list, tuple, set, frozenset, deque)
SUSPENDED = (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType)
_ATOMS = (str, bytes, int, float, bool, type(None))
_LONGEST_KEY = 40  # characters

_mro: Any = type.__dict__["__mro__"].__get__  # what a metaclass says of its classes is not asked
_class_dict: Any = type.__dict__["__dict__"].__get__
_class_name: Any = vars(type)["__name__"].__get__
_class_module: Any = vars(type)["__module__"].__get__
_module_dict: Any = vars(types.ModuleType)["__dict__"].__get__
_ERROR_LINKS = ("__traceback__", "__cause__", "__context__")


def is_a(value: object, kinds: type | tuple[type, ...]) -> bool:
    """``isinstance`` by the real class alone; a ``__class__`` that pretends is not asked."""
    return issubclass(type(value), kinds)


def classes_of(value: object) -> tuple[type, ...]:
    """The class of an object and all that it inherits from."""
    classes: tuple[type, ...] = _mro(type(value))
    return classes


def class_name(cls: Any) -> str:
    """The name of a class."""
    return str(_class_name(cls))


def class_module(cls: Any) -> str:
    """The name of the module a class was made in."""
    module = _class_module(cls)
    return module if type(module) is str else ""


def module_dicts() -> dict[int, str]:
    """The names of all imported modules, by the ids of the dicts that hold their globals."""
    modules = list(sys.modules.items())
    return {id(_module_dict(each)): name for name, each in modules if is_a(each, types.ModuleType)}


def instance_dict(value: object) -> dict[str, Any] | None:
    """The attributes an instance holds itself; ``None`` where it has no such dict."""
    for cls in classes_of(value):
        found = _class_dict(cls).get("__dict__")
        if type(found) is types.GetSetDescriptorType:
            attributes = found.__get__(value)
            return attributes if type(attributes) is dict else None
    return None


def attributes(value: object) -> Iterator[tuple[str, object]]:
    """Name and value of what an instance refers to by its dict, its slots, and as an exception."""
    yield from list((instance_dict(value) or {}).items())
    for cls in classes_of(value):
        for name, found in list(_class_dict(cls).items()):
            if type(found) is types.MemberDescriptorType:
                try:
                    yield name, found.__get__(value)
                except AttributeError:  # a slot that is empty
                    continue
    if is_a(value, BaseException):
        for name in _ERROR_LINKS:
            yield name, BaseException.__dict__[name].__get__(value)


def bases_of(value: Any) -> Iterator[object]:
    """The objects whose memory a numpy array uses; the garbage collector knows nothing of arrays."""
    while class_name(type(value)) == "ndarray" and class_module(type(value)) == "numpy":
        value = value.base
        yield value


def code_of(value: object) -> types.CodeType | None:
    """What a frame, a generator, a coroutine or a function runs."""
    if type(value) is types.FrameType:
        return value.f_code
    if type(value) is types.FunctionType:
        return value.__code__
    frame = _frame_of(value)
    return frame.f_code if frame is not None else None


def function_module(value: object) -> str | None:
    """The module of the function that a frame, a generator, a coroutine or a function is of."""
    frame = value if type(value) is types.FrameType else _frame_of(value)
    names = value.__globals__ if type(value) is types.FunctionType else frame.f_globals if frame else {}
    module = dict.get(names, "__name__")
    return module if type(module) is str else None


def locals_of(frame: types.FrameType) -> dict[str, object]:
    """The variables of a function's frame; nothing for a module's or a class's, whose names stand elsewhere.

    Before Python 3.13 the interpreter keeps what is read here in the frame. It is taken out of it again, or
    the frame would hold values that its function has let go of.
    """
    if not frame.f_code.co_flags & inspect.CO_OPTIMIZED:
        return {}
    kept = frame.f_locals
    found = dict(kept)
    # Whoever called locals() in there holds the same dict, beside the frame, this variable and the argument.
    if type(kept) is dict and sys.getrefcount(kept) <= 3:
        kept.clear()
    return found


def key_text(key: object) -> str:
    """How the key of a mapping is written: plain values as they are, others by their class."""
    if type(key) in _ATOMS:
        text = repr(key)
        return text if len(text) <= _LONGEST_KEY else f"{text[:_LONGEST_KEY]}..."
    if type(key) is tuple:
        return f"({', '.join(map(key_text, key))}{',' * (len(key) == 1)})"
    return f"<{class_name(type(key))}>"


def plain_path(path: str) -> str:
    """A path through torch modules as people write it: ``model.layers[0].weight``.

    A module keeps its parts in dicts, and gives them as its attributes.
    """
    path = re.sub(r"\._(?:modules|parameters|buffers)\['([A-Za-z_]\w*)'\]", r".\1", path)
    return re.sub(r"\._modules\['(\d+)'\]", r"[\1]", path)


def step(*chain: object) -> tuple[str, int]:
    """How the first of a chain of objects refers to the next, or through it to a later one.

    Args:
        chain: At least two, each of which refers to the next.

    Returns:
        What to write behind the name of the first, empty where nothing need be said: Python where it begins
        with ``.`` or ``[``, else words; and how many links of the chain it stands for.
    """
    first, second, *rest = chain
    if type(first) is types.FunctionType:
        return _function_step(first, *chain[1:])
    if type(first) is types.FrameType:
        return _frame_step(first, f"frame {_where(first)}", *chain[1:])
    if type(first) is types.TracebackType:
        return "", 1
    if is_a(first, SUSPENDED):
        frame = _frame_of(first)
        kind = type(first).__name__.replace("_", " ")
        return _frame_step(frame, f"{kind} {_where(frame)}", *chain[1:]) if frame else ("", 1)
    if is_a(first, CONTAINERS):
        return _entry(first, second), 1
    if rest and type(second) is dict and (is_a(first, type) or second is instance_dict(first)):
        name = next((name for name, value in list(second.items()) if value is rest[0]), None)
        return (f".{name}", 2) if type(name) is str else (" (a key)", 2)
    name = next((name for name, value in attributes(first) if value is second), None)
    return (f".{name}" if name else ""), 1


def _entry(container: Any, value: object) -> str:
    if is_a(container, dict):
        items = list(dict.items(container))
        key = next((key for key, found in items if found is value), _entry)
        return "a key of it" if key is _entry else f"[{key_text(key)}]"
    if is_a(container, (list, tuple, deque)):
        kind = next(kind for kind in (list, tuple, deque) if is_a(container, kind))
        index = next((index for index, found in enumerate(kind.__iter__(container)) if found is value), None)
        return "" if index is None else f"[{index}]"
    return "an element of it"


def _function_step(function: types.FunctionType, second: object, *rest: object) -> tuple[str, int]:
    cells = function.__closure__
    if cells is not None and second is cells and rest:
        name = next(
            name for name, cell in zip(function.__code__.co_freevars, cells, strict=True) if cell is rest[0]
        )
        return f"variable {name!r} of its closure", 2 + (len(rest) > 1)
    if second is function.__defaults__ or second is function.__kwdefaults__:
        return "a default argument of it", 1 + bool(rest)
    attribute = next((name for name, value in function.__dict__.items() if value is second), None)
    return (f".{attribute}" if attribute else ""), 1


def _frame_step(frame: types.FrameType, words: str, second: object, *rest: object) -> tuple[str, int]:
    links = 1
    if type(second) is types.CellType and rest:
        second, links = rest[0], 2
    name = next((name for name, value in locals_of(frame).items() if value is second), None)
    if name is not None:
        return f"{words}, local {name!r}", links
    return ("", 1) if type(second) in (types.FrameType, types.CoroutineType) else (words, 1)


def _where(frame: types.FrameType | None) -> str:
    return f"{frame.f_code.co_name}() line {frame.f_lineno}" if frame is not None else "that has ended"


def _frame_of(value: Any) -> types.FrameType | None:
    if type(value) is types.GeneratorType:
        return value.gi_frame
    if type(value) is types.CoroutineType:
        return value.cr_frame
    return value.ag_frame if type(value) is types.AsyncGeneratorType else None
