"""A stand-in for a model, ways to hold it, and the question who does."""

from __future__ import annotations

import gc
import re
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from farm_notebook.holders.names import Holder, Namespace
from farm_notebook.holders.search import holders_of

__all__ = ["Box", "Model", "Part", "a_closure", "an_error", "found", "only_new_objects", "without_lines"]


@pytest.fixture
def only_new_objects() -> Iterator[None]:
    """The search looks past what was there before; a test session holds a million objects."""
    gc.freeze()
    yield
    gc.unfreeze()


class Model:
    """Stands for a model: an object with parts."""

    def __init__(self) -> None:
        self.weights = [Part(), Part()]

    def work(self) -> None: ...


class Part:
    pass


class Box:
    def __init__(self, **content: object) -> None:
        vars(self).update(content)


def found(names: dict[str, Any], *left: weakref.ref[Any]) -> tuple[Holder, ...]:
    gc.collect()
    return holders_of([each() for each in left], [Namespace(names)])


def without_lines(path: str) -> str:
    return re.sub(r"line \d+", "line N", path)


def a_closure(model: Model) -> object:
    def inner() -> Model:
        return model

    return inner


def an_error(model: Model) -> object:
    def train(given: Model) -> None:
        raise ValueError(type(given).__name__)

    try:
        train(model)
    except ValueError as error:
        kept = error
    kept.__traceback__ = kept.__traceback__ and kept.__traceback__.tb_next  # without this function's frame
    try:
        return kept
    finally:
        del kept  # or this function's frame would hold the error that holds it
