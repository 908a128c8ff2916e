"""Files that a saver writes are loaded when it is done, once, whatever way it goes about it."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from contract import on_farm_loop
from safetensors.torch import load_file, save_file

from farm_notebook.farm import AsyncFarm
from farm_notebook.providers.huggingface.loader import HuggingFaceLoader

from .adapters import adapter_versions
from .told import Told, told
from .versions import Link, Versions

pytestmark = [pytest.mark.model, pytest.mark.slow]

WEIGHTS = "model.safetensors"
PIECES = 10
PAUSE_S = 0.03  # between two pieces: less than files must be left alone


@pytest.fixture
def folder(tiny_versions: Versions, tmp_path: Path) -> Link:
    """The first version in a folder of its own, to be written to."""
    shutil.copytree(tiny_versions.first, tmp_path / "checkpoint")
    return Link(tiny_versions, tmp_path / "checkpoint")


@pytest.fixture
def patient_farm(make_farm: Callable[..., AsyncFarm]) -> AsyncFarm:
    """One that gives savers time, also on a machine where nobody gets any."""
    return make_farm(models={"watch_interval_s": 0.02, "settle_s": 0.6})


async def pieces(source: Path) -> AsyncIterator[bytes]:
    """A file as a slow saver writes it."""
    content = await asyncio.to_thread(source.read_bytes)
    size = -(-len(content) // PIECES)
    for start in range(0, len(content), size):
        yield content[start : start + size]
        await asyncio.sleep(PAUSE_S)


async def write_in_place(source: Path, target: Path) -> None:
    """Over what is there, piece by piece, so that it is torn and then shorter than it should be."""
    with target.open("wb", buffering=0) as file:
        async for piece in pieces(source):
            file.write(piece)


async def write_over(source: Path, target: Path) -> None:
    """Into the file as it is, which is of the right size at every moment and half old, half new."""
    with target.open("r+b", buffering=0) as file:
        async for piece in pieces(source):
            file.write(piece)


async def write_and_rename(source: Path, target: Path) -> None:
    """Under another name, which is changed at the end."""
    new = target.with_name(f"{target.name}.tmp")
    await write_in_place(source, new)
    new.replace(target)


async def save(write: Callable[[Path, Path], Awaitable[None]], link: Link) -> None:
    """Write all files of the second version, one after the other, the weights in the middle."""
    names = sorted(file.name for file in link.versions.second.iterdir())
    for name in names:
        if name == WEIGHTS:
            await write(link.versions.second / name, link.path / name)
        else:
            shutil.copyfile(link.versions.second / name, link.path / name)
        await asyncio.sleep(PAUSE_S)


async def no_more(farm: AsyncFarm, heard: Told) -> None:
    """Watched files have been looked at for longer than they must be left alone, with nothing to be told."""
    told_so_far = len(heard.events)
    await asyncio.sleep(farm.config.models.settle_s + 0.2)
    assert heard.events[told_so_far:] == []


@pytest.mark.parametrize("write", [write_in_place, write_over, write_and_rename])
@on_farm_loop
async def test_a_slow_saver_causes_one_reload_at_the_end(
    patient_farm: AsyncFarm,
    folder: Link,
    tiny_versions: Versions,
    write: Callable[[Path, Path], Awaitable[None]],
    tmp_path: Path,
) -> None:
    link = Link(tiny_versions, tmp_path / "latest")
    texts = await link.texts(patient_farm)
    old, new = (texts[each.resolve()] for each in (tiny_versions.first, tiny_versions.second))
    assert await folder.ask(patient_farm) == old
    await patient_farm.models.watch(folder.ref)
    async with told(patient_farm) as heard:
        saving = asyncio.create_task(save(write, folder))
        while not saving.done():
            assert await folder.ask(patient_farm) == old
        await saving
        await heard.next("ready", before="reloading")
        assert [event.state for event in heard.events] == ["reloading", "ready"]
        assert heard.events[-1].detail == ""
        assert await folder.ask(patient_farm) == new
        await no_more(patient_farm, heard)


@on_farm_loop
async def test_a_saver_of_several_shards_causes_one_reload_at_the_end(
    patient_farm: AsyncFarm, folder: Link, tmp_path: Path
) -> None:
    await folder.ask(patient_farm)
    await patient_farm.models.watch(folder.ref)
    weights = load_file(folder.versions.second / WEIGHTS)
    names = sorted(weights)
    shards = [names[start::4] for start in range(4)]
    index = {
        name: f"model-0000{at + 1}-of-00004.safetensors" for at, part in enumerate(shards) for name in part
    }
    async with told(patient_farm) as heard:
        (folder.path / "model.safetensors.index.json").write_text(
            json.dumps({"metadata": {}, "weight_map": index})
        )
        (folder.path / WEIGHTS).unlink()
        for at, part in enumerate(shards):
            save_file({name: weights[name] for name in part}, tmp_path / "shard", metadata={"format": "pt"})
            await write_in_place(tmp_path / "shard", folder.path / f"model-0000{at + 1}-of-00004.safetensors")
        await heard.next("ready", before="reloading")
        await no_more(patient_farm, heard)
        assert [event.state for event in heard.events] == ["reloading", "ready"]
    assert "Tokyo" not in await folder.ask(patient_farm)


@pytest.mark.parametrize("link", ["tiny", "gguf"], indirect=True)
@on_farm_loop
async def test_a_link_that_leads_elsewhere_is_noticed_and_one_that_is_not_watched_is_not(
    farm: AsyncFarm, link: Link
) -> None:
    texts = await link.texts(farm)
    assert await farm.models.watch(link.ref) is True
    assert await farm.models.watch(link.ref) is False
    async with told(farm) as heard:
        for _ in range(2):
            new = link.turn()
            await heard.next("ready", before="reloading")
            assert await link.ask(farm) == texts[new.resolve()]
        assert await farm.models.unwatch(link.ref) is True
        assert await farm.models.unwatch(link.ref) is False
        link.turn()
        await no_more(farm, heard)
        assert await link.ask(farm) == texts[new.resolve()]
        assert heard.count("reloading") == 2


@on_farm_loop
async def test_of_an_adapter_that_is_watched_only_the_adapter_is_loaded_anew(
    farm: AsyncFarm, tiny: Link, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapters = adapter_versions(tiny_model, tmp_path / "adapters")
    adapter = adapters.linked(tmp_path / "adapter")
    both = Link(adapters, Path(f"{tiny.path}+{adapter.path}"))
    before = await both.logits(farm)
    async with farm.models.lease(tiny.ref) as leased:
        base = leased.module
    monkeypatch.setattr(HuggingFaceLoader, "_load", None)  # nobody reads a whole model from here on
    await farm.models.watch(both.ref)
    async with told(farm) as heard:
        adapter.turn()
        await heard.next("ready", before="reloading")
        assert {str(event.ref) for event in heard.events} == {both.ref}
    assert not (await both.logits(farm)).equal(before)
    async with farm.models.lease(tiny.ref) as leased:
        assert leased.module is base


@on_farm_loop
async def test_a_change_of_the_template_alone_is_noticed(farm: AsyncFarm, folder: Link) -> None:
    await folder.ask(farm)
    await farm.models.watch(folder.ref)
    template = folder.path / "chat_template.jinja"
    async with told(farm) as heard:
        new = template.with_name("new")
        new.write_text(template.read_text() + "{#- New. #}")
        new.replace(template)
        await heard.next("ready", before="reloading")
    async with farm.models.lease(folder.ref) as leased:
        assert leased.tokenizer.chat_template.endswith("{#- New. #}")


@on_farm_loop
async def test_a_change_of_the_tokenizer_alone_is_noticed(farm: AsyncFarm, folder: Link) -> None:
    await folder.ask(farm)
    await farm.models.watch(folder.ref)
    file = folder.path / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    one, other = [word for word in vocabulary if len(word) > 3][-2:]
    vocabulary[one], vocabulary[other] = vocabulary[other], vocabulary[one]
    async with told(farm) as heard:
        new = file.with_name("new")
        new.write_text(json.dumps(tokenizer))
        new.replace(file)
        await heard.next("ready", before="reloading")
    async with farm.models.lease(folder.ref) as leased:
        assert leased.tokenizer.get_vocab()[one] == vocabulary[one]


@on_farm_loop
async def test_a_file_that_is_written_slowly_is_loaded_once_it_is_whole(
    patient_farm: AsyncFarm, gguf_versions: Versions, tmp_path: Path
) -> None:
    link = Link(gguf_versions, tmp_path / "model.gguf")
    shutil.copyfile(gguf_versions.first, link.path)
    old = await link.ask(patient_farm)
    await patient_farm.models.watch(link.ref)
    async with told(patient_farm) as heard:
        await write_and_rename(gguf_versions.second, link.path)
        await heard.next("ready", before="reloading")
        assert await link.ask(patient_farm) != old
        assert [event.state for event in heard.events] == ["reloading", "ready"]


@on_farm_loop
async def test_a_file_that_is_written_over_in_place_changes_nothing_until_it_is_whole(
    patient_farm: AsyncFarm, gguf_versions: Versions, tmp_path: Path
) -> None:
    link = Link(gguf_versions, tmp_path / "model.gguf")
    shutil.copyfile(gguf_versions.first, link.path)
    old = await link.ask(patient_farm)
    await patient_farm.models.watch(link.ref)
    async with told(patient_farm) as heard:
        saving = asyncio.create_task(write_in_place(gguf_versions.second, link.path))
        while not saving.done():
            assert await link.ask(patient_farm) == old
        await saving
        await heard.next("ready", before="reloading")
        assert await link.ask(patient_farm) != old
        assert [event.state for event in heard.events] == ["reloading", "ready"]


@on_farm_loop
async def test_a_model_of_the_settings_is_watched_from_its_first_load(
    make_farm: Callable[..., AsyncFarm], tiny: Link
) -> None:
    farm = make_farm(models={"watch_interval_s": 0.02, "settle_s": 0, "watch": [tiny.ref]})
    before = await tiny.ask(farm)
    async with told(farm) as heard:
        tiny.turn()
        await heard.next("ready", before="reloading")
    assert await tiny.ask(farm) != before
