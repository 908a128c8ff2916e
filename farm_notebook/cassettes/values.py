"""Values as JSON and back, exactly: refs as text, dataclasses as mappings of what is not at its default.

Which type a mapping is of stands nowhere in it: who reads it says what it expects, and is told what is wrong.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Hashable, Mapping, Set
from functools import cache
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from farm_notebook.types import ModelRef

__all__ = ["build", "plain"]


def plain(value: Any) -> Any:
    """A value as JSON has it; sets are sorted."""
    if isinstance(value, ModelRef):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = ((field, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {field.name: plain(found) for field, found in fields if not _is_default(field, found)}
    if isinstance(value, Mapping):
        return {str(key): plain(found) for key, found in value.items()}
    if isinstance(value, Set):
        return sorted(plain(found) for found in value)
    if isinstance(value, list | tuple):
        return [plain(found) for found in value]
    return value


def build(kind: Any, value: Any) -> Any:
    """The value of a type that was made ``plain``.

    Args:
        kind: A dataclass, a plain type, or a container of these, as an annotation writes it.
        value: What ``plain`` gave.

    Raises:
        ValueError: It is no such thing.
    """
    if kind is Any:
        return value
    if kind is ModelRef:
        return _ref(value)
    if dataclasses.is_dataclass(kind):
        return _built(cast(type[Any], kind), value)
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _one_of(inner, value)
    if origin is Literal:
        return _checked(value in inner, value, kind)
    if origin is not None:
        return _container(origin, inner, value, kind)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return _checked(kind is type(value) or (kind is type(None) and value is None), value, kind)


def _checked(is_right: bool, value: Any, kind: Any) -> Any:
    if not is_right:
        raise ValueError(f"{value!r:.60} is no {getattr(kind, '__name__', kind)}")
    return value


def _ref(value: Any) -> ModelRef:
    provider, separator, model = _checked(isinstance(value, str), value, ModelRef).partition(":")
    _checked(bool(separator), value, ModelRef)
    return ModelRef(provider, model)


def _built(kind: type[Any], value: Any) -> Any:
    hints = _hints(cast(Hashable, kind))
    _checked(isinstance(value, Mapping) and value.keys() <= hints.keys(), value, kind)
    try:
        return kind(**{name: build(hints[name], found) for name, found in value.items()})
    except TypeError as error:  # a field is missing
        raise ValueError(f"{value!r:.60} is no {kind.__name__}: {error}") from None


def _one_of(kinds: tuple[Any, ...], value: Any) -> Any:
    for kind in sorted(kinds, key=lambda kind: kind is not type(value)):  # an int stays one beside a float
        try:
            return build(kind, value)
        except ValueError as error:
            problem = error
    raise problem


def _container(origin: Any, inner: tuple[Any, ...], value: Any, kind: Any) -> Any:
    if issubclass(origin, Mapping):
        _checked(isinstance(value, Mapping), value, kind)
        return {build(inner[0], key): build(inner[1], found) for key, found in value.items()}
    _checked(isinstance(value, list), value, kind)
    if issubclass(origin, tuple) and inner[1:] != (Ellipsis,):
        _checked(len(inner) == len(value), value, kind)
        return tuple(build(each, found) for each, found in zip(inner, value, strict=True))
    return origin(build(inner[0], found) for found in value)


def _is_default(field: dataclasses.Field[Any], value: Any) -> bool:
    if field.default is not dataclasses.MISSING:
        return bool(value == field.default and type(value) is type(field.default))
    return field.default_factory is not dataclasses.MISSING and bool(value == field.default_factory())


@cache
def _hints(kind: Hashable) -> dict[str, Any]:
    return get_type_hints(kind)
