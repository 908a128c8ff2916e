"""Memory that a model had is given back, however often it was loaded; who keeps it from that is named."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import psutil
import pytest
from contract import drain, on_farm_loop
from kernels import Kernel

from farm_notebook.farm import AsyncFarm

from .told import living_modules, settled
from .versions import ARENAS_BYTES, Link, Versions, in_full

pytestmark = [pytest.mark.model, pytest.mark.slow]

GROWTH = 0.05
WARM = 2  # cycles in which is made what is made once


def rss() -> int:
    """What this process takes of memory, in bytes."""
    return psutil.Process().memory_info().rss


@pytest.mark.parametrize(
    ("link", "cycles"),
    [("tiny", in_full(20, 200)), ("real", in_full(3, 50)), ("gguf", in_full(2, 50))],
    indirect=["link"],
)
@on_farm_loop
async def test_memory_is_back_after_each_of_many_loads(
    farm: AsyncFarm, link: Link, cycles: int, llamacpp_children: Callable[[], set[int]]
) -> None:
    """``FULL_MODEL_TESTS=1`` loads 50 times and more."""
    modules, others = living_modules(), llamacpp_children()
    answers, left, loaded = set(), [], []
    for _ in range(WARM + cycles):
        await drain(farm.models.load(link.ref))
        answers.add(await link.ask(farm))
        loaded.append(rss())
        assert await farm.models.unload(link.ref) is True
        left.append(rss())
    assert living_modules() == modules
    assert llamacpp_children() == others
    some = max(1, cycles // 5)
    before, after = median(left[WARM - 1 :][:some]), median(left[-some:])
    print(
        f"\n{cycles} cycles: {max(loaded):,} bytes while it is loaded; "
        f"{before:,.0f} left, then {after:,.0f} ({after / before:.3f})"
    )
    assert len(answers) == 1
    assert after < before * (1 + GROWTH) + ARENAS_BYTES
    assert (await farm.models.free(())).held == ()


@on_farm_loop
async def test_a_model_is_gone_at_once_and_needs_no_collection(
    farm: AsyncFarm, tiny: Link, no_collector: None
) -> None:
    modules = living_modules()
    await asyncio.gather(*(tiny.ask(farm) for _ in range(4)))
    await drain(farm.models.reload(tiny.ref))
    await settled(lambda: living_modules() == modules + 1)
    await tiny.ask(farm)
    await farm.models.unload(tiny.ref)
    assert living_modules() == modules


@on_farm_loop
async def test_memory_is_back_after_many_reloads_and_swaps(farm: AsyncFarm, real: Link, tiny: Link) -> None:
    """``FULL_MODEL_TESTS=1`` does it 20 times."""
    modules = living_modules()
    await drain(farm.models.load(real.ref))
    taken = []
    for _ in range(in_full(2, 20)):
        real.turn()
        await drain(farm.models.reload(real.ref))
        await settled(lambda: living_modules() == modules + 1)
        await drain(farm.models.swap(real.ref, tiny.ref))
        await drain(farm.models.swap(tiny.ref, real.ref))
        await farm.models.unload(tiny.ref)
        taken.append(rss())
    print(f"\n{[f'{each:,}' for each in taken]}")
    assert taken[-1] < taken[0] * (1 + GROWTH) + ARENAS_BYTES
    await farm.models.unload_all()
    assert living_modules() == modules


# What a notebook holds


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    kernel = Kernel(
        FARM_CACHE_DIR=str(tmp_path_factory.mktemp("cache")), FARM_OFFLINE="1", OMP_NUM_THREADS="1"
    )
    yield kernel
    kernel.close()


def taken_by(kernel: Kernel) -> int:
    return int(kernel.value("__import__('psutil').Process().memory_info().rss"))


@pytest.mark.kernel
def test_what_an_output_and_a_traceback_hold_is_named_and_given_back_by_force(
    kernel: Kernel, real_versions: Versions, tmp_path: Path
) -> None:
    link = real_versions.linked(tmp_path / "latest")
    kernel.run("import farm_notebook as farm")
    for _ in range(2):  # what is made once, is made now
        assert kernel.run(f"%farm load {link.ref}").status == "ok"
        loaded = taken_by(kernel)
        assert kernel.run(f"%farm unload {link.ref}").status == "ok"
        before = taken_by(kernel)
    assert loaded > before + 400_000_000
    kernel.run(f"%farm load {link.ref}")
    shown = kernel.run(f"with farm.models.lease({link.ref!r}) as leased:\n    module = leased.module\nmodule")
    assert shown.status == "ok"
    failed = kernel.run("def train(given):\n    raise ValueError('no loss')\ntrain(module)")
    assert failed.content["ename"] == "ValueError"
    kernel.run("del module")
    kernel.run(f"%farm unload {link.ref}")
    assert taken_by(kernel) > before + 400_000_000
    told = kernel.run("%farm free").text
    assert f"{link.ref} (generation " in told
    assert f"Out[{shown.count}]" in told
    assert "last traceback" in told
    freed = kernel.run("%farm free --force").text
    assert f"Out[{shown.count}] is cleared" in freed
    assert "still takes" not in freed.partition("is cleared")[2]
    assert kernel.value("farm.models.held()") == {}
    after = taken_by(kernel)
    print(f"\n{loaded:,} loaded; {before:,} before, {after:,} after")
    assert after < before * (1 + GROWTH) + ARENAS_BYTES


@pytest.mark.kernel
def test_a_variable_of_the_users_own_is_named_and_not_touched(
    kernel: Kernel, tiny_versions: Versions, tmp_path: Path
) -> None:
    link = tiny_versions.linked(tmp_path / "latest")
    kernel.run(f"with farm.models.lease({link.ref!r}) as leased:\n    mine = leased.module.model.layers[1]")
    told = kernel.run("%farm free --force").text
    assert "mine" in told
    assert kernel.value("type(mine).__name__") == "LlamaDecoderLayer"
    kernel.run("del mine, leased")
    assert "still takes" not in kernel.run("%farm free").text
