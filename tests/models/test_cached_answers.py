"""What a model answered before is given for it while it is the same one, and never for the one after it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing

import pytest
from contract import drain, on_farm_loop

from farm_notebook.farm import AsyncFarm
from farm_notebook.pipeline import cache
from farm_notebook.types import Event, Started, TextDelta

from .told import PATIENCE_S, told
from .versions import Link, said

pytestmark = [pytest.mark.model, pytest.mark.slow]


@pytest.fixture
def farm(make_farm: Callable[..., AsyncFarm], monkeypatch: pytest.MonkeyPatch) -> AsyncFarm:
    """One that keeps answers, however long a digest takes."""
    monkeypatch.setattr(cache, "DIGEST_WAIT_S", PATIENCE_S)
    return make_farm(cache={"enabled": True})


async def asked(farm: AsyncFarm, link: Link) -> tuple[str, bool]:
    """The answer, and whether it was kept from before."""
    events = [event async for event in farm.events(link.request(farm))]
    (started,) = [event for event in events if isinstance(event, Started)]
    return said(events), started.cached


@pytest.mark.parametrize("by", ["command", "watching"])
@pytest.mark.parametrize("link", ["tiny", "gguf"], indirect=True)
@on_farm_loop
async def test_after_a_reload_the_new_model_answers(farm: AsyncFarm, link: Link, by: str) -> None:
    old, is_kept = await asked(farm, link)
    assert not is_kept
    assert await asked(farm, link) == (old, True)
    if by == "watching":
        await farm.models.watch(link.ref)
        async with told(farm) as heard:
            link.turn()
            await heard.next("ready", before="reloading")
    else:
        link.turn()
        assert await asked(farm, link) == (old, True), "what is in memory is what it was"
        await drain(farm.models.reload(link.ref))
    new, is_kept = await asked(farm, link)
    assert (new != old, is_kept) == (True, False)
    assert await asked(farm, link) == (new, True)
    if by == "command":  # the first version is the first version again
        link.turn()
        await drain(farm.models.reload(link.ref))
        assert await asked(farm, link) == (old, True)


@pytest.mark.parametrize("link", ["tiny", "gguf"], indirect=True)
@on_farm_loop
async def test_an_answer_that_was_under_way_at_a_reload_is_nobody_elses(farm: AsyncFarm, link: Link) -> None:
    await drain(farm.models.load(link.ref))
    async with aclosing(farm.events(link.request(farm))) as events:
        begun: list[Event] = []
        while not begun or not isinstance(begun[-1], TextDelta):
            begun.append(await anext(events))
        link.turn()
        await drain(farm.models.reload(link.ref))
        old = said([*begun, *[event async for event in events]])
    new, is_kept = await asked(farm, link)
    assert (new != old, is_kept) == (True, False)


@pytest.mark.parametrize("link", ["tiny", "gguf"], indirect=True)
@on_farm_loop
async def test_files_that_changed_with_no_reload_keep_no_answer_under_their_name(
    farm: AsyncFarm, link: Link
) -> None:
    await drain(farm.models.load(link.ref))
    link.turn()  # before anybody asked for the digest of what is in memory
    old, is_kept = await asked(farm, link)
    assert not is_kept
    await farm.models.unload(link.ref)
    new, is_kept = await asked(farm, link)
    assert (new != old, is_kept) == (True, False)
