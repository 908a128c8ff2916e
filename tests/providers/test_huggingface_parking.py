"""A model is set aside in host memory and comes back bit for bit, or nothing of it has moved."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers", reason="the extra huggingface is not installed")

import torch
from checkpoints import loaded_from, one_thread

from farm_notebook.errors import LoadError, OutOfMemoryError
from farm_notebook.providers.huggingface import parking
from farm_notebook.providers.huggingface.parking import HostMemory, park, unpark
from farm_notebook.providers.huggingface.work import Halt, HaltedError

CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def on_one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture
def loaded(tiny_model: Path) -> Any:
    """The tiny model, whose output weights are those of its embeddings."""
    return loaded_from(tiny_model)


class Interrupted(Halt):
    """One that goes off at a look; each tensor is looked at once."""

    def __init__(self, at: int, error: Exception) -> None:
        super().__init__()
        self._left = at
        self._error = error

    def check(self) -> None:
        if not self._left:
            raise self._error
        self._left -= 1


def tensors(loaded: Any) -> dict[str, torch.Tensor]:
    module = loaded.module
    return dict(module.named_parameters(remove_duplicate=False)) | dict(module.named_buffers())


def bits(loaded: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors(loaded).items()}


def places(loaded: Any) -> dict[str, int]:
    return {name: tensor.data_ptr() for name, tensor in tensors(loaded).items()}


def answer(loaded: Any) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = loaded.module(torch.tensor([[5, 6, 7]])).logits
    return logits


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_it_comes_back_bit_for_bit_and_all_that_refers_to_it_sees_it(loaded: Any) -> None:
    before, at_first, objects, said = bits(loaded), places(loaded), tensors(loaded), answer(loaded)
    parked = park(loaded, Halt(), copies=True)
    aside = places(loaded)
    assert set(aside.values()).isdisjoint(at_first.values())
    assert torch.equal(answer(loaded), said), "it still works"
    back = unpark(parked, CPU, Halt())
    assert set(places(back).values()).isdisjoint({*aside.values()})
    assert same(bits(back), before)
    assert torch.equal(answer(back), said)
    assert back.module is loaded.module
    assert all(tensor is objects[name] for name, tensor in tensors(back).items())
    assert (back.generation, back.device, back.devices) == (loaded.generation, CPU, ("cpu",))


def test_tied_weights_and_views_stay_so_and_are_counted_once(loaded: Any) -> None:
    module = loaded.module
    whole = torch.arange(24.0).view(4, 6)
    module.register_buffer("whole", whole, persistent=False)
    module.register_buffer("part", whole[1:3, ::2], persistent=False)
    module.bytes = whole.view(-1).view(torch.int16)  # neither a parameter nor a buffer, and of another format
    sizes = {
        tensor.data_ptr(): tensor.nbytes for tensor in tensors(loaded).values() if tensor is not module.part
    }
    parked = park(loaded, Halt(), copies=True)
    assert sum(sizes.values()) <= parked.size_bytes < sum(sizes.values()) + 256 * len(sizes)
    for _ in range(2):
        assert module.lm_head.weight is module.model.embed_tokens.weight
        module.whole[1, 2] = -1
        assert module.part[0, 1] == -1
        assert torch.equal(module.bytes.view(torch.float32), module.whole.view(-1))
        assert module.part.stride() == (6, 2)
        module.whole[1, 2] = 8
        unpark(parked, CPU, Halt())


def test_a_buffer_that_was_made_while_answering_still_counts_as_such(loaded: Any) -> None:
    with torch.inference_mode():
        loaded.module.register_buffer("late", torch.arange(3.0), persistent=False)
    parked = park(loaded, Halt(), copies=True)
    unpark(parked, CPU, Halt())
    assert loaded.module.late.is_inference()
    assert loaded.module.late.tolist() == [0, 1, 2]


@pytest.mark.parametrize("at", [0, 1, 7, 12])
def test_one_that_is_stopped_on_its_way_has_not_moved(loaded: Any, at: int) -> None:
    before, at_first = bits(loaded), places(loaded)
    with pytest.raises(HaltedError):
        park(loaded, Interrupted(at, HaltedError()), copies=True)
    assert places(loaded) == at_first
    parked = park(loaded, Halt(), copies=True)
    aside = places(loaded)
    with pytest.raises(HaltedError):
        unpark(parked, CPU, Interrupted(at, HaltedError()))
    assert places(loaded) == aside
    assert same(bits(unpark(parked, CPU, Halt())), before)


class Stubborn(torch.Tensor):
    """One that cannot be switched over."""

    @property
    def data(self) -> torch.Tensor:
        return self

    @data.setter
    def data(self, value: torch.Tensor) -> None:
        raise ZeroDivisionError


def test_one_that_fails_while_it_is_switched_over_has_not_moved(
    loaded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, at_first, moved = bits(loaded), places(loaded), parking._Region.moved
    regions: list[object] = []

    def and_one_more(region: Any, place: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        regions.append(region)
        more = [(torch.zeros(1).as_subclass(Stubborn), place)] if len(regions) == 5 else []
        return moved(region, place) + more

    monkeypatch.setattr(parking._Region, "moved", and_one_more)
    with pytest.raises(ZeroDivisionError):
        park(loaded, Halt(), copies=True)
    assert len(regions) > 5, "some were switched over before"
    assert places(loaded) == at_first
    assert same(bits(loaded), before)


def test_memory_that_is_short_is_told_and_nothing_of_the_try_is_kept(
    loaded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kept() -> int:
        gc.collect()
        found = [thing for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor)]
        return len({tensor.untyped_storage().data_ptr() for tensor in found})

    before = kept()
    with pytest.raises(
        OutOfMemoryError, match=r"needs [\d,]+ bytes of host memory to be set aside"
    ) as caught:
        park(loaded, Interrupted(7, torch.OutOfMemoryError("out of memory")), copies=True)
    assert kept() == before, "while the error is looked at"
    parked = park(loaded, Halt(), copies=True)
    before = kept()
    with pytest.raises(OutOfMemoryError, match=r"needs [\d,]+ bytes on cpu to be brought back") as caught:
        unpark(parked, CPU, Interrupted(7, torch.OutOfMemoryError("out of memory")))
    assert kept() == before
    del caught
    unpark(parked, CPU, Halt())
    monkeypatch.setattr(parking, "free_bytes", lambda device: 1000)
    with pytest.raises(OutOfMemoryError, match="host memory"):
        park(loaded, Halt(), copies=True)


def test_a_model_on_the_processor_stays_where_it_is_and_says_so(loaded: Any) -> None:
    at_first = places(loaded)
    parked = park(loaded, Halt())
    assert (parked.frees_device, parked.is_pinned, parked.host) == (False, False, None)
    assert parked.size_bytes >= loaded.size_bytes
    assert unpark(parked, CPU, Halt()).module is loaded.module
    assert places(loaded) == at_first


def test_the_memory_it_was_in_serves_again_where_it_is_large_enough(loaded: Any) -> None:
    first = park(loaded, Halt(), copies=True)
    again = park(unpark(first, CPU, Halt()), Halt(), host=first.host, copies=True)
    assert again.host is not None
    assert again.host is first.host
    assert {tensor.untyped_storage().data_ptr() for tensor in tensors(loaded).values()} == {
        again.host.bytes.data_ptr()
    }
    small = HostMemory(1000)
    assert park(unpark(again, CPU, Halt()), Halt(), host=small, copies=True).host is not small


def test_host_memory_goes_back_when_the_last_tensor_in_it_is_gone(loaded: Any) -> None:
    parked = park(loaded, Halt(), copies=True)
    assert parked.host is not None
    pages, unpinned = weakref.ref(parked.host._pages), []
    parked.host._pages.unpin = lambda: unpinned.append(True)
    assert parked.is_pinned
    kept = loaded.module.model.norm.weight.data
    unpark(parked, CPU, Halt())
    del parked
    assert pages() is not None, "someone still looks at it"
    del kept
    assert pages() is None
    assert unpinned == [True]


class Odd(torch.Tensor):
    """As libraries of quantisation have them."""


REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "quantised": (
        lambda loaded: setattr(loaded.module.config, "quantization_config", {"quant_method": "bitsandbytes"}),
        r"its weights are quantised \(bitsandbytes\)",
    ),
    "of a kind of their own": (
        lambda loaded: loaded.module.register_buffer("odd", torch.zeros(2).as_subclass(Odd)),
        "it has tensors of the kind Odd on cpu",
    ),
    "on the disk": (
        lambda loaded: loaded.module.register_buffer("far", torch.zeros(2, device="meta")),
        "it has tensors of the kind Tensor on meta",
    ),
    "distributed": (
        lambda loaded: replace(loaded, devices=("cuda:0", "cuda:1")),
        r"several devices \(cuda:0, cuda:1\)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_moved_is_refused(loaded: Any, case: str) -> None:
    change, reason = REFUSED[case]
    loaded = change(loaded) or loaded
    with pytest.raises(
        LoadError, match=f"cannot be set aside in host memory: .*{reason}.* Unload it instead"
    ):
        park(loaded, Halt())
