"""What was loaded and dropped gives its memory back, however often."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import psutil
import pytest

pytest.importorskip("transformers", reason="the extra huggingface is not installed")

import torch
from checkpoints import loaded_from, one_thread

from farm_notebook.providers.huggingface.memory import allocated_bytes, free_bytes, give_back
from farm_notebook.providers.huggingface.validation import validate
from farm_notebook.providers.huggingface.work import Halt

CPU = torch.device("cpu")
GROWTH = 0.05


@pytest.fixture(scope="module", autouse=True)
def on_one_thread() -> Iterator[None]:
    with one_thread():
        yield


class Knot:
    """Refers to itself, as some models do."""

    def __init__(self) -> None:
        self.me = self


def collections() -> int:
    """Full ones so far."""
    return int(gc.get_stats()[2]["collections"])


def test_what_refers_to_itself_is_collected_and_nothing_else_costs_a_collection() -> None:
    knot = Knot()
    left = weakref.ref(knot)
    gone = weakref.ref(Knot.__new__(Knot))
    before = collections()
    give_back([gone])
    assert collections() == before
    del knot
    give_back([gone, left])
    assert left() is None


def test_figures_of_the_host_are_those_of_the_system() -> None:
    assert allocated_bytes(CPU) == pytest.approx(psutil.Process().memory_info().rss, rel=0.1)
    free = free_bytes(CPU)
    assert free is not None
    assert 0 < free <= psutil.virtual_memory().total
    assert free_bytes(torch.device("meta")) is None


def cycle(place: Path) -> None:
    """Load a model, have it say something, and drop it."""
    loaded = loaded_from(place)
    validate(loaded, Halt())
    module = weakref.ref(loaded.module)
    del loaded
    give_back([module])
    assert module() is None


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.parametrize(("model", "cycles"), [("tiny_model", 50), ("converted_model", 15)])
def test_memory_is_where_it_was_after_many_loads(
    model: str, cycles: int, request: pytest.FixtureRequest
) -> None:
    place: Path = request.getfixturevalue(model)
    for _ in range(3):  # what is made once, is made now
        cycle(place)
    after = []
    for _ in range(cycles):
        cycle(place)
        after.append(allocated_bytes(CPU))
    assert median(after[-5:]) < median(after[:5]) * (1 + GROWTH)
