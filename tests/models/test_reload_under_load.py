"""A model is replaced again and again while many ask it: each answer is whole, and of one version."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from contract import drain, on_farm_loop

from farm_notebook.farm import AsyncFarm
from farm_notebook.lifecycle.shelf import Shelf
from farm_notebook.types import Event

from .told import living_modules, settled, told
from .versions import Link, in_full, said

GROWTH = 0.05
_answering: ContextVar[list[int]] = ContextVar("answering")  # the generations that one request was given


@pytest.fixture
def seen_generations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each request's ``_answering`` is told which generation of a model it has in hand."""
    hold = Shelf.hold

    @asynccontextmanager
    async def watched(shelf: Shelf[Any, Any], key: Any) -> AsyncIterator[Any]:
        async with hold(shelf, key) as version:
            _answering.get([]).append(version.facts.generation)
            yield version

    monkeypatch.setattr(Shelf, "hold", watched)


@dataclass
class Client:
    """Asks without pause, and keeps what it was told, and by which generation."""

    farm: AsyncFarm
    link: Link
    answers: list[tuple[list[int], list[Event]]] = field(default_factory=list)

    async def ask_until(self, is_over: asyncio.Event) -> None:
        request = self.link.request(self.farm)
        while not is_over.is_set():
            generations: list[int] = []
            _answering.set(generations)
            events = [event async for event in self.farm.events(request)]
            self.answers.append((generations, events))


def answered_by(clients: list[Client]) -> set[int]:
    """The generations that have answered."""
    return {generation for client in clients for given, _ in client.answers for generation in given}


async def replaced_under_load(
    farm: AsyncFarm, link: Link, texts: dict[Path, str], *, clients: int, swaps: int
) -> int:
    """Replace a model again and again under its clients, and check all they were told; how many answers."""
    (status,) = await farm.models.loaded()
    expected = {status.generation: texts[link.path.resolve()]}
    asking = [Client(farm, link) for _ in range(clients)]
    is_over = asyncio.Event()
    async with told(farm) as heard, asyncio.TaskGroup() as group:
        for client in asking:
            group.create_task(client.ask_until(is_over))
        for _ in range(swaps):
            await settled(lambda: answered_by(asking) == expected.keys())
            place = link.turn()
            await drain(farm.models.reload(link.ref))
            (status,) = await farm.models.loaded()
            assert status.generation not in expected
            expected[status.generation] = texts[place.resolve()]
        await settled(lambda: answered_by(asking) == expected.keys())
        is_over.set()
    assert [event.state for event in heard.events] == ["reloading", "ready"] * swaps
    for client in asking:
        generations = []
        for (generation,), events in client.answers:  # one: nobody was handed on to another
            assert said(events) == expected[generation]
            generations.append(generation)
        assert generations == sorted(generations)
    assert await link.ask(farm) == texts[link.path.resolve()]
    return sum(len(client.answers) for client in asking)


@pytest.mark.slow
@pytest.mark.model
@on_farm_loop
async def test_each_answer_is_whole_and_of_one_version_while_the_model_is_replaced(
    farm: AsyncFarm, tiny: Link, seen_generations: None
) -> None:
    """``FULL_MODEL_TESTS=1`` replaces it 200 times under 32 clients."""
    clients, swaps = in_full(16, 32), in_full(16, 200)
    modules = living_modules()
    texts = await tiny.texts(farm)
    answers = await replaced_under_load(farm, tiny, texts, clients=clients, swaps=swaps // 4)
    before, threads, tasks = rss(), threading.active_count(), len(asyncio.all_tasks())
    answers += await replaced_under_load(farm, tiny, texts, clients=clients, swaps=swaps - swaps // 4)
    await settled(lambda: len(asyncio.all_tasks()) <= tasks and threading.active_count() <= threads)
    await settled(lambda: living_modules() == modules + 1)
    after = rss()
    print(f"\n{swaps} swaps, {answers} answers to {clients} clients; {before:,} to {after:,} bytes")
    assert after < before * (1 + GROWTH)


@pytest.mark.slow
@pytest.mark.model
@on_farm_loop
async def test_each_answer_of_a_child_is_whole_and_of_one_version_while_it_is_replaced(
    farm: AsyncFarm, gguf: Link, seen_generations: None, llamacpp_children: Callable[[], set[int]]
) -> None:
    """``FULL_MODEL_TESTS=1`` replaces it 50 times."""
    others, swaps = llamacpp_children(), in_full(2, 50)
    answers = await replaced_under_load(farm, gguf, await gguf.texts(farm), clients=8, swaps=swaps)
    print(f"\n{swaps} swaps, {answers} answers to 8 clients")
    await settled(lambda: len(llamacpp_children() - others) == 1)


def rss() -> int:
    """What this process takes of memory, in bytes."""
    return psutil.Process().memory_info().rss
