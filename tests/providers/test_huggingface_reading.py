"""What is read from files is bit for bit what transformers makes of them, and needs them no more."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers", reason="the extra huggingface is not installed")

import torch
import transformers as hf
from checkpoints import loaded_from, one_thread
from safetensors.torch import load_file, save_file

from farm_notebook.errors import LoadError
from farm_notebook.providers.huggingface import reading
from farm_notebook.providers.huggingface.reading import read_to

CPU = torch.device("cpu")
WORDS: dict[str, Any] = {"vocab_size": 40, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
SIZES: dict[str, Any] = {**WORDS, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2} | {
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
EXPERTS: dict[str, Any] = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
SCALED: dict[str, Any] = {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0} | {
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
# Tied weights and scaled positions; convolutions for products; two towers; experts that are put together; a
# state in float32; two kinds of positions; an encoder.
MODELS: dict[str, Callable[[], Any]] = {
    "llama": lambda: hf.LlamaForCausalLM(
        hf.LlamaConfig(**SIZES, tie_word_embeddings=True, rope_parameters=SCALED)
    ),
    "gpt2": lambda: hf.GPT2LMHeadModel(
        hf.GPT2Config(**WORDS, n_embd=32, n_layer=2, n_head=4, n_positions=64)
    ),
    "t5": lambda: hf.T5Model(hf.T5Config(**WORDS, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4)),
    "qwen3_moe": lambda: hf.Qwen3MoeForCausalLM(hf.Qwen3MoeConfig(**SIZES, **EXPERTS)),
    "mamba": lambda: hf.MambaForCausalLM(
        hf.MambaConfig(**WORDS, hidden_size=32, num_hidden_layers=2, state_size=8)
    ),
    "gemma3": lambda: hf.Gemma3ForCausalLM(hf.Gemma3TextConfig(**SIZES, head_dim=8, sliding_window=16)),
    "bert": lambda: hf.BertModel(
        hf.BertConfig(**{name: size for name, size in SIZES.items() if name != "num_key_value_heads"})
    ),
}


@pytest.fixture(scope="module", autouse=True)
def on_one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that all but the smallest tensors are sent in several."""
    monkeypatch.setattr(reading, "STAGED_BYTES", 300)


def saved(name: str, folder: Path) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        module = MODELS[name]()
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        module.save_pretrained(folder, max_shard_size="20KB")
    return folder


def load(name: str, folder: Path, **options: Any) -> Any:
    kind: Any = hf.AutoModel if name in ("t5", "bert") else hf.AutoModelForCausalLM
    return kind.from_pretrained(folder, device_map={"": CPU}, **options).eval()


def answer(module: Any) -> torch.Tensor:
    ids = torch.tensor([[3, 4, 5, 6]])
    decoder = {"decoder_input_ids": ids} if module.config.is_encoder_decoder else {}
    with torch.inference_mode():
        first: torch.Tensor = module(input_ids=ids, **decoder)[0]
    return first


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("dtype", ["auto", "bfloat16"])
@pytest.mark.parametrize("staged", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_it_is_the_model_that_transformers_makes(name: str, staged: bool, dtype: str, tmp_path: Path) -> None:
    folder = saved(name, tmp_path / name)
    expected = load(name, folder, dtype=dtype)
    with read_to(CPU, staged=staged):
        module = load(name, folder, dtype=dtype)
    for mine, theirs in (
        (module.state_dict(), expected.state_dict()),
        (dict(module.named_buffers()), dict(expected.named_buffers())),
    ):
        assert list(mine) == list(theirs)
        for key, tensor in theirs.items():
            assert mine[key].dtype == tensor.dtype
            assert torch.equal(mine[key], tensor), key
    assert {*module.all_tied_weights_keys} == {*expected.all_tied_weights_keys}
    assert sum(parameter.numel() for parameter in module.parameters()) == sum(
        parameter.numel() for parameter in expected.parameters()
    ), "what is tied is so"
    assert module.config.to_dict() == expected.config.to_dict()
    if module.can_generate():
        assert module.generation_config.to_dict() == expected.generation_config.to_dict()
    assert torch.equal(answer(module), answer(expected))


@pytest.mark.parametrize("way", ["written anew", "cut off"])
def test_a_model_does_not_change_with_its_file(way: str, tiny_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "checkpoint")
    weights = folder / "model.safetensors"
    loaded = loaded_from(folder)
    before = {name: tensor.clone() for name, tensor in load_file(weights).items()}
    if way == "cut off":
        os.truncate(weights, 100)
    else:
        with weights.open("r+b") as file:
            file.write(b"\0" * weights.stat().st_size)
    assert all(torch.equal(loaded.module.get_parameter(name), tensor) for name, tensor in before.items())


def test_a_file_that_is_cut_off_meanwhile_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "short"
    file.write_bytes(b"0" * 10)
    with pytest.raises(LoadError, match=r"'.*short' was cut off while it was read"):
        reading._File(str(file)).fill(torch.empty(11, dtype=torch.uint8), 0)


def test_rare_formats_and_parts_are_left_to_safetensors(tmp_path: Path) -> None:
    from transformers import modeling_utils

    tensors = {
        "rare": torch.ones(3, dtype=torch.complex64),
        "empty": torch.ones(0),
        "plain": torch.arange(6.0),
    }
    save_file(tensors, tmp_path / "w.safetensors")
    with (
        read_to(CPU),
        vars(modeling_utils)["safe_open"](tmp_path / "w.safetensors", framework="pt") as opened,
    ):
        assert sorted(opened.keys()) == sorted(tensors)
        slices = {name: opened.get_slice(name) for name in tensors}
        assert all(torch.equal(slices[name][...], tensor) for name, tensor in tensors.items())
        assert slices["plain"][2:4].tolist() == [2, 3]
        assert slices["plain"].get_shape() == [6]


def test_what_other_threads_load_is_mapped_as_ever(tiny_model: Path) -> None:
    modules: list[Any] = []
    with read_to(CPU):
        thread = threading.Thread(target=lambda: modules.append(load("llama", tiny_model)))
        thread.start()
        thread.join()
        modules.append(load("llama", tiny_model))
    theirs, ours = modules
    mapped = Path("/proc/self/maps")
    if not mapped.exists():
        pytest.skip("this system does not tell what is mapped")

    def is_mapped(module: Any) -> bool:
        place = module.model.norm.weight.data_ptr()
        spans = (line.split() for line in mapped.read_text().splitlines() if str(tiny_model) in line)
        return any(
            int(low, 16) <= place < int(high, 16) for low, high in (span[0].split("-") for span in spans)
        )

    assert (is_mapped(theirs), is_mapped(ours)) == (True, False)
