"""Who holds what should be gone is found, and is called by the name its user knows."""

from __future__ import annotations

import asyncio
import functools
import gc
import re
import sys
import threading
import types
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from farm_notebook.lifecycle.holders import holders_of
from farm_notebook.lifecycle.names import Holder, Namespace
from farm_notebook.providers.huggingface.lease import LeasedModel
from farm_notebook.providers.huggingface.loaded import LoadedModel


@pytest.fixture(autouse=True)
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


class Slotted:
    __slots__ = ("model",)

    def __init__(self, model: Model) -> None:
        self.model = model


def found(names: dict[str, Any], *left: weakref.ref[Any]) -> tuple[Holder, ...]:
    gc.collect()
    return holders_of([each() for each in left], [Namespace(names)])


def without_lines(path: str) -> str:
    return re.sub(r"line \d+", "line N", path)


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


def a_closure(model: Model) -> object:
    def inner() -> Model:
        return model

    return inner


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


def test_what_an_imported_module_holds_is_told_with_the_modules_name(monkeypatch: pytest.MonkeyPatch) -> None:
    library: Any = types.ModuleType("mylib")
    monkeypatch.setitem(sys.modules, "mylib", library)
    library.registry = {"x": Model()}
    (holder,) = found({}, weakref.ref(library.registry["x"]))
    path = "mylib.registry['x']"
    assert holder == Holder(path, "global", f"del {path}", "Model")
    library.registry.clear()


def test_what_a_class_holds_is_told_with_the_class() -> None:
    class Registry:
        model = Model()

    (holder,) = found({"instance": Registry()}, weakref.ref(Registry.model))
    assert (holder.kind, holder.advice) == ("class", f"del {holder.path}")
    assert holder.path.endswith("Registry.model")
    del Registry.model


def test_a_cached_function_is_cleared_by_its_own_means() -> None:
    @functools.lru_cache
    def load(name: str) -> Model:
        return Model()

    (holder,) = found({"f": load}, weakref.ref(load("a")))
    assert holder.kind == "cache"
    assert holder.path.endswith(".load")
    assert holder.advice == f"{holder.path}.cache_clear()"


class Worker:
    """A thread whose function holds a model until it is told to let go, and then goes on."""

    def __init__(self) -> None:
        self.ready, self.let_go, self.gone, self.end = (threading.Event() for _ in range(4))
        self.left: weakref.ref[Model]
        self.thread = threading.Thread(target=self._work, name="worker-5", daemon=True)
        self.thread.start()
        assert self.ready.wait(60)

    def _work(self) -> None:
        m = Model()
        self.left = weakref.ref(m)
        self.ready.set()
        self.let_go.wait(60)
        del m
        self.gone.set()
        self.end.wait(60)

    def stop(self) -> None:
        self.let_go.set()
        self.end.set()
        self.thread.join(60)


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.stop()


def test_a_running_threads_function_is_told_with_its_variable(worker: Worker) -> None:
    (holder,) = found({}, worker.left)
    assert holder == Holder(
        "thread 'worker-5', function _work(), local 'm'", "thread", "let that function end", "Model"
    )


def test_looking_into_a_running_function_keeps_nothing_that_it_lets_go_of(worker: Worker) -> None:
    found({}, worker.left)
    worker.let_go.set()
    assert worker.gone.wait(60)
    assert worker.left() is None


def test_locals_that_a_function_has_asked_for_are_left_as_they_are() -> None:
    model = Model()
    asked = locals()
    before = dict(asked)
    holders_of([model], [])
    assert before.items() <= asked.items()


def test_a_function_that_is_running_here_is_told_as_well() -> None:
    def train(given: Model) -> tuple[Holder, ...]:
        return holders_of([given], [])

    (holder,) = train(Model())
    assert holder.path.endswith("function train(), local 'given'")


def test_a_thread_that_was_given_a_model_is_told_by_its_name() -> None:
    model = Model()
    thread = threading.Thread(target=print, args=(model,), name="not-started")
    left = weakref.ref(model)
    del model
    (holder,) = found({"t": thread}, left)
    assert (holder.path, holder.kind) == ("thread 'not-started'._args[0]", "thread")


async def test_a_task_is_told_by_its_name_and_its_function() -> None:
    async def work(given: Model) -> None:
        await asyncio.Event().wait()
        given.work()

    model = Model()
    task = asyncio.create_task(work(model), name="training")
    left = weakref.ref(model)
    del model
    await asyncio.sleep(0)
    (holder,) = found({"job": task}, left)
    assert holder.path.startswith("asyncio task 'training', coroutine work() line")
    assert holder.path.endswith("local 'given'")
    assert (holder.kind, holder.advice) == ("task", "job.cancel()")
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def test_a_widget_is_told_by_its_variable_or_its_class() -> None:
    widgets = pytest.importorskip("ipywidgets")
    model = Model()
    button = widgets.Button()
    button.on_click(a_closure(model))
    left = weakref.ref(model)
    del model
    names = {"button": button}
    (holder,) = found(names, left)
    assert (holder.kind, holder.advice) == ("widget", "button.close()")
    assert holder.path.startswith("button.")
    (holder,) = found({}, left)
    assert holder.path.startswith("a widget of class Button")
    button.close()


def test_the_last_traceback_is_told_with_function_line_and_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    error = an_error(Model())
    assert isinstance(error, ValueError)
    assert error.__traceback__ is not None
    left = weakref.ref(error.__traceback__.tb_frame.f_locals["given"])
    gc.unfreeze()  # for what is in sys
    monkeypatch.setattr(sys, "last_value", error, raising=False)
    monkeypatch.setattr(sys, "last_traceback", error.__traceback__, raising=False)
    del error
    (holder,) = found({}, left)
    assert without_lines(holder.path) == "the last traceback, frame train() line N, local 'given'"
    assert (holder.kind, holder.advice) == ("traceback", "%farm free --force")


def leased() -> tuple[LeasedModel, weakref.ref[Model]]:
    module: Any = Model()
    nothing: Any = None
    loaded = LoadedModel("m", module, nothing, nothing, (), "float32", Path(), None, None, 0, 1)
    return LeasedModel(loaded), weakref.ref(module)


def test_a_lease_is_told_with_the_variable_that_holds_it() -> None:
    lease, left = leased()
    names: dict[str, Any] = {"m": lease}
    del lease
    (holder,) = found(names, left)
    assert (holder.path, holder.kind) == ("m", "lease")
    assert "farm.models.lease" in holder.advice
    vars(names["m"])  # from now on its attributes stand in a dict of their own
    names["farm"] = {"loaded": names["m"]._held}
    assert found(names, left) == (holder,)
    del names["farm"]
    names["m"].give_back()
    assert left() is None


def test_a_lease_without_a_name_is_told_all_the_same() -> None:
    lease, left = leased()
    waiting = iter([lease])
    del lease
    (holder,) = found({}, left)
    assert holder.kind == "lease"
    del waiting


def test_the_package_itself_is_told_only_where_nobody_else_holds_it() -> None:
    lease, left = leased()
    loaded = lease._held
    names: dict[str, Any] = {"farm": Box(loaded=loaded)}
    del lease, loaded
    (holder,) = found(names, left)
    assert holder.kind == "farm"
    names["model"] = left()
    assert [each.path for each in found(names, left)] == ["model"]


def test_a_function_that_the_package_calls_in_another_thread_is_the_packages_work() -> None:
    """As ``forward(self)`` is while a request is answered."""
    ready, end = threading.Event(), threading.Event()
    lefts: list[weakref.ref[Model]] = []

    def forward() -> None:
        model = Model()
        lefts.append(weakref.ref(model))
        ready.set()
        end.wait(60)

    program = "def answer(step):\n    step()"
    names: dict[str, Any] = {"__name__": "farm_notebook.engine"}
    exec(program, names)
    thread = threading.Thread(target=names["answer"], args=(forward,), daemon=True)
    thread.start()
    assert ready.wait(60)
    (holder,) = found({}, *lefts)
    end.set()
    thread.join(60)
    assert holder.kind == "farm"
    assert "function forward(), local 'model'" in holder.path


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
