"""``farm.models``: a model of this process is held for as long as a block lasts; others cannot be."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import farm_notebook as farm
from farm_notebook import AsyncFarm, Farm
from farm_notebook import farm as farm_module
from farm_notebook.errors import InvalidRequestError


@pytest.fixture
def default(monkeypatch: pytest.MonkeyPatch) -> Farm:
    """A default farm for one test."""
    monkeypatch.setattr(farm_module, "_default", Farm(model="scripted:echo"))
    return farm_module.default_farm()


@pytest.mark.slow
def test_a_leased_model_is_loaded_and_of_no_use_after_the_block(default: Farm, tiny_model: Path) -> None:
    ref = f"huggingface:{tiny_model}"
    with farm.models.lease(ref) as model:
        width = model.module.config.hidden_size
        assert model.module.get_input_embeddings().weight.shape == (len(model.tokenizer), width)
        assert [str(info.ref) for info in farm.models.loaded()] == [ref]
    with pytest.raises(InvalidRequestError, match="lease"):
        assert model.module
    assert farm.models.unload(ref)
    assert not farm.models.loaded()


@pytest.mark.slow
def test_a_model_is_loaded_by_hand_once(default: Farm, tiny_model: Path) -> None:
    ref = f"huggingface:{tiny_model}"
    farm.models.load(ref)
    assert [str(info.ref) for info in farm.models.loaded()] == [ref]
    assert list(default.load(ref)) == []
    assert farm.models.unload(ref)
    assert not farm.models.unload(ref)


def test_a_model_of_another_process_cannot_be_leased(default: Farm) -> None:
    refused = pytest.raises(InvalidRequestError, match="scripted:echo runs in another process")
    with refused, farm.models.lease():
        raise AssertionError("there is nothing to hold")


async def test_a_coroutine_leases_from_its_own_loop(tiny_model: Path) -> None:
    core = AsyncFarm(model=f"huggingface:{tiny_model}")
    async with core.lease() as model:
        assert model.tokenizer.vocab_size > 0
    assert await asyncio.wait_for(core.unload(), 30)
