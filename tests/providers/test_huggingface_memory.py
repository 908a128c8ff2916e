"""What was loaded and dropped gives its memory back, however often."""

from __future__ import annotations

import ctypes
import gc
import os
import warnings
import weakref
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import psutil
import pytest

pytest.importorskip("transformers", reason="the extra huggingface is not installed")

import torch
from checkpoints import loaded_from, one_thread

from farm_notebook.devices.cgroup import MemoryGroups, MemoryLimit
from farm_notebook.providers.huggingface.memory import (
    Pages,
    allocated_bytes,
    free_bytes,
    give_back,
    living,
    pin,
)
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


def test_in_a_container_its_limit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = MemoryLimit(4 << 30, 1 << 20)
    monkeypatch.setattr(MemoryGroups, "limit", lambda groups: limit)
    assert free_bytes(CPU) == 1 << 20


class Runtime:
    """What of CUDA pins memory, and how it answers."""

    def __init__(self, code: int) -> None:
        self.code = code
        self.pinned: list[tuple[int, int]] = []

    def cudaHostRegister(self, place: int, size: int, flags: int) -> int:
        self.pinned += [(place, size)] if not self.code else []
        return self.code

    def cudaHostUnregister(self, place: int) -> int:
        self.pinned = [(known, size) for known, size in self.pinned if known != place]
        return 0


def test_memory_is_pinned_until_it_goes_and_not_where_the_system_refuses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def raise_what_was_kept(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA error: out of memory")

    pages = Pages(5000)
    willing, refusing = Runtime(0), Runtime(2)
    monkeypatch.setattr(torch.cuda, "cudart", lambda: willing)
    pages.unpin = pin(pages.bytes())
    assert willing.pinned == [(pages.bytes().data_ptr(), 5000)]
    del pages
    assert willing.pinned == []
    monkeypatch.setattr(torch.cuda, "cudart", lambda: refusing)
    monkeypatch.setattr(torch, "zeros", raise_what_was_kept)
    assert pin(Pages(5000).bytes()) is None


def test_pages_outlive_their_owner_in_a_tensor() -> None:
    part = Pages(8192).bytes()[100:200]
    assert part.fill_(7).sum() == 700
    with pytest.raises(MemoryError, match=r"cannot allocate memory: [\d,]+ bytes"):
        Pages(1 << 60)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_writes_into_pages_of_its_own() -> None:
    whole = Pages(4096).bytes()
    whole.fill_(1)
    place = whole.data_ptr()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12, as there are other threads
        child = os.fork()
    if child == 0:
        ctypes.memset(place, 7, whole.nbytes)  # not through torch, whose threads are not here
        os._exit(0)
    os.waitpid(child, 0)
    assert set(whole.tolist()) == {1}


def test_a_model_counts_as_living_until_it_is_gone(tiny_model: Path) -> None:
    gc.collect()
    before = len(living)
    loaded = loaded_from(tiny_model)
    assert len(living) == before + 1
    del loaded
    assert len(living) == before


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
@pytest.mark.parametrize(("model", "cycles"), [("tiny_model", 50), ("converted_model", 10)])
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
