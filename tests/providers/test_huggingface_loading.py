"""Checkpoints load once, with progress; those that are broken or not to be trusted say why they do not."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import shutil
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers", reason="the extra huggingface is not installed")

import torch
from checkpoints import loaded_from, one_thread
from contract import drain, on_farm_loop
from safetensors.torch import load_file, save_file

from farm_notebook import loop
from farm_notebook.config import load_config
from farm_notebook.errors import (
    ConfigError,
    FarmError,
    InvalidRequestError,
    LoadError,
    ModelNotFoundError,
    OutOfMemoryError,
)
from farm_notebook.providers.huggingface.provider import HuggingFaceProvider
from farm_notebook.providers.huggingface.work import Halt, HaltedError
from farm_notebook.types import ChatMessage, ChatRequest, ModelRef, TextDelta

Break = Callable[[Path], object]


@pytest.fixture(scope="module", autouse=True)
def on_one_thread() -> Iterator[None]:
    with one_thread():
        yield


@asynccontextmanager
async def provided(**settings: Any) -> AsyncIterator[HuggingFaceProvider]:
    provider = HuggingFaceProvider(load_config({"offline": True, "huggingface": settings}))
    try:
        yield provider
    finally:
        await provider.aclose()


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model, to be broken."""
    return Path(shutil.copytree(tiny_model, tmp_path / "checkpoint"))


def asked(folder: Path, prompt: str = "What is the capital of Japan?", **options: Any) -> ChatRequest:
    ref = ModelRef("huggingface", str(folder))
    return ChatRequest(ref, (ChatMessage("user", prompt),), **{"temperature": 0.0, **options})


def change_config(folder: Path, **changes: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    file = folder / "model.safetensors"
    weights = {name: tensor.clone() for name, tensor in load_file(file).items()}
    change(weights)
    save_file(weights, file, metadata={"format": "pt"})


def cut_off(folder: Path) -> None:
    file = folder / "model.safetensors"
    os.truncate(file, file.stat().st_size - 1000)


def split_and_lose_one(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    names = dict.fromkeys(weights, "model-00001-of-00002.safetensors")
    names["model.norm.weight"] = "model-00002-of-00002.safetensors"
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")


def empty(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def forget_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()


def pickle_weights(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def bring_code(folder: Path) -> None:
    change_config(
        folder,
        model_type="mine",
        auto_map={"AutoConfig": "mine.MyConfig", "AutoModelForCausalLM": "mine.MyModel"},
    )
    ran = folder.parent / "code-has-run"
    (folder / "mine.py").write_text(
        f"import pathlib\npathlib.Path({str(ran)!r}).touch()\n"
        "from transformers import LlamaConfig, LlamaForCausalLM\n"
        "class MyConfig(LlamaConfig):\n    model_type = 'mine'\n"
    )


BROKEN: dict[str, tuple[Break, str]] = {
    "a file that is cut off": (cut_off, r"model\.safetensors' is not whole: it should have [\d,]+ bytes"),
    "a file that is something else": (
        lambda folder: (folder / "model.safetensors").write_text("<html>404 Not Found</html>"),
        "is no safetensors file",
    ),
    "a file that the index names": (split_and_lose_one, "model-00002-of-00002.safetensors is missing"),
    "missing weights": (
        lambda folder: change_weights(folder, lambda weights: weights.pop("model.norm.weight")),
        r"1 weights are missing \(model\.norm\.weight\)",
    ),
    "weights of another shape": (
        lambda folder: change_config(folder, intermediate_size=100),
        r"6 weights have another shape than its configuration says \(model\.layers\.0\.mlp\.",
    ),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "there is no \\*.safetensors"),
    "no configuration": (lambda folder: (folder / "config.json").unlink(), "there is no '.*config.json'"),
    "a configuration that is no JSON": (
        lambda folder: (folder / "config.json").write_text("{"),
        "config.json' cannot be read",
    ),
    "an unknown architecture": (
        lambda folder: change_config(folder, model_type="nonesuch"),
        "does not load: .*nonesuch",
    ),
    "the weights of another architecture": (
        lambda folder: change_config(folder, model_type="gpt2", architectures=["GPT2LMHeadModel"]),
        r"does not load as GPT2LMHeadModel: 29 weights are missing \(.*transformer\.",
    ),
    "fewer layers than it says": (
        lambda folder: change_config(folder, num_hidden_layers=3),
        r"weights are missing \(model\.layers\.2\.",
    ),
    "weights that are no numbers": (
        lambda folder: change_weights(
            folder, lambda weights: weights["model.norm.weight"].fill_(float("nan"))
        ),
        r"its weight model\.norm\.weight has NaN or Inf",
    ),
    "nothing in it yet": (empty, "there is no '.*config.json'"),
    "no tokenizer": (forget_tokenizer, "has no tokenizer"),
    "pickled weights": (pickle_weights, "pickled weights only.*FARM_HUGGINGFACE__PICKLED_WEIGHTS="),
    "code of its own": (bring_code, "code of its own.*FARM_HUGGINGFACE__TRUST_REMOTE_CODE="),
}


@pytest.mark.parametrize("case", BROKEN)
@on_farm_loop
async def test_a_checkpoint_that_does_not_load_says_why(
    case: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    break_it, reason = BROKEN[case]
    break_it(folder)
    capfd.readouterr()
    async with provided() as provider:
        with pytest.raises(LoadError, match=reason):
            await drain(provider.load_model(str(folder)))
    assert not (folder.parent / "code-has-run").exists()
    assert capfd.readouterr() == ("", ""), "nothing of it may appear in the user's cell"


@on_farm_loop
async def test_pickled_weights_load_where_the_model_is_named(folder: Path) -> None:
    pickle_weights(folder)
    async with provided(pickled_weights=[str(folder)]) as provider:
        assert "Tokyo" in (await provider.chat(asked(folder))).text


@on_farm_loop
async def test_a_models_own_code_runs_where_the_model_is_named(folder: Path) -> None:
    bring_code(folder)
    with (folder / "mine.py").open("a") as file:
        file.write("class MyModel(LlamaForCausalLM):\n    config_class = MyConfig\n")
    async with provided(trust_remote_code=[str(folder)]) as provider:
        await drain(provider.load_model(str(folder)))
    assert (folder.parent / "code-has-run").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"device": "warp"}, "huggingface.device='warp'.*Valid here: auto, cpu"),
        ({"device": "cuda:7"}, "huggingface.device='cuda:7'.*Valid here: auto, cpu"),
        ({"dtype": "float33"}, "huggingface.dtype='float33'.*Valid: auto, float32"),
        ({"dtype": "int8"}, "huggingface.dtype='int8'.*Valid: auto, float32"),
        ({"quantization": {"quant_method": "nonesuch"}}, "quant_method 'nonesuch'.*Valid: .*gptq"),
        ({"quantization": {"bits": 4}}, "quant_method None.*Valid: "),
    ],
)
@on_farm_loop
async def test_a_setting_that_does_not_fit_is_quoted_with_those_that_do(
    settings: dict[str, Any], message: str, tiny_model: Path
) -> None:
    async with provided(**settings) as provider:
        with pytest.raises(ConfigError, match=message):
            await drain(provider.load_model(str(tiny_model)))


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_a_load_may_differ_from_the_settings(tiny_model: Path, dtype: str) -> None:
    loaded = loaded_from(tiny_model, device="cpu", dtype=dtype)
    assert {parameter.dtype for parameter in loaded.module.parameters()} == {getattr(torch, dtype)}
    assert (loaded.dtype, str(loaded.device), loaded.devices) == (dtype, "cpu", ("cpu",))
    with pytest.raises(ConfigError, match="'warp'"):
        loaded_from(tiny_model, device="warp")
    with pytest.raises(ConfigError, match="'float33'"):
        loaded_from(tiny_model, dtype="float33")


def test_a_model_in_parts_says_where_they_are_and_what_does_not_fit_is_refused(tiny_model: Path) -> None:
    loaded = loaded_from(tiny_model, device_map="sequential", max_memory={"cpu": 1 << 30})
    assert (loaded.devices, str(loaded.device), loaded.is_spread) == (("cpu",), "cpu", False)
    parts = ("embed_tokens", "layers.0", "layers.1", "norm", "rotary_emb")
    by_hand = loaded_from(
        tiny_model, device_map={f"model.{part}": "cpu" for part in parts} | {"lm_head": "cpu"}
    )
    ids = torch.tensor([[5, 6, 7]])
    assert torch.equal(by_hand.module(ids).logits, loaded.module(ids).logits)
    assert replace(loaded, devices=("cuda:0", "cuda:1")).is_spread
    with pytest.raises(OutOfMemoryError, match=r"398,\d{3} bytes of weights, and on all devices together"):
        loaded_from(tiny_model, device_map="sequential", max_memory={"cpu": 200_000})


@on_farm_loop
async def test_weights_are_brought_to_the_number_format_of_the_settings(tiny_model: Path) -> None:
    async with provided(dtype="bfloat16") as provider, provider.lease(str(tiny_model)) as model:
        assert {tensor.dtype for tensor in model.module.parameters()} == {torch.bfloat16}


def grow(folder: Path, size: int) -> None:
    """Have the weights be of a size; it is a hole, which takes no room on the disk."""
    tensor = {"model.norm.weight": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}
    header = json.dumps(tensor).encode()
    file = folder / "model.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header)
    try:
        os.truncate(file, 8 + len(header) + size)
    except OSError:
        pytest.skip("this file system has no files of that size")


@on_farm_loop
async def test_what_cannot_fit_is_refused_before_it_takes_the_memory(folder: Path) -> None:
    grow(folder, 1 << 43)
    with pytest.raises(OutOfMemoryError, match=r"8,796,\d{3},\d{3},\d{3} bytes.* on cpu [\d,]+ are free"):
        loaded_from(folder)
    async with provided(device="cpu") as provider:
        with pytest.raises(OutOfMemoryError, match=r"does not fit.* needs 8\.8 TB .*cpu has .* free"):
            await drain(provider.load_model(str(folder)))


@pytest.mark.parametrize(
    "name", ["./nowhere", "~/nowhere/at/all", "/nowhere", "./nowhere.gguf", "a/b/c", "a b"]
)
@on_farm_loop
async def test_a_name_that_leads_nowhere_is_quoted(name: str) -> None:
    async with provided() as provider:
        with pytest.raises(ModelNotFoundError, match=f"'{name}'"):
            await drain(provider.load_model(name))


@on_farm_loop
async def test_a_folder_has_one_model_by_whatever_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    async with provided() as provider:
        await drain(provider.load_model("./checkpoint"))
        for name in ("checkpoint", str(folder), "../" + folder.parent.name + "/checkpoint"):
            assert [progress async for progress in provider.load_model(name)] == []
        assert await provider.unload_model(str(folder)) is True


def test_progress_counts_the_bytes_of_the_weights_as_they_are_placed(tiny_model: Path) -> None:
    size = (tiny_model / "model.safetensors").stat().st_size
    told: list[tuple[int, int]] = []
    loaded_from(tiny_model, report=lambda done, total: told.append((done, total)))
    done = [bytes_done for bytes_done, _ in told]
    assert {total for _, total in told} == {size}
    assert size * 0.9 < done[-1] <= size
    assert done == sorted(done)
    assert len(set(done)) > 10, "a step for each tensor"


def test_a_load_that_is_asked_to_stop_stops_between_two_tensors(tiny_model: Path) -> None:
    halt = Halt()

    def report(done: int, total: int) -> None:
        assert not halt.is_asked, "nothing is placed any more"
        if done > total / 2:
            halt.ask()

    with pytest.raises(HaltedError):
        loaded_from(tiny_model, halt=halt, report=report)
    assert halt.is_asked


@on_farm_loop
async def test_those_who_ask_at_once_share_one_load(tiny_model: Path) -> None:
    async with provided() as provider:
        texts = await asyncio.gather(*(provider.chat(asked(tiny_model)) for _ in range(4)))
        assert {reply.text for reply in texts} == {"The capital of Japan is Tokyo."}
        async with provider.lease(str(tiny_model)) as model:
            first = model.generation
        await provider.unload_model(str(tiny_model))
        async with provider.lease(str(tiny_model)) as model:
            assert model.generation == first + 1


@on_farm_loop
async def test_a_load_goes_on_while_one_who_waits_for_it_is_left(tiny_model: Path) -> None:
    async def loaded() -> bool:
        return any(info.loaded for info in await provider.list_models())

    async with provided() as provider:
        one, other = (asyncio.create_task(drain(provider.load_model(str(tiny_model)))) for _ in range(2))
        await asyncio.sleep(0)
        one.cancel()
        await other
        assert await loaded()
        await provider.unload_model(str(tiny_model))
        both = [asyncio.create_task(drain(provider.load_model(str(tiny_model)))) for _ in range(2)]
        await asyncio.sleep(0)
        for task in both:
            task.cancel()
        await asyncio.wait(both)
        assert not await loaded()
        # Who comes now waits for its end, and loads anew.
        assert "Tokyo" in (await provider.chat(asked(tiny_model))).text


@on_farm_loop
async def test_a_load_that_failed_is_tried_again_when_asked_again(folder: Path) -> None:
    tokenizer = (folder / "tokenizer.json").read_bytes()
    forget_tokenizer(folder)
    async with provided() as provider:
        with pytest.raises(LoadError):
            await drain(provider.load_model(str(folder)))
        (folder / "tokenizer.json").write_bytes(tokenizer)
        await drain(provider.load_model(str(folder)))


@on_farm_loop
async def test_unloading_frees_the_weights(tiny_model: Path) -> None:
    async with provided() as provider:
        await provider.chat(asked(tiny_model))
        async with provider.lease(str(tiny_model)) as model:
            module, weight = weakref.ref(model.module), weakref.ref(next(model.module.parameters()))
        assert await provider.unload_model(str(tiny_model)) is True
        gc.collect()
        assert (module(), weight()) == (None, None)


@on_farm_loop
async def test_unloading_lets_answers_end_first(tiny_model: Path) -> None:
    async with provided() as provider:
        events = provider.stream(asked(tiny_model, "Tick.", max_tokens=40))
        async with aclosing(events):
            while not isinstance(await anext(events), TextDelta):
                pass
            unloading = asyncio.create_task(provider.unload_model(str(tiny_model)))
            rest = [event async for event in events]
        assert rest[-1].reason == "length"  # type: ignore[union-attr]  # the last is Finished
        assert await unloading is True


@on_farm_loop
async def test_a_lease_keeps_its_model_while_it_lasts_and_no_longer(tiny_model: Path) -> None:
    async with provided() as provider:
        async with provider.lease(str(tiny_model)) as model:
            assert await provider.unload_model(str(tiny_model)) is True
            ids = model.tokenizer("Count.", return_tensors="pt")
            assert model.module(**ids).logits.isfinite().all()
        for use in (lambda: model.module, lambda: model.tokenizer, lambda: model.device):
            with pytest.raises(InvalidRequestError, match=r"lease .* has ended"):
                use()


@on_farm_loop
async def test_a_closed_provider_has_no_threads(tiny_model: Path) -> None:
    async with provided() as provider:
        events = provider.stream(asked(tiny_model, "Tick."))
        while not isinstance(await anext(events), TextDelta):
            pass
    for thread in threading.enumerate():
        if thread.name == "farm-huggingface":  # it may be at its last words
            thread.join(timeout=30)
            assert not thread.is_alive()
    with pytest.raises(FarmError, match="unloaded"):
        await drain(events)


def test_the_digest_changes_with_the_weights_and_with_the_template(folder: Path) -> None:
    async def digest() -> str | None:
        async with provided() as provider:
            return await provider.digest(str(folder))

    before = loop.run_blocking(digest())
    assert before == loop.run_blocking(digest())
    change_weights(folder, lambda weights: weights["model.norm.weight"].add_(1))
    changed = loop.run_blocking(digest())
    with (folder / "chat_template.jinja").open("a") as file:
        file.write(" ")
    assert len({before, changed, loop.run_blocking(digest())}) == 3
