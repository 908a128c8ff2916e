"""However many ask for a model at once that is not in memory, it is loaded once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import pytest
from contract import on_farm_loop

from farm_notebook.farm import AsyncFarm
from farm_notebook.types import LoadProgress

from .told import told
from .versions import Link

CALLERS = 100


async def all_of(loading: AsyncGenerator[LoadProgress, None]) -> list[LoadProgress]:
    """All that a load tells."""
    async with aclosing(loading) as progress:
        return [each async for each in progress]


@pytest.mark.model
@pytest.mark.slow
@on_farm_loop
async def test_a_hundred_callers_of_a_model_cause_one_load(farm: AsyncFarm, tiny: Link) -> None:
    async def generation() -> int:
        async with farm.models.lease(tiny.ref) as leased:
            return int(leased.generation)

    async with told(farm) as heard:
        answers, leases, loads = await asyncio.gather(
            asyncio.gather(*(tiny.ask(farm) for _ in range(CALLERS - 20))),
            asyncio.gather(*(generation() for _ in range(10))),
            asyncio.gather(*(all_of(farm.models.load(tiny.ref)) for _ in range(10))),
        )
        assert [event.state for event in heard.events] == ["loading", "ready"]
    assert set(leases) == {heard.events[-1].generation}
    assert len(set(answers)) == 1
    assert all(progress[-1].completed_bytes == progress[-1].total_bytes for progress in loads)


@pytest.mark.model
@pytest.mark.slow
@on_farm_loop
async def test_a_hundred_callers_of_a_file_start_one_process(
    farm: AsyncFarm, gguf: Link, llamacpp_children: Callable[[], set[int]]
) -> None:
    others = llamacpp_children()
    async with told(farm) as heard:
        answers, _ = await asyncio.gather(
            asyncio.gather(*(gguf.ask(farm) for _ in range(20))),
            asyncio.gather(*(all_of(farm.models.load(gguf.ref)) for _ in range(CALLERS - 20))),
        )
        assert [event.state for event in heard.events] == ["loading", "ready"]
    assert len(llamacpp_children() - others) == 1
    assert len(set(answers)) == 1
