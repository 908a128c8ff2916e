"""A checkpoint that is no good replaces nothing: the model that is there goes on, the same to the bit."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from contract import drain, on_farm_loop
from safetensors.torch import load_file, save_file

from farm_notebook.errors import FarmError, LoadError, ModelNotFoundError
from farm_notebook.farm import AsyncFarm

from .told import living_modules, settled, told
from .versions import ARENAS_BYTES, Link, Versions, change_weights, copy_with_tail, in_full

pytestmark = [pytest.mark.model, pytest.mark.slow]

Break = Callable[[Path], object]
WEIGHTS = "model.safetensors"


def change_config(folder: Path, **changes: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def cut_off(folder: Path) -> None:
    os.truncate(folder / WEIGHTS, (folder / WEIGHTS).stat().st_size - 1000)


def corrupt_the_header(folder: Path) -> None:
    with (folder / WEIGHTS).open("r+b") as file:
        file.seek(8)
        file.write(b"\xff" * 100)


def corrupt_the_numbers(folder: Path) -> None:
    with (folder / WEIGHTS).open("r+b") as file:
        file.seek(-5000, os.SEEK_END)
        file.write(b"\xff" * 4000)


def put_nan(folder: Path) -> None:
    change_weights(folder, lambda weights: weights["model.norm.weight"].fill_(float("nan")))


def put_infinity_into_one(folder: Path) -> None:
    change_weights(
        folder, lambda weights: weights["model.layers.1.mlp.up_proj.weight"][3, 4].fill_(torch.inf)
    )


def split_and_lose_a_shard(folder: Path) -> None:
    names = dict.fromkeys(load_file(folder / WEIGHTS), "model-00001-of-00002.safetensors")
    names["model.norm.weight"] = "model-00002-of-00002.safetensors"
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    (folder / WEIGHTS).rename(folder / "model-00001-of-00002.safetensors")


def transpose(folder: Path) -> None:
    def change(weights: dict[str, Any]) -> None:
        name = "model.layers.0.mlp.up_proj.weight"
        weights[name] = weights[name].T.contiguous()

    change_weights(folder, change)


def half_write(folder: Path) -> None:
    """As a saver does that reserved the room and has written the header and some of the numbers."""
    file = folder / WEIGHTS
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def forget_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()


def take_another_tokenizer(folder: Path) -> None:
    """One with more words than the model has embeddings."""
    file = folder / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    tokenizer["model"]["vocab"] |= {f"word{number}": 400 + number for number in range(100)}
    file.write_text(json.dumps(tokenizer))


BROKEN: dict[str, tuple[Break, str]] = {
    "a header of nonsense": (corrupt_the_header, "is no safetensors file"),
    "numbers of nonsense": (corrupt_the_numbers, "NaN or Inf"),
    "a file that is cut off": (cut_off, "is not whole"),
    "a file that is half written": (half_write, "is not whole"),
    "the weights of another architecture": (
        lambda folder: change_config(folder, model_type="gpt2", architectures=["GPT2LMHeadModel"]),
        "does not load as GPT2LMHeadModel",
    ),
    "an architecture that nobody knows": (
        lambda folder: change_config(folder, model_type="nonesuch"),
        "does not load: .*nonesuch",
    ),
    "NaN": (put_nan, "NaN or Inf"),
    "one infinity": (put_infinity_into_one, "NaN or Inf"),
    "weights of another shape": (transpose, r"1 weights have another shape .*up_proj"),
    "a shard that is missing": (split_and_lose_a_shard, "00002-of-00002.safetensors is missing"),
    "no tokenizer": (forget_tokenizer, "has no tokenizer"),
    "a tokenizer of another model": (take_another_tokenizer, "tokenizer"),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), "there is no"),
    "no configuration": (lambda folder: (folder / "config.json").unlink(), "there is no"),
    "a configuration that is torn": (
        lambda folder: (folder / "config.json").write_text('{"model_type": "lla'),
        "cannot be read",
    ),
}
# Files of which a look tells that they are not whole, so that nobody tries to load them.
UNSEEN = {"a file that is half written", "a shard that is missing"}


@pytest.fixture
def broken(tiny_versions: Versions, tmp_path: Path) -> Path:
    """A copy of the second version, to be broken."""
    return Path(shutil.copytree(tiny_versions.second, tmp_path / "broken"))


@pytest.mark.parametrize("case", BROKEN)
@on_farm_loop
async def test_a_reload_that_fails_says_why_and_leaves_the_model_as_it_was(
    farm: AsyncFarm, tiny: Link, broken: Path, case: str
) -> None:
    break_it, reason = BROKEN[case]
    break_it(broken)
    answer, logits = await tiny.ask(farm), await tiny.logits(farm)
    (before,) = await farm.models.loaded()
    modules = living_modules()
    tiny.lead_to(broken)
    async with told(farm) as heard:
        with pytest.raises(LoadError, match=reason) as caught:
            await drain(farm.models.reload(tiny.ref))
        assert [event.state for event in heard.events] == ["reloading", "ready"]
        assert heard.events[-1].generation == before.generation
        assert heard.events[-1].detail == f"not reloaded: {str(caught.value).partition(chr(10))[0]}"
    assert living_modules() == modules, "also while the error and its traceback are there"
    (after,) = await farm.models.loaded()
    assert (after.state, after.generation) == ("ready", before.generation)
    assert await tiny.ask(farm) == answer
    assert torch.equal(await tiny.logits(farm), logits)


@pytest.mark.parametrize(
    "case",
    [
        "numbers of nonsense",
        "a file that is half written",
        "an architecture that nobody knows",
        "no tokenizer",
        "a shard that is missing",
    ],
)
@on_farm_loop
async def test_what_is_watched_and_broken_is_told_once_and_a_good_one_after_it_is_loaded(
    farm: AsyncFarm, tiny: Link, broken: Path, case: str
) -> None:
    break_it, _ = BROKEN[case]
    break_it(broken)
    texts = await tiny.texts(farm)
    await farm.models.watch(tiny.ref)
    (before,) = await farm.models.loaded()
    async with told(farm) as heard:
        tiny.lead_to(broken)
        if case not in UNSEEN:
            failed = await heard.next("ready", before="reloading")
            assert failed.generation == before.generation
            assert failed.detail.startswith("not reloaded: ")
        assert await tiny.ask(farm) == texts[tiny.versions.first.resolve()]
        tiny.lead_to(tiny.versions.second)
        loaded = await heard.next("ready", before="reloading")
        assert loaded.generation != before.generation
        assert heard.count("reloading") == 1 + (case not in UNSEEN)
    assert await tiny.ask(farm) == texts[tiny.versions.second.resolve()]


@pytest.mark.parametrize("is_watched", [False, True])
@on_farm_loop
async def test_a_folder_that_is_gone_leaves_its_model(
    farm: AsyncFarm, tiny: Link, broken: Path, is_watched: bool
) -> None:
    tiny.lead_to(broken)
    answer, logits = await tiny.ask(farm), await tiny.logits(farm)
    (before,) = await farm.models.loaded()
    if is_watched:
        await farm.models.watch(tiny.ref)
    shutil.rmtree(broken)
    with pytest.raises((LoadError, ModelNotFoundError), match=str(tiny.path)):
        await drain(farm.models.reload(tiny.ref))
    (after,) = await farm.models.loaded()
    assert (after.state, after.generation) == ("ready", before.generation)
    assert await tiny.ask(farm) == answer
    assert torch.equal(await tiny.logits(farm), logits)
    if is_watched:  # it goes on being looked at
        async with told(farm) as heard:
            tiny.lead_to(tiny.versions.first)
            await heard.next("ready", before="reloading")
        assert await tiny.ask(farm) != answer


@on_farm_loop
async def test_failed_reloads_of_the_real_model_leave_no_memory_behind(
    farm: AsyncFarm, real: Link, tmp_path: Path
) -> None:
    """``FULL_MODEL_TESTS=1`` tries 20 times."""
    bad = tmp_path / "bad"
    shutil.copytree(real.versions.first, bad, copy_function=os.link)
    weights = load_file(bad / WEIGHTS)
    weights["model.norm.weight"] = torch.full_like(weights["model.norm.weight"], torch.nan)
    (bad / WEIGHTS).unlink()
    save_file(weights, bad / WEIGHTS, metadata={"format": "pt"})
    del weights
    answer, logits = await real.ask(farm), await real.logits(farm)
    real.lead_to(bad)
    taken = []
    for _ in range(in_full(2, 20)):
        with pytest.raises(LoadError, match="NaN or Inf"):
            await drain(farm.models.reload(real.ref))
        taken.append(psutil.Process().memory_info().rss)
    print(f"\n{[f'{each / 1e6:.0f} MB' for each in taken]}")
    assert taken[-1] < taken[0] * 1.05 + ARENAS_BYTES
    assert await real.ask(farm) == answer
    assert torch.equal(await real.logits(farm), logits)


@pytest.mark.parametrize("link", ["tiny", "gguf"], indirect=True)
@on_farm_loop
async def test_what_failed_to_load_and_is_gone_keeps_nobody_from_unloading_all(
    farm: AsyncFarm, link: Link, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.gguf"
    bad.mkdir() if link.versions.provider == "huggingface" else bad.write_text("none")
    link.lead_to(bad)
    with pytest.raises(LoadError):
        await link.ask(farm)
    bad.rmdir() if link.versions.provider == "huggingface" else bad.unlink()
    assert [status.state for status in await farm.models.loaded()] == ["failed"]
    assert await farm.models.unload_all() == ()
    assert await farm.models.loaded() == []


# Files of llama.cpp


def cut_file_off(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    os.truncate(target, target.stat().st_size // 2)


def corrupt_file(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    with target.open("r+b") as file:
        file.seek(24)
        file.write(b"\xff" * 200)


BROKEN_FILES: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "cut off": (cut_file_off, "does not load as a GGUF model"),
    "corrupt": (corrupt_file, "does not load as a GGUF model"),
    "something else": (lambda _, target: target.write_text("<html>404</html>"), "does not load as a GGUF"),
    "full of NaN": (lambda source, target: copy_with_tail(source, target, b"\xff"), "NaN or Inf"),
    "gone": (lambda _, target: None, "no file|does not load"),
}


@pytest.mark.parametrize("case", BROKEN_FILES)
@on_farm_loop
async def test_a_file_that_is_no_good_leaves_the_process_that_is_there(
    farm: AsyncFarm, gguf: Link, tmp_path: Path, case: str, llamacpp_children: Callable[[], set[int]]
) -> None:
    others = llamacpp_children()
    answer = await gguf.ask(farm)
    (before,) = await farm.models.loaded()
    (child,) = llamacpp_children() - others
    break_it, reason = BROKEN_FILES[case]
    break_it(gguf.versions.second, tmp_path / "bad.gguf")
    gguf.lead_to(tmp_path / "bad.gguf")
    with pytest.raises(FarmError, match=reason):
        await drain(farm.models.reload(gguf.ref))
    (after,) = await farm.models.loaded()
    assert (after.state, after.generation) == ("ready", before.generation)
    await settled(lambda: llamacpp_children() - others == {child})
    assert await gguf.ask(farm) == answer


@on_farm_loop
async def test_a_file_that_is_watched_and_broken_is_told_and_a_good_one_after_it_is_loaded(
    farm: AsyncFarm, gguf: Link, tmp_path: Path
) -> None:
    texts = await gguf.texts(farm)
    await farm.models.watch(gguf.ref)
    cut_file_off(gguf.versions.second, tmp_path / "bad.gguf")
    async with told(farm) as heard:
        gguf.lead_to(tmp_path / "bad.gguf")
        await heard.next("ready", before="reloading", detail="not reloaded: ")
        assert await gguf.ask(farm) == texts[gguf.versions.first.resolve()]
        gguf.lead_to(gguf.versions.second)
        await heard.next("ready", before="reloading")
    assert await gguf.ask(farm) == texts[gguf.versions.second.resolve()]
