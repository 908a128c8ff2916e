"""The names that a notebook has for an argument: those of variables that hold what it takes, and of files.

What a value is, is told by its class alone, so that no library is loaded for the question.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import TypeAlias

from farm_notebook.notebook.line import NameKind

__all__ = ["attribute_names", "column_names", "is_frame", "names_of_files", "names_of_values", "own_names"]

_Test: TypeAlias = Callable[[object], bool]

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp")
TEXT_ENDINGS = (".txt", ".md", ".csv", ".jsonl")
MOST_FILES = 200
_IMAGES = frozenset(
    {("matplotlib", "Figure"), ("matplotlib", "Axes"), ("PIL", "Image"), ("farm_notebook", "Image")}
)
_COLUMNS = frozenset({("pandas", "Series"), ("polars", "Series"), ("numpy", "ndarray"), ("pandas", "Index")})
_FRAMES = frozenset({("pandas", "DataFrame"), ("polars", "DataFrame")})
_NOT_THE_USERS = frozenset({"In", "Out", "Err", "get_ipython", "exit", "quit", "open"})


def names_of_values(kind: NameKind, namespace: Mapping[str, object], start: str = "") -> list[str]:
    """The variables that fit, sorted.

    Args:
        kind: What they are to hold.
        namespace: The notebook's variables.
        start: How their names begin; those that begin with ``_`` are offered only where that does.
    """
    fits = _TESTS.get(kind)
    return sorted(name for name in namespace if _is_offered(name, start) and fits and fits(namespace[name]))


def own_names(namespace: Mapping[str, object]) -> list[str]:
    """All that the user has given a name, modules too, sorted: what a mistyped name may have meant."""
    return sorted(name for name in namespace if name.isidentifier() and _is_offered(name, ""))


def column_names(value: object) -> list[str]:
    """The columns of a data frame that are called by texts; none of anything else."""
    return (
        [name for name in getattr(value, "columns", ()) if isinstance(name, str)] if is_frame(value) else []
    )


def attribute_names(value: object) -> list[str]:
    """What a value's attributes are called, without those that begin with ``_``."""
    try:
        return [] if value is None else sorted(name for name in dir(value) if not name.startswith("_"))
    except Exception:  # noqa: BLE001 - a user's __dir__ may raise anything; then there is nothing to offer
        return []


def names_of_files(start: str, endings: Sequence[str] = ()) -> list[str]:
    """Files and folders whose paths begin so, as they would be typed: folders first, each with a ``/``.

    Args:
        start: A path, whole or begun; hidden files are offered only where it names one.
        endings: Of files; without any all are offered.
    """
    folder, name = os.path.split(start)
    try:
        with os.scandir(os.path.expanduser(folder) or ".") as entries:
            found = sorted(_entries(entries, name, tuple(endings)))[:MOST_FILES]
    except OSError:
        return []
    prefix = start[: len(start) - len(name)]
    return [prefix + entry for _, entry in found]


def _entries(
    entries: Iterator[os.DirEntry[str]], start: str, endings: tuple[str, ...]
) -> Iterator[tuple[bool, str]]:
    for entry in entries:
        if not entry.name.startswith(start) or (entry.name.startswith(".") and not start):
            continue
        if entry.is_dir():
            yield False, f"{entry.name}/"
        elif not endings or entry.name.lower().endswith(endings):
            yield True, entry.name


def _is_offered(name: str, start: str) -> bool:
    is_private = name.startswith("_") and not start.startswith("_")
    return name.startswith(start) and not is_private and name not in _NOT_THE_USERS


def _classes(value: object) -> Iterator[tuple[str, str]]:
    for cls in type(value).__mro__:
        yield str(cls.__module__).partition(".")[0], cls.__name__


def _is_any(value: object) -> bool:
    return not isinstance(value, ModuleType)


def _is_callable(value: object) -> bool:
    return isinstance(value, FunctionType | MethodType | BuiltinFunctionType)


def _is_schema(value: object) -> bool:
    return isinstance(value, type) or (
        isinstance(value, dict) and bool({"type", "properties"} & value.keys())
    )


def _is_image(value: object) -> bool:
    return not _IMAGES.isdisjoint(_classes(value))


def is_frame(value: object) -> bool:
    return not _FRAMES.isdisjoint(_classes(value))


def _has_texts(value: object) -> bool:
    return isinstance(value, list | tuple | dict) or not (_COLUMNS | _FRAMES).isdisjoint(_classes(value))


_TESTS: Mapping[NameKind, _Test] = {
    "variable": _is_any,
    "callable": _is_callable,
    "class": _is_schema,
    "image": _is_image,
    "texts": _has_texts,
}
