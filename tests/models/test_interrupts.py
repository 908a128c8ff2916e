"""Who stops a load or a reload, at whatever moment, leaves the old model or the new one, never neither."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from contract import drain, on_farm_loop
from kernels import Kernel

from farm_notebook.farm import AsyncFarm

from .told import living_modules, settled, told
from .versions import Link, Versions, in_full

pytestmark = [pytest.mark.model, pytest.mark.slow]


async def stopped_after(delay_s: float, work: asyncio.Task[None]) -> bool:
    """Cancel work after a while, and wait until it has let go; whether it had not ended by itself."""
    await asyncio.wait([work], timeout=delay_s)
    work.cancel()
    with suppress(asyncio.CancelledError):
        await work
    return work.cancelled()


async def lasts(farm: AsyncFarm, link: Link) -> float:
    """How long a reload takes, in seconds."""
    began_at = time.monotonic()
    await drain(farm.models.reload(link.ref))
    return time.monotonic() - began_at


@pytest.mark.parametrize(
    ("link", "times"), [("tiny", in_full(15, 400)), ("gguf", in_full(2, 40))], indirect=["link"]
)
@on_farm_loop
async def test_a_stopped_reload_leaves_the_old_version_or_the_new_one(
    farm: AsyncFarm, link: Link, times: int, no_collector: None
) -> None:
    """``FULL_MODEL_TESTS=1`` stops many more."""
    modules = living_modules()
    texts = await link.texts(farm)
    longest_s = 1.2 * await lasts(farm, link)
    now, outcomes = link.path.resolve(), [0, 0]
    for seed in range(times):
        dice = random.Random(seed)
        new = link.turn().resolve()
        async with told(farm) as heard:
            reloading = asyncio.create_task(drain(farm.models.reload(link.ref)))
            was_stopped = await stopped_after(dice.random() * longest_s, reloading)
            (status,) = await farm.models.loaded()
            assert status.state == "ready"
            assert [event.state for event in heard.events] in (["reloading", "ready"], [])
            is_new = bool(heard.events) and not heard.events[-1].detail
            assert is_new or was_stopped, "what ended by itself is new"
        now = new if is_new else now
        outcomes[is_new] += 1
        assert await link.ask(farm) == texts[now]
    print(f"\n{outcomes[0]} stayed as they were, {outcomes[1]} were new")
    if link.versions.provider == "huggingface":
        await settled(lambda: living_modules() == modules + 1)


@pytest.mark.parametrize(
    ("link", "times"), [("tiny", in_full(12, 250)), ("gguf", in_full(2, 40))], indirect=["link"]
)
@on_farm_loop
async def test_a_stopped_load_leaves_nothing_or_the_model_and_the_next_request_is_answered(
    farm: AsyncFarm, link: Link, times: int, llamacpp_children: Callable[[], set[int]]
) -> None:
    """``FULL_MODEL_TESTS=1`` stops many more."""
    others = llamacpp_children()
    answer = await link.ask(farm)
    longest_s = 1.2 * await lasts(farm, link)
    outcomes = {"absent": 0, "ready": 0}
    for seed in range(times):
        await farm.models.unload(link.ref)
        loading = asyncio.create_task(drain(farm.models.load(link.ref)))
        was_stopped = await stopped_after(random.Random(seed).random() * longest_s, loading)
        states = [status.state for status in await farm.models.loaded()]
        assert states in (["ready"], [])
        assert was_stopped or states == ["ready"]
        outcomes["ready" if states else "absent"] += 1
        if not states:
            await settled(lambda: llamacpp_children() <= others)
        if seed % 4 == 0:
            assert await link.ask(farm) == answer
    assert await link.ask(farm) == answer
    print(f"\n{outcomes}")


@on_farm_loop
async def test_a_request_that_is_left_while_it_loads_keeps_nobody_else_from_the_model(
    farm: AsyncFarm, tiny: Link
) -> None:
    answer = await tiny.ask(farm)
    longest_s = await lasts(farm, tiny)
    for seed in range(in_full(6, 100)):
        await farm.models.unload(tiny.ref)
        leaving, staying = (asyncio.create_task(tiny.ask(farm)) for _ in range(2))
        await asyncio.wait([leaving], timeout=random.Random(seed).random() * longest_s)
        leaving.cancel()
        assert await staying == answer
        await asyncio.wait([leaving])


# The button of a notebook


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    kernel = Kernel(
        FARM_CACHE_DIR=str(tmp_path_factory.mktemp("cache")),
        FARM_OFFLINE="1",
        FARM_MODELS__WATCH_INTERVAL_S="0.02",
        OMP_NUM_THREADS="1",
    )
    yield kernel
    kernel.close()


@pytest.mark.kernel
def test_an_interrupt_of_a_kernel_leaves_the_old_version_or_the_new_one(
    kernel: Kernel, real_versions: Versions, tmp_path: Path
) -> None:
    link = real_versions.linked(tmp_path / "latest")
    kernel.run("import farm_notebook as farm, time")
    asked = f"farm.chat({link.versions.question!r}, model={link.ref!r}, temperature=0, max_tokens=8).text"
    texts = []
    for _ in range(2):
        link.turn()
        began = "began = time.monotonic()"
        assert kernel.run(f"{began}\nfarm.models.reload({link.ref!r})").status == "ok"
        longest_s = kernel.value("time.monotonic() - began")
        texts.append(kernel.value(asked))
    new, now = texts
    assert new != now
    dice = random.Random(0)
    for _ in range(in_full(3, 20)):
        link.turn()
        cell = kernel.start(f"%farm reload {link.ref}")
        kernel.wait_for(lambda cell=cell: bool(cell.said))  # type: ignore[misc]  # as it is now
        time.sleep(dice.random() * longest_s)
        kernel.interrupt()
        cell.ended()
        assert cell.status == "ok" or cell.content["ename"] == "KeyboardInterrupt"
        assert kernel.value("[status.state for status in farm.models.loaded()]") == ["ready"]
        told = kernel.value(asked)
        assert told in ((now, new) if cell.status == "error" else (new,))
        if cell.status == "error" and cell.content["evalue"]:  # at the edges of the command there is no word
            generation = kernel.value("farm.models.loaded()[0].generation")
            assert f"(generation {generation})" in str(cell.outputs)
        if told == new:
            now, new = new, now
        else:
            link.turn()
