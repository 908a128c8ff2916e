"""A model with an adapter answers as the two of them, on the base's own memory, and nobody else does."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("peft", reason="the extra huggingface is not installed")

import torch
import transformers as hf
from checkpoints import loaded_from, one_thread
from contract import drain, on_farm_loop
from peft import IA3Config, LoraConfig, get_peft_model
from safetensors.torch import load_file

from farm_notebook.config import load_config
from farm_notebook.errors import LoadError, ModelNotFoundError
from farm_notebook.providers.huggingface.adapters import adapt
from farm_notebook.providers.huggingface.parking import park, unpark
from farm_notebook.providers.huggingface.provider import HuggingFaceProvider
from farm_notebook.providers.huggingface.work import Halt
from farm_notebook.types import ChatMessage, ChatRequest, ModelRef

TOKENS = 12
PROMPT = "Count. one two three"


@pytest.fixture(scope="module")
def base(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, in a folder whose name has a + in it."""
    folder = tmp_path_factory.mktemp("models") / "base+1"
    shutil.copytree(tiny_model, folder)
    return folder


@pytest.fixture(scope="module")
def adapters(base: Path) -> list[Path]:
    """Two adapters for it, of different effect; their names too have a + in them."""
    return [make_adapter(base, base.parent / f"adapter+{seed}", seed) for seed in (1, 2)]


@pytest.fixture(scope="module")
def refs(base: Path, adapters: list[Path]) -> list[str]:
    """The base alone, and with each of the adapters."""
    return [str(base), *(f"{base}+{adapter}" for adapter in adapters)]


@pytest.fixture(scope="module", autouse=True)
def on_one_thread() -> Iterator[None]:
    with one_thread():
        yield


def make_adapter(base: Path, folder: Path, seed: int = 1, config: Any = None) -> Path:
    """An adapter of random weights, saved as peft saves one."""
    targets = ["q_proj", "v_proj", "down_proj"]
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft 0.21 asks for what transformers 5.24 renamed
        torch.manual_seed(seed)
        module: Any = hf.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        module = get_peft_model(module, config or LoraConfig(r=4, lora_alpha=16, target_modules=targets))
        for name, parameter in module.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.5)  # zero, as training begins, would change nothing
        module.save_pretrained(folder)
    return folder


def changed(adapter: Path, folder: Path, **fields: Any) -> Path:
    """A copy of an adapter whose configuration says something else."""
    shutil.copytree(adapter, folder)
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))
    return folder


def merged(base: Path, adapter: Path) -> Any:
    """A module with the weights ``W + B A alpha / r``, and no adapter in it.

    Source: Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, 2021, section 4.1.
    """
    module = hf.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    config = json.loads((adapter / "adapter_config.json").read_text())
    weights = load_file(adapter / "adapter_model.safetensors")
    for name, low in weights.items():
        if ".lora_A." in name:
            place = name.removeprefix("base_model.model.").replace(".lora_A", "")
            high = weights[name.replace(".lora_A.", ".lora_B.")]
            module.get_parameter(place).data += high @ low * config["lora_alpha"] / config["r"]
    return module


def continued(module: Any, base: Path) -> str:
    """What transformers itself says after the prompt."""
    tokenizer = hf.AutoTokenizer.from_pretrained(base)
    inputs = tokenizer(PROMPT, return_tensors="pt", return_token_type_ids=False)
    with torch.inference_mode():
        answer = module.generate(**inputs, max_new_tokens=TOKENS, do_sample=False)
    return str(tokenizer.decode(answer[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))


def expected(base: Path, adapters: list[Path]) -> list[str]:
    """What the base and the adapted models say, in the order of ``refs``."""
    plain = hf.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    texts = [continued(module, base) for module in (plain, *(merged(base, each) for each in adapters))]
    assert len(set(texts)) == len(texts), "an adapter without an effect proves nothing"
    return texts


async def said(provider: HuggingFaceProvider, ref: str, **options: Any) -> str:
    request = ChatRequest(
        ModelRef("huggingface", ref),
        (ChatMessage("user", PROMPT),),
        kind="completion",
        **({"temperature": 0, "max_tokens": TOKENS} | options),
    )
    return (await provider.generate(request)).text


@asynccontextmanager
async def provided(**settings: Any) -> AsyncIterator[HuggingFaceProvider]:
    provider = HuggingFaceProvider(load_config({"huggingface": {"device": "cpu", **settings}}))
    try:
        yield provider
    finally:
        await provider.aclose()


@pytest.mark.parametrize("batching", [True, False])
@on_farm_loop
async def test_an_adapted_model_answers_as_the_sum_of_both_and_the_base_as_before(
    base: Path, adapters: list[Path], refs: list[str], batching: bool
) -> None:
    async with provided(batching=batching) as provider:
        before = await said(provider, refs[0])
        answers = [await said(provider, ref) for ref in refs]
    assert answers == expected(base, adapters)
    assert before == answers[0]


@pytest.mark.parametrize("batching", [True, False])
@on_farm_loop
async def test_requests_at_once_are_answered_with_the_adapter_their_ref_names(
    base: Path, adapters: list[Path], refs: list[str], batching: bool
) -> None:
    async with provided(batching=batching) as provider:
        answers = await asyncio.gather(*(said(provider, ref) for ref in refs * 3))
        loaded = [info for info in await provider.list_models() if info.loaded]
    assert answers == expected(base, adapters) * 3
    assert sorted(info.ref.model for info in loaded) == sorted(refs)


@on_farm_loop
async def test_the_weights_of_the_base_are_in_memory_once_and_stay_as_they_are(
    base: Path, refs: list[str]
) -> None:
    saved = load_file(base / "model.safetensors")
    async with provided() as provider:
        for ref in refs:
            await drain(provider.load_model(ref))
        async with (
            provider.lease(refs[0]) as plain,
            provider.lease(refs[1]) as first,
            provider.lease(refs[2]) as second,
        ):
            places = {parameter.data_ptr() for parameter in plain.module.parameters()}
            for adapted in (first, second):
                own = {
                    name.split(".")[-3]
                    for name, parameter in adapted.module.named_parameters()
                    if parameter.data_ptr() not in places
                }
                assert own == {"lora_A", "lora_B"}
                assert not any(parameter.requires_grad for parameter in adapted.module.parameters())
            for name, weight in saved.items():
                assert torch.equal(plain.module.get_parameter(name), weight)
            assert {type(lease.module) for lease in (plain, first, second)} == {hf.LlamaForCausalLM}
            assert plain.generation < min(first.generation, second.generation)


def test_an_adapted_model_moves_with_its_base(base: Path, adapters: list[Path]) -> None:
    def say(loaded: Any) -> torch.Tensor:
        logits: torch.Tensor = loaded.module(torch.tensor([[5, 6, 7]])).logits
        return logits

    def places(loaded: Any) -> dict[str, int]:
        return {name: tensor.data_ptr() for name, tensor in loaded.module.named_parameters()}

    cpu, plain = torch.device("cpu"), loaded_from(base)
    adapted = adapt(plain, "both", adapters[0], Halt(), lambda done, total: None)
    said = say(plain), say(adapted)
    before = places(adapted)
    parked = park(plain, Halt(), copies=True)
    moved = {name for name, place in places(adapted).items() if place != before[name]}
    assert {name for name in before if "lora" not in name} == moved, "all but the adapter's own"
    assert all(map(torch.equal, said, (say(plain), say(adapted))))
    parked_too = park(adapted, Halt(), copies=True)
    assert parked_too.size_bytes > parked.size_bytes
    for one, other in ((parked, parked_too), (parked_too, parked)):
        unpark(one, cpu, Halt())
        unpark(other, cpu, Halt())
        assert all(map(torch.equal, said, (say(plain), say(adapted))))
        assert set(places(plain).values()) <= set(places(adapted).values()), "they still share"


def test_an_adapter_does_not_change_with_its_file(base: Path, adapters: list[Path], tmp_path: Path) -> None:
    folder = shutil.copytree(adapters[0], tmp_path / "adapter")
    adapted = adapt(loaded_from(base), "both", folder, Halt(), lambda done, total: None)
    before = {name: tensor.clone() for name, tensor in adapted.module.state_dict().items()}
    weights = folder / "adapter_model.safetensors"
    with weights.open("r+b") as file:
        file.write(b"\0" * weights.stat().st_size)
    assert all(torch.equal(tensor, before[name]) for name, tensor in adapted.module.state_dict().items())


@on_farm_loop
async def test_loading_tells_of_the_base_and_then_of_the_adapter(refs: list[str]) -> None:
    async with provided() as provider:
        whole = [progress async for progress in provider.load_model(refs[1])]
        only_adapter = [progress async for progress in provider.load_model(refs[2])]
    for reports in (whole, only_adapter):
        done = [progress.completed_bytes for progress in reports]
        assert done == sorted(done)
        assert done[-1] == reports[-1].total_bytes
    assert 0 < only_adapter[-1].completed_bytes < whole[-1].completed_bytes


@on_farm_loop
async def test_an_adapter_is_unloaded_alone_and_with_its_base(refs: list[str]) -> None:
    async def loaded() -> set[str]:
        return {info.ref.model for info in await provider.list_models() if info.loaded}

    async with provided() as provider:
        for ref in refs[1:]:
            await drain(provider.load_model(ref))
        assert await loaded() == set(refs)
        assert await provider.unload_model(refs[1])
        assert not await provider.unload_model(refs[1])
        assert await loaded() == {refs[0], refs[2]}
        assert await provider.unload_model(refs[0])
        assert await loaded() == set()
        assert await said(provider, refs[1])


@on_farm_loop
async def test_a_digest_is_of_both(base: Path, adapters: list[Path], refs: list[str], tmp_path: Path) -> None:
    async with provided() as provider:
        digests = [await provider.digest(ref) for ref in refs]
        other = changed(adapters[0], tmp_path / "other", lora_alpha=9)
        digests.append(await provider.digest(f"{base}+{other}"))
        again = await provider.digest(refs[1])
    assert None not in digests
    assert len(set(digests)) == 4
    assert again == digests[1]


@on_farm_loop
async def test_an_adapted_model_embeds(base: Path, adapters: list[Path], refs: list[str]) -> None:
    async with provided() as provider:
        vectors = [(await provider.embed([PROMPT], ref)).vectors[0] for ref in refs]
    tokenizer = hf.AutoTokenizer.from_pretrained(base)
    ids = torch.tensor([tokenizer(PROMPT)["input_ids"]])
    with torch.inference_mode():
        states = merged(base, adapters[0]).model(ids).last_hidden_state
    assert vectors[1] == pytest.approx(
        torch.nn.functional.normalize(states.mean(1), dim=-1)[0].tolist(), abs=1e-4
    )
    for one, other in itertools.combinations(vectors, 2):
        assert one != pytest.approx(other, abs=1e-2)


@on_farm_loop
async def test_a_tokenizer_that_comes_with_an_adapter_is_used(
    base: Path, adapters: list[Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(adapters[0], tmp_path / "chatty")
    tokenizer = hf.AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = "{{ messages[0].content }}!"
    tokenizer.save_pretrained(folder)
    async with provided() as provider, provider.lease(f"{base}+{folder}") as leased:
        assert leased.tokenizer.chat_template == tokenizer.chat_template


@on_farm_loop
async def test_a_tokenizer_with_words_the_base_does_not_know_is_refused(
    base: Path, adapters: list[Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(adapters[0], tmp_path / "wordy")
    tokenizer = hf.AutoTokenizer.from_pretrained(base)
    tokenizer.add_tokens(["floccinaucinihilipilification"])
    tokenizer.save_pretrained(folder)
    async with provided() as provider:
        with pytest.raises(LoadError, match=r"tokenizer of \d+ tokens, and the base has embeddings for \d+"):
            await drain(provider.load_model(f"{base}+{folder}"))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"peft_type": "IA3"}, r"of the kind 'IA3'; the one kind that is known is 'LORA'"),
        (
            {"init_lora_weights": "pissa"},
            r"init_lora_weights='pissa'.*path_initial_model_for_weight_conversion",
        ),
        ({"target_modules": ["query_key_value"]}, r"does not fit .*LlamaForCausalLM.*query_key_value"),
        ({"r": 8, "base_model_name_or_path": "other/one"}, r"12 weights have another shape .*'other/one'"),
        ({"target_modules": ["q_proj"]}, r"8 weights have no place in it"),
        ({"target_modules": ["q_proj", "k_proj", "v_proj", "down_proj"]}, r"4 weights are missing"),
    ],
    ids=["another kind", "a changed base", "another architecture", "a shape", "too many", "too few"],
)
@on_farm_loop
async def test_an_adapter_that_does_not_fit_is_refused(
    base: Path, adapters: list[Path], refs: list[str], tmp_path: Path, fields: dict[str, Any], words: str
) -> None:
    folder = changed(adapters[0], tmp_path / "changed", **fields)
    async with provided() as provider:
        before = await said(provider, refs[0])
        with pytest.raises(LoadError, match=words):
            await drain(provider.load_model(f"{base}+{folder}"))
        assert await said(provider, refs[0]) == before


@on_farm_loop
async def test_an_adapter_of_ia3_as_peft_saves_it_is_refused(base: Path, tmp_path: Path) -> None:
    config = IA3Config(target_modules=["v_proj"], feedforward_modules=[])
    folder = make_adapter(base, tmp_path / "ia3", config=config)
    async with provided() as provider:
        with pytest.raises(LoadError, match="'IA3'"):
            await drain(provider.load_model(f"{base}+{folder}"))


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("adapter_config.json", r"is no adapter: there is no adapter_config\.json in it"),
        ("adapter_model.safetensors", r"has no weights: there is no '.*adapter_model\.safetensors'"),
    ],
)
@on_farm_loop
async def test_a_file_that_is_missing_is_named(
    base: Path, adapters: list[Path], tmp_path: Path, missing: str, words: str
) -> None:
    folder = shutil.copytree(adapters[0], tmp_path / "partial")
    (folder / missing).unlink()
    async with provided() as provider:
        with pytest.raises(LoadError, match=words):
            await drain(provider.load_model(f"{base}+{folder}"))


@on_farm_loop
async def test_pickled_weights_are_not_read(base: Path, adapters: list[Path], tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "exploded",)

    folder = shutil.copytree(adapters[0], tmp_path / "pickled")
    (folder / "adapter_model.safetensors").unlink()
    torch.save({"weight": Bomb()}, folder / "adapter_model.bin")
    async with provided() as provider:
        with pytest.raises(LoadError, match=r"pickled weights only \(adapter_model\.bin\)"):
            await drain(provider.load_model(f"{base}+{folder}"))
    assert not (tmp_path / "exploded").exists()


@on_farm_loop
async def test_an_adapter_that_is_not_there_is_told_as_such(base: Path, tmp_path: Path) -> None:
    async with provided() as provider:
        with pytest.raises(ModelNotFoundError, match="nowhere"):
            await drain(provider.load_model(f"{base}+{tmp_path / 'nowhere'}"))


@on_farm_loop
async def test_an_adapter_alone_says_what_to_write(adapters: list[Path]) -> None:
    async with provided() as provider:
        with pytest.raises(LoadError, match=r"is an adapter, not a model\. Write BASE\+"):
            await drain(provider.load_model(str(adapters[0])))
