"""``farm.models``: a model of this process is held for as long as a block lasts; others cannot be."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

import farm_notebook as farm
from farm_notebook import AsyncFarm, Farm
from farm_notebook.errors import InvalidRequestError
from farm_notebook.farm import blocking as farm_module


@pytest.fixture
def default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Farm:
    """A default farm for one test, which shares no loaded model with those of others."""
    monkeypatch.setattr(farm_module, "_default", Farm(model="scripted:echo", cache_dir=tmp_path))
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


def test_without_their_extras_providers_are_listed_as_not_well_and_break_nothing(tmp_path: Path) -> None:
    """The base install has neither torch nor transformers, huggingface_hub or openai."""
    code = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('torch', 'transformers', 'huggingface_hub', 'openai'):\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "import importlib.util\n"
        "found = importlib.util.find_spec\n"
        "def find_spec(name, package=None):\n"
        "    try:\n"
        "        return found(name, package)\n"
        "    except ModuleNotFoundError:\n"
        "        return None\n"
        "importlib.util.find_spec = find_spec\n"
        "from farm_notebook import Farm\n"
        "farm = Farm()\n"
        "assert 'llamacpp:smollm2:135m' in {str(info.ref) for info in farm.list_models()}\n"
        "fixes = {status.name: status.fix for status in farm.health() if not status.healthy}\n"
        "assert 'farm-notebook[huggingface]' in fixes['huggingface']\n"
        "try:\n"
        "    farm.chat('a', model='huggingface:owner/name')\n"
        "except ImportError as error:\n"
        "    assert 'farm-notebook[huggingface]' in str(error)\n"
        "else:\n"
        "    raise AssertionError('it answered')\n"
        "try:\n"
        "    farm.chat('a', model='openai:gpt')\n"
        "except ImportError as error:\n"
        "    assert 'farm-notebook[openai]' in str(error)\n"
        "else:\n"
        "    raise AssertionError('it answered')\n"
        "print('fine')\n"
    )
    environment = os.environ | {"OPENAI_API_KEY": "x", "FARM_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stdout, done.stderr) == ("fine\n", "")
