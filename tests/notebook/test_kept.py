"""What IPython keeps of a model is named, and cleared without touching what the user named himself."""

from __future__ import annotations

import gc
import io
import sys
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from kernels import Kernel
from shells import Shell, plain_shell

from farm_notebook.holders.names import Holder
from farm_notebook.holders.search import holders_of
from farm_notebook.notebook.kept import clear_kept, namespaces_of

MADE = """
import weakref
class Model: pass
left = []
def make():
    made = Model()
    left.append(weakref.ref(made))
    return made
def train():
    m = make()
    raise ValueError("no")
"""


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Shell]:
    gc.freeze()  # the search looks past what was there before; a test session holds a million objects
    yield from plain_shell(monkeypatch, capsys)
    gc.unfreeze()


@pytest.fixture
def made(shell: Shell) -> Shell:
    """A shell in which ``make()`` makes models, and ``left`` knows them."""
    run(shell, MADE)
    return shell


def run(shell: Shell, cell: str) -> None:
    result, _ = shell.run(cell)
    result.raise_error()


def left(shell: Shell) -> list[object]:
    gc.collect()
    return [model for each in shell.ip.user_ns["left"] if (model := each()) is not None]


def holders(shell: Shell) -> tuple[Holder, ...]:
    return holders_of(left(shell), namespaces_of(shell.ip))


def paths(shell: Shell) -> list[str]:
    return [holder.path for holder in holders(shell)]


def clear(shell: Shell) -> tuple[str, ...]:
    """Clear what leads to one of the models that were made."""
    ids = {id(model) for model in left(shell)}
    return clear_kept(shell.ip, lambda value: id(value) in ids)


def test_the_value_of_a_cell_is_one_holder_by_whatever_names_it_goes(made: Shell) -> None:
    run(made, "make()")
    assert holders(made) == (Holder("Out[2]", "output", "%farm free --force", "Model"),)
    run(made, "1")
    run(made, "2")
    assert paths(made) == ["Out[2]"]
    assert clear(made) == ("Out[2]",)
    assert left(made) == []


@pytest.mark.parametrize("later", [0, 1, 2, 3])
def test_a_value_is_cleared_from_all_names_that_ipython_gave_it(made: Shell, later: int) -> None:
    run(made, "make()")
    for number in range(later):
        run(made, f"{number}")
    assert clear(made) == ("Out[2]",)
    assert left(made) == []
    run(made, "'next'")
    number = made.ip.execution_count - 1
    assert made.ip.user_ns["_"] == made.ip.user_ns["Out"][number] == made.ip.user_ns[f"_{number}"] == "next"


def test_a_value_that_only_leads_to_a_model_is_cleared_and_others_are_left(made: Shell) -> None:
    run(made, "'kept'")
    run(made, "{'models': [make()]}")
    run(made, "[1, 2]")
    assert paths(made) == ["Out[3]['models'][0]"]
    assert clear(made) == ("Out[3]",)
    assert left(made) == []
    assert made.ip.user_ns["Out"] == {2: "kept", 4: [1, 2]}
    assert made.ip.user_ns["_"] == [1, 2]


def test_what_the_user_took_out_of_out_is_cleared_as_well(made: Shell) -> None:
    run(made, "make()")
    run(made, "del Out[2]")
    assert paths(made) == ["_2"]
    assert clear(made) == ("_2",)
    assert left(made) == []


def test_a_users_own_variables_are_named_and_never_cleared(made: Shell) -> None:
    run(made, "model = make()\nmodel")
    assert sorted(paths(made)) == ["Out[2]", "model"]
    assert clear(made) == ("Out[2]",)
    assert holders(made) == (Holder("model", "variable", "del model", "Model"),)


@pytest.mark.parametrize("name", ["_", "_7", "__"])
def test_a_name_like_ipythons_that_the_user_gave_is_the_users(made: Shell, name: str) -> None:
    run(made, f"{name} = make()")
    assert holders(made) == (Holder(name, "variable", f"del {name}", "Model"),)
    assert clear(made) == ()
    assert len(left(made)) == 1


def test_the_last_error_is_named_with_function_and_variable_and_cleared(
    made: Shell, caplog: pytest.LogCaptureFixture
) -> None:
    error, _ = made.error("train()")
    assert isinstance(error, ValueError)
    del error
    (holder,) = holders(made)
    assert holder.path == "the last traceback, frame train() line 10, local 'm'"
    assert (holder.kind, holder.advice) == ("traceback", "%farm free --force")
    run(made, "make()")
    assert clear(made) == ("the last traceback", "Out[3]")
    assert left(made) == []
    assert not hasattr(sys, "last_value")
    assert not hasattr(sys, "last_traceback")
    made.run("%debug")
    assert "No traceback has been produced" in caplog.text


def test_an_error_that_holds_no_model_is_left(made: Shell) -> None:
    made.error("1 / 0")
    run(made, "make()")
    assert clear(made) == ("Out[3]",)
    assert isinstance(sys.last_value, ZeroDivisionError)


def test_an_error_that_the_user_keeps_stays_whole(made: Shell) -> None:
    run(made, "try:\n    train()\nexcept ValueError as error:\n    mine = [error]")
    made.error("raise mine[0]")
    assert "the last traceback" in " ".join(paths(made))
    assert clear(made) == ("the last traceback",)
    (holder,) = holders(made)
    assert holder.path == "mine[0].__traceback__, frame train() line 10, local 'm'"
    assert holder.advice == "del mine[0]"


def test_the_cause_of_an_error_is_cleared_as_well(made: Shell) -> None:
    made.error("try:\n    train()\nexcept ValueError as error:\n    raise KeyError('x') from error")
    assert "frame train()" in paths(made)[0]
    assert clear(made) == ("the last traceback",)
    assert left(made) == []


def test_what_a_debugger_left_is_cleared(made: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    made.error("train()")
    monkeypatch.setattr(sys, "stdin", io.StringIO("up\ndown\nquit\n"))
    _, out = made.run("%debug")
    assert "ipdb>" in out
    del sys.last_value, sys.last_traceback, sys.last_type
    made.ip.last_execution_result = None
    assert paths(made) != []
    assert all(holder.kind == "traceback" for holder in holders(made))
    assert clear(made) == ("the last traceback",)
    assert left(made) == []


def test_without_a_question_everything_that_is_kept_is_cleared(made: Shell) -> None:
    run(made, "'a'")
    run(made, "[1]")
    made.error("1 / 0")
    assert clear_kept(made.ip) == ("the last traceback", "Out[2]", "Out[3]")
    assert made.ip.user_ns["Out"] == {}
    assert clear_kept(made.ip) == ()


def test_clearing_does_not_look_into_what_every_object_leads_to(made: Shell) -> None:
    run(made, "model = make()")
    run(made, "import sys; (sys, make, Model, get_ipython())")
    assert clear(made) == ()


def test_places_keep_nothing_alive(made: Shell) -> None:
    places = namespaces_of(made.ip)
    run(made, "make()")
    watched = weakref.ref(left(made)[0])
    assert clear(made) == ("Out[2]",)
    gc.collect()
    assert watched() is None
    del places


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    kernel = Kernel(FARM_MODEL="scripted:echo")
    kernel.run(KERNEL)
    yield kernel
    kernel.close()


KERNEL = """
import gc, threading, torch
from farm_notebook.holders.ghosts import Ghost, Ghosts
from farm_notebook.notebook.kept import clear_kept, namespaces_of
ghosts = Ghosts()
def make(ref):
    made = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 8))
    ghosts.add(Ghost(made, ref=ref, generation=1))
    return made
def train():
    m = make("traceback")
    raise ValueError("no")
def closed():
    m = make("closure")
    return lambda: m
started, end = threading.Event(), threading.Event()
def work():
    m = make("thread")
    started.set()
    end.wait(60)
"""


def told(kernel: Kernel) -> dict[str, list[str]]:
    """The holders by model, as the kernel tells them."""
    found = kernel.value(
        "{ghost.ref: sorted(each.path for each in holders)"
        " for ghost, holders in ghosts.explain(namespaces_of(get_ipython()))}"
    )
    assert isinstance(found, dict)
    return found


@pytest.mark.kernel
@pytest.mark.slow
def test_in_a_kernel_all_who_hold_a_model_are_named_and_ipythons_own_let_go(kernel: Kernel) -> None:
    value = kernel.run("make('output')")
    assert kernel.run("train()").status == "error"
    assert kernel.run("model = make('variable'); w = make('part')[1].weight; f = closed()").status == "ok"
    assert kernel.run("worker = threading.Thread(target=work, name='worker', daemon=True)").status == "ok"
    assert kernel.run("worker.start(); started.wait(60);").status == "ok"
    expected: dict[str, Any] = {
        "output": [f"Out[{value.count}]"],
        "traceback": ["the last traceback, frame train() line 11, local 'm'"],
        "variable": ["model"],
        "part": ["w"],
        "closure": ["f, variable 'm' of its closure"],
        "thread": ["thread 'worker', function work(), local 'm'"],
    }
    assert told(kernel) == expected
    cleared = kernel.value("clear_kept(get_ipython(), ghosts.leftovers())")
    assert cleared == ("the last traceback", f"Out[{value.count}]")
    del expected["output"], expected["traceback"]
    assert told(kernel) == expected
    assert kernel.run("end.set(); worker.join(); del model, w, f").status == "ok"
    assert told(kernel) == {}
    assert kernel.value("ghosts.held_bytes()") == 0
