"""Holders that are no variables: modules, classes, caches, threads, tasks, widgets, errors and leases."""

from __future__ import annotations

import asyncio
import functools
import gc
import sys
import threading
import types
import weakref
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from held import Box, Model, a_closure, an_error, found, only_new_objects, without_lines

from farm_notebook.holders.names import Holder
from farm_notebook.holders.search import holders_of
from farm_notebook.providers.huggingface.lease import LeasedModel
from farm_notebook.providers.huggingface.loaded import LoadedModel

__all__ = ["only_new_objects"]  # a fixture

pytestmark = pytest.mark.usefixtures("only_new_objects")


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
