"""Who holds what should be gone is found, and is called as its user writes it."""

from __future__ import annotations

import functools
import gc
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
from held import Box, Model, Part, a_closure, an_error, found, only_new_objects, without_lines

from farm_notebook.holders.names import Holder, Namespace
from farm_notebook.holders.search import holders_of

__all__ = ["only_new_objects"]  # a fixture

pytestmark = pytest.mark.usefixtures("only_new_objects")


class Slotted:
    __slots__ = ("model",)

    def __init__(self, model: Model) -> None:
        self.model = model


def held_by(make: Callable[[Model], object]) -> Holder:
    """The one holder of a model from which a variable ``x`` is made; the model is gone when ``x`` is."""
    model = Model()
    names: dict[str, Any] = {"x": make(model), "other": 1}
    left = weakref.ref(model)
    del model
    (holder,) = found(names, left)
    names.clear()
    gc.collect()
    assert left() is None
    return holder


def a_default(model: Model) -> object:
    def inner(given: Model = model) -> Model:
        return given

    return inner


def a_generator(model: Model) -> object:
    def steps(given: Model) -> Iterator[int]:
        yield 1
        given.work()

    started = steps(model)
    next(started)
    return started


def a_coroutine(model: Model) -> object:
    async def steps(given: Model) -> None:
        await Yielding()
        given.work()

    started = steps(model)
    started.send(None)
    return started


class Yielding:
    def __await__(self) -> Generator[None, None, None]:
        yield


@pytest.mark.parametrize(
    ("make", "path", "advice"),
    [
        (lambda model: model, "x", "del x"),
        (lambda model: [0, model], "x[1]", "del x[1]"),
        (lambda model: {"a": model}, "x['a']", "del x['a']"),
        (lambda model: {("a", 1): [model]}, "x[('a', 1)][0]", "del x[('a', 1)]"),
        (lambda model: OrderedDict(a=model), "x['a']", "del x['a']"),
        (lambda model: {Part(): model}, "x[<Part>]", "del x"),
        (lambda model: {model: 1}, "x, a key of it", "del x"),
        (lambda model: {model}, "x, an element of it", "del x"),
        (lambda model: (1, (model,)), "x[1][0]", "del x"),
        (lambda model: deque([1, model]), "x[1]", "del x"),
        (lambda model: [model, *model.weights], "x[0]", "del x[0]"),
        (lambda model: Box(model=model), "x.model", "del x.model"),
        (lambda model: Box(inner=Box(models=[model])), "x.inner.models[0]", "del x"),
        (lambda model: {"a": Box(module=model)}, "x['a'].module", "del x['a']"),
        (Slotted, "x.model", "del x"),
        (lambda model: model.work, "x.__self__", "del x"),
        (lambda model: functools.partial(print, model), "x.args[0]", "del x"),
        (a_closure, "x, variable 'model' of its closure", "del x"),
        (a_default, "x, a default argument of it", "del x"),
        (a_generator, "x, generator steps() line N, local 'given'", "del x"),
        (a_coroutine, "x, coroutine steps() line N, local 'given'", "del x"),
        (an_error, "x.__traceback__, frame train() line N, local 'given'", "del x"),
    ],
)
def test_a_holder_in_a_variable_is_written_as_in_python(
    make: Callable[[Model], object], path: str, advice: str
) -> None:
    holder = held_by(make)
    assert (without_lines(holder.path), holder.kind, holder.advice) == (path, "variable", advice)
    assert holder.holds == "Model"


def test_every_name_that_holds_a_model_is_told() -> None:
    model = Model()
    names = {"a": model, "b": model, "models": [model], "box": Box(model=model), "_hidden": model}
    left = weakref.ref(model)
    del model
    paths = [holder.path for holder in found(names, left)]
    assert sorted(paths) == ["_hidden", "a", "b", "box.model", "models[0]"]
    assert set(paths[:3]) == {"_hidden", "a", "b"}, "the nearest come first"


def test_who_holds_only_a_part_is_told_with_the_part() -> None:
    model = Model()
    left: list[weakref.ref[Any]] = [weakref.ref(each) for each in (model, *model.weights)]
    names: dict[str, Any] = {"w": model.weights[1]}
    del model
    gc.collect()
    (holder,) = holders_of([each() for each in left if each()], [Namespace(names)])
    assert holder == Holder("w", "variable", "del w", "Part")


def test_a_model_held_as_a_whole_is_not_told_again_for_each_of_its_parts() -> None:
    model = Model()
    left: list[weakref.ref[Any]] = [weakref.ref(each) for each in (model, *model.weights)]
    names = {"model": model}
    del model
    (holder,) = found(names, *left)
    assert holder == Holder("model", "variable", "del model", "Model")


def test_who_holds_the_model_and_who_holds_a_part_are_told_apart() -> None:
    model = Model()
    left: list[weakref.ref[Any]] = [weakref.ref(each) for each in (model, *model.weights)]
    names = {"model": model, "w": model.weights[0]}
    del model
    assert {(each.path, each.holds) for each in found(names, *left)} == {("model", "Model"), ("w", "Part")}


def test_nothing_left_is_held_by_nobody() -> None:
    assert holders_of([], []) == ()


def test_where_nothing_has_a_name_the_nearest_classes_are_told() -> None:
    class Cave:
        def __init__(self) -> None:
            self.model = Model()
            self.itself = self

    left = weakref.ref(Cave().model)  # a cycle that nobody collects
    gc.disable()
    try:
        model = left()
        assert model is not None
        names: dict[str, Any] = {}
        target = [model]
        del model
        (holder,) = holders_of(target, [Namespace(names)])
    finally:
        gc.enable()
    assert holder.kind == "unknown"
    assert "Cave" in holder.path


def test_of_very_many_on_the_way_the_name_above_them_is_found() -> None:
    model = Model()
    names = {"crowd": [[model] for _ in range(30_000)]}
    left = weakref.ref(model)
    del model
    holders = found(names, left)
    assert len(holders) == 1
    assert holders[0].path.startswith("crowd[")


def test_a_model_of_very_many_parts_is_searched_for_as_well() -> None:
    model = Model()
    model.weights = [Part() for _ in range(3_000)]
    left: list[weakref.ref[Any]] = [weakref.ref(each) for each in (model, *model.weights)]
    names = {"kept": list(model.weights)}
    del model
    gc.collect()
    (holder,) = holders_of([each() for each in left if each()], [Namespace(names)])
    assert (holder.path, holder.advice) == ("kept[0]", "del kept")


class Meta(type):
    def __getattribute__(cls, name: str) -> Any:
        called.append(f"class {name}")
        return super().__getattribute__(name)


called: list[str] = []


class Touchy(metaclass=Meta):
    """Notes every use that is made of it."""

    def __getattribute__(self, name: str) -> Any:
        called.append(name)
        return object.__getattribute__(self, name)

    def __getattr__(self, name: str) -> Any:
        called.append(name)
        raise AttributeError(name)

    def __eq__(self, other: object) -> bool:
        called.append("==")
        return self is other

    def __hash__(self) -> int:
        called.append("hash")
        return 1

    def __repr__(self) -> str:
        called.append("repr")
        return "Touchy"

    def __bool__(self) -> bool:
        called.append("bool")
        return True

    @property
    def model(self) -> object:
        called.append("model")
        return None


class TouchyDict(dict[str, Any], metaclass=Meta):
    def items(self) -> Any:
        called.append("items")
        return super().items()

    def __iter__(self) -> Iterator[str]:
        called.append("iter")
        return super().__iter__()


def test_no_code_of_others_runs_on_the_way() -> None:
    model, touchy = Model(), Touchy()
    object.__getattribute__(touchy, "__dict__").update(kept=TouchyDict(a=model))
    left = weakref.ref(model)
    names = {"t": touchy, "as key": {touchy: model}}
    del model, touchy
    gc.collect()
    target = [left()]
    called.clear()
    holders = holders_of(target, [Namespace(names)])
    assert called == []
    assert {each.path for each in holders} == {"t.kept['a']", "as key[<Touchy>]"}


def test_a_search_keeps_nothing_alive_and_leaves_no_cycles() -> None:
    model = Model()
    names: dict[str, Any] = {"models": [model], "f": a_closure(model), "error": an_error(model)}
    left = weakref.ref(model)
    del model
    gc.collect()
    gc.disable()
    try:
        assert len(holders_of([left()], [Namespace(names)])) == 3
        names.clear()
        assert left() is None
    finally:
        gc.enable()
