"""Models change places, are drained, interrupted and loaded in another way, and whoever asks is answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import torch
from contract import drain, on_farm_loop

from farm_notebook.errors import ConfigError, FarmError, InvalidRequestError, LoadError, ModelUnloadedError
from farm_notebook.farm import AsyncFarm
from farm_notebook.providers.huggingface.loader import HuggingFaceLoader
from farm_notebook.types import Event, ModelState, TextDelta

from .adapters import adapter_versions
from .told import told
from .versions import Link, Versions, said

pytestmark = [pytest.mark.model, pytest.mark.slow]


@pytest.fixture
def other(tiny_versions: Versions, tmp_path: Path) -> Link:
    """A second model: the tiny one's second version, by a name of its own."""
    link = tiny_versions.linked(tmp_path / "other")
    link.turn()
    return link


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the models whose files were read, one after the other."""
    names: list[str] = []
    read = HuggingFaceLoader._load

    async def noted(loader: HuggingFaceLoader, source: Any, *rest: Any) -> Any:
        names.append(source.name)
        return await read(loader, source, *rest)

    monkeypatch.setattr(HuggingFaceLoader, "_load", noted)
    return names


@pytest.fixture(scope="module")
def adapters(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Versions:
    return adapter_versions(tiny_model, tmp_path_factory.mktemp("adapters"))


async def states(farm: AsyncFarm) -> dict[str, ModelState]:
    """What each model is doing."""
    return {str(status.ref): status.state for status in await farm.models.loaded()}


async def until_text(events: AsyncGenerator[Event, None]) -> list[Event]:
    """The beginning of an answer, to its first words."""
    seen = [await anext(events)]
    while not isinstance(seen[-1], TextDelta):
        seen.append(await anext(events))
    return seen


# Swapping


@on_farm_loop
async def test_who_leaves_comes_back_to_the_bit_and_without_a_look_at_its_files(
    farm: AsyncFarm, tiny: Link, other: Link, reads: list[str]
) -> None:
    logits, answer = await tiny.logits(farm), await tiny.ask(farm)
    await drain(farm.models.swap(tiny.ref, other.ref))
    assert await states(farm) == {tiny.ref: "aside", other.ref: "ready"}
    assert await other.ask(farm) != answer
    await drain(farm.models.swap(other.ref, tiny.ref))
    assert await states(farm) == {tiny.ref: "ready", other.ref: "aside"}
    assert await tiny.ask(farm) == answer
    assert torch.equal(await tiny.logits(farm), logits)
    assert reads == [str(tiny.path), str(other.path)]


@on_farm_loop
async def test_one_that_was_set_aside_comes_back_for_who_asks_it(
    farm: AsyncFarm, tiny: Link, other: Link, reads: list[str]
) -> None:
    answer = await tiny.ask(farm)
    await drain(farm.models.swap(tiny.ref, other.ref))
    assert await tiny.ask(farm) == answer
    assert await states(farm) == {tiny.ref: "ready", other.ref: "ready"}
    assert reads == [str(tiny.path), str(other.path)]


@on_farm_loop
async def test_where_the_other_does_not_load_the_first_is_back_to_the_bit(
    farm: AsyncFarm, tiny: Link, other: Link, tmp_path: Path, reads: list[str]
) -> None:
    logits, answer = await tiny.logits(farm), await tiny.ask(farm)
    (tmp_path / "empty").mkdir()
    other.lead_to(tmp_path / "empty")
    with pytest.raises(LoadError):
        await drain(farm.models.swap(tiny.ref, other.ref))
    assert await states(farm) == {tiny.ref: "ready", other.ref: "failed"}
    assert await tiny.ask(farm) == answer
    assert torch.equal(await tiny.logits(farm), logits)
    assert reads.count(str(tiny.path)) == 1


@on_farm_loop
async def test_a_file_changes_places_with_another_model_and_comes_back(
    farm: AsyncFarm, gguf: Link, tiny: Link
) -> None:
    answer = await gguf.ask(farm)
    await drain(farm.models.swap(gguf.ref, tiny.ref))
    assert await states(farm) == {tiny.ref: "ready"}, "another process cannot set it aside"
    await drain(farm.models.swap(tiny.ref, gguf.ref))
    assert await states(farm) == {tiny.ref: "aside", gguf.ref: "ready"}
    assert await gguf.ask(farm) == answer


# Who is being answered meanwhile


@pytest.mark.parametrize("link", ["tiny", "gguf"], indirect=True)
@on_farm_loop
async def test_an_answer_under_way_ends_on_the_version_it_began_on(farm: AsyncFarm, link: Link) -> None:
    texts = await link.texts(farm)
    old = link.path.resolve()
    async with told(farm) as heard, aclosing(farm.events(link.request(farm))) as events:
        begun = await until_text(events)
        new = link.turn()
        await drain(farm.models.reload(link.ref))
        assert await link.ask(farm) == texts[new.resolve()]
        assert said([*begun, *[event async for event in events]]) == texts[old]
        assert [event.state for event in heard.events] == ["reloading", "ready"]


@pytest.mark.parametrize("link", ["tiny", "gguf"], indirect=True)
@on_farm_loop
async def test_unloading_waits_for_the_answer_under_way(farm: AsyncFarm, link: Link) -> None:
    answer = await link.ask(farm)
    async with told(farm) as heard, aclosing(farm.events(link.request(farm))) as events:
        begun = await until_text(events)
        unloading = asyncio.create_task(farm.models.unload(link.ref))
        await heard.next("draining")
        assert said([*begun, *[event async for event in events]]) == answer
        await heard.next("unloading")
        await heard.next("absent")
        assert await unloading is True
    assert await states(farm) == {}


LONG = {"huggingface": "Tick.", "llamacpp": "Once upon a time"}


@pytest.mark.parametrize("how", ["unload", "reload"])
@pytest.mark.parametrize("link", ["tiny", "gguf"], indirect=True)
@on_farm_loop
async def test_an_interrupted_answer_ends_with_an_error_that_has_the_text_so_far(
    farm: AsyncFarm, link: Link, how: str
) -> None:
    await link.ask(farm)
    (before,) = await farm.models.loaded()
    pieces = farm.stream(LONG[link.versions.provider], model=link.ref, temperature=0, max_tokens=900)
    texts = [await anext(pieces)]
    ending: Coroutine[Any, Any, object] = (
        farm.models.unload(link.ref, interrupt=True)
        if how == "unload"
        else drain(farm.models.reload(link.ref, drain_s=0))
    )
    reading = asyncio.create_task(rest_of(pieces, texts))
    await ending
    outcome = await reading
    assert isinstance(outcome, ModelUnloadedError)
    assert outcome.partial_text == "".join(texts)
    assert await states(farm) == ({} if how == "unload" else {link.ref: "ready"})
    await link.ask(farm)
    (after,) = await farm.models.loaded()
    assert after.generation != before.generation


async def rest_of(pieces: AsyncGenerator[str, None], texts: list[str]) -> FarmError | None:
    """Read on to the end; what that was, if it was an error."""
    try:
        async for piece in pieces:
            texts.append(piece)
    except FarmError as error:
        return error
    return None


# Loading in another way


@on_farm_loop
async def test_a_model_is_loaded_in_another_number_format_in_place_and_stays_so(
    farm: AsyncFarm, tiny: Link
) -> None:
    await tiny.ask(farm)
    async with told(farm) as heard:
        await drain(farm.models.load(tiny.ref, dtype="bfloat16", device="cpu"))
        await drain(farm.models.load(tiny.ref, dtype="bfloat16", device="cpu"))
        assert [event.state for event in heard.events] == ["reloading", "ready"]
    assert await dtypes(farm, tiny) == {torch.bfloat16}
    tiny.turn()
    await drain(farm.models.reload(tiny.ref))
    assert await dtypes(farm, tiny) == {torch.bfloat16}
    assert "Tokyo" not in await tiny.ask(farm)


async def dtypes(farm: AsyncFarm, link: Link) -> set[torch.dtype]:
    async with farm.models.lease(link.ref) as leased:
        return {parameter.dtype for parameter in leased.module.parameters()}


@pytest.mark.parametrize("link", ["tiny", "gguf"], indirect=True)
@on_farm_loop
async def test_an_option_that_is_not_valid_leaves_the_model_as_it_is(farm: AsyncFarm, link: Link) -> None:
    answer = await link.ask(farm)
    before = [status.generation for status in await farm.models.loaded()]
    with pytest.raises((ConfigError, InvalidRequestError), match="float33"):
        await drain(farm.models.load(link.ref, dtype="float33"))
    with pytest.raises((ConfigError, InvalidRequestError), match="warp"):
        await drain(farm.models.load(link.ref, device="warp"))
    assert [status.generation for status in await farm.models.loaded()] == before
    assert await link.ask(farm) == answer
    await drain(farm.models.reload(link.ref))  # and neither is tried again


# Adapters


@on_farm_loop
async def test_a_changed_adapter_is_loaded_anew_on_the_base_that_is_there(
    farm: AsyncFarm, tiny: Link, adapters: Versions, tmp_path: Path, reads: list[str]
) -> None:
    adapter = adapters.linked(tmp_path / "adapter")
    ref = f"{tiny.ref}+{adapter.path}"
    both = Link(adapters, Path(ref.partition(":")[2]))
    before, plain = await both.logits(farm), await tiny.logits(farm)
    async with farm.models.lease(tiny.ref) as leased:
        base, generation = leased.module, leased.generation
    adapter.turn()
    async with told(farm) as heard:
        await drain(farm.models.reload(ref))
        assert {str(event.ref) for event in heard.events} == {ref}
    assert not torch.equal(await both.logits(farm), before)
    assert torch.equal(await tiny.logits(farm), plain)
    async with farm.models.lease(tiny.ref) as leased:
        assert (leased.module, leased.generation) == (base, generation)
    adapter.turn()
    await drain(farm.models.reload(ref))
    assert torch.equal(await both.logits(farm), before)
    assert reads == [str(tiny.path)]


@on_farm_loop
async def test_a_reloaded_base_takes_what_stands_on_it_along(
    farm: AsyncFarm, tiny: Link, adapters: Versions, tmp_path: Path
) -> None:
    adapter = adapters.linked(tmp_path / "adapter")
    both = Link(adapters, Path(f"{tiny.path}+{adapter.path}"))
    before = await both.logits(farm)
    async with aclosing(farm.events(both.request(farm))) as events:
        begun = await until_text(events)
        alone = await both.ask(farm)
        tiny.turn()
        await drain(farm.models.reload(tiny.ref))
        assert not torch.equal(await both.logits(farm), before)
        async with farm.models.lease(tiny.ref) as leased, farm.models.lease(both.ref) as adapted:
            weight = "model.embed_tokens.weight"
            assert adapted.module.get_parameter(weight) is leased.module.get_parameter(weight)
        assert said([*begun, *[event async for event in events]]) == alone
    tiny.turn()
    await drain(farm.models.reload(tiny.ref))
    assert torch.equal(await both.logits(farm), before)


@on_farm_loop
async def test_an_adapter_that_does_not_fit_the_new_base_is_told_and_stays_on_the_old_one(
    farm: AsyncFarm, tiny: Link, adapters: Versions, tmp_path: Path
) -> None:
    adapter = adapters.linked(tmp_path / "adapter")
    both = Link(adapters, Path(f"{tiny.path}+{adapter.path}"))
    before = await both.logits(farm)
    torn = tmp_path / "torn"
    torn.mkdir()
    (torn / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    adapter.lead_to(torn)
    tiny.turn()
    with pytest.raises(LoadError, match="no weights"):
        await drain(farm.models.reload(tiny.ref))
    assert torch.equal(await both.logits(farm), before)
    assert "Tokyo" not in await tiny.ask(farm)
