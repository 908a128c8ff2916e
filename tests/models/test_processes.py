"""A model's process that is killed is noticed and started again, once; it leaves neither zombie nor file."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

import psutil
import pytest
from contract import on_farm_loop

from farm_notebook.errors import BackendCrashedError
from farm_notebook.farm import AsyncFarm

from .told import settled, told
from .versions import Link, in_full

pytestmark = [pytest.mark.model, pytest.mark.slow]

DIED = "signal 9, SIGKILL"


@pytest.fixture
def child(gguf: Link, llamacpp_children: Callable[[], set[int]]) -> Callable[[], int]:
    """A function: the process id of the one child that is new since the test began."""
    others = llamacpp_children()

    def found() -> int:
        (pid,) = llamacpp_children() - others
        return pid

    return found


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


@on_farm_loop
async def test_an_idle_one_is_noticed_and_started_again_by_itself(
    farm: AsyncFarm, gguf: Link, child: Callable[[], int]
) -> None:
    answer = await gguf.ask(farm)
    (before,) = await farm.models.loaded()
    killed = child()
    async with told(farm) as heard:
        kill(killed)
        died = await heard.next("failed")
        assert DIED in died.detail
        assert "It is started again" in died.detail
        again = await heard.next("ready")
        assert [event.state for event in heard.events] == ["failed", "loading", "ready"]
    assert again.generation != before.generation
    assert child() != killed
    assert not psutil.pid_exists(killed), "it is no zombie"
    assert await gguf.ask(farm) == answer


@on_farm_loop
async def test_one_that_is_killed_in_mid_answer_is_told_with_the_text_so_far_and_started_again(
    farm: AsyncFarm, gguf: Link, child: Callable[[], int]
) -> None:
    answer = await gguf.ask(farm)
    pieces = farm.stream("Once upon a time", model=gguf.ref, temperature=0, max_tokens=900)
    texts = [await anext(pieces)]
    killed = child()
    async with told(farm) as heard:
        kill(killed)
        with pytest.raises(BackendCrashedError, match=DIED) as caught:
            texts += [piece async for piece in pieces]
        assert caught.value.partial_text.startswith("".join(texts))
        await heard.next("ready", before="loading")
        assert heard.count("loading") == 1
    assert not psutil.pid_exists(killed)
    assert await gguf.ask(farm) == answer


@on_farm_loop
async def test_one_that_dies_again_before_it_answered_is_reported_and_started_by_the_next_request(
    farm: AsyncFarm, gguf: Link, child: Callable[[], int]
) -> None:
    answer = await gguf.ask(farm)
    async with told(farm) as heard:
        kill(child())
        await heard.next("ready", before="loading")
        kill(killed := child())
        await heard.next("failed")
        await settled(lambda: not psutil.pid_exists(killed))
        (status,) = await farm.models.loaded()
        assert status.state == "failed"
        assert DIED in status.detail
        assert "the next request does" in status.detail
        assert [event.state for event in heard.events] == ["failed", "loading", "ready", "failed"]
        assert await gguf.ask(farm) == answer
        assert [event.state for event in heard.events[4:]] == ["loading", "ready"]
        kill(child())  # and since it has answered, it is started by itself again
        await heard.next("ready")
        await heard.next("ready")
    assert await gguf.ask(farm) == answer


@on_farm_loop
async def test_one_that_is_killed_while_it_loads_is_an_error_and_the_next_request_starts_another(
    farm: AsyncFarm, gguf: Link, child: Callable[[], int], llamacpp_children: Callable[[], set[int]]
) -> None:
    others = llamacpp_children()
    asking = asyncio.create_task(gguf.ask(farm))
    await settled(lambda: bool(llamacpp_children() - others))
    kill(child())
    with pytest.raises(BackendCrashedError, match=DIED):
        await asking
    assert [status.state for status in await farm.models.loaded()] == ["failed"]
    assert await gguf.ask(farm)


@on_farm_loop
async def test_one_that_is_killed_while_it_is_loaded_anew_gives_way_to_the_new_one(
    farm: AsyncFarm, gguf: Link, child: Callable[[], int], llamacpp_children: Callable[[], set[int]]
) -> None:
    texts = await gguf.texts(farm)
    others = llamacpp_children() - {child()}
    killed = child()
    new = gguf.turn()

    async def reload() -> None:
        async for _ in farm.models.reload(gguf.ref):
            pass

    async with told(farm) as heard:
        reloading = asyncio.create_task(reload())
        await settled(lambda: len(llamacpp_children() - others) == 2)
        kill(killed)
        await reloading
        assert heard.events[-1].state == "ready"
    assert await gguf.ask(farm) == texts[new.resolve()]
    await settled(lambda: len(llamacpp_children() - others) == 1)


@on_farm_loop
async def test_neither_file_nor_thread_nor_task_is_left_of_those_that_died(
    farm: AsyncFarm, gguf: Link, child: Callable[[], int]
) -> None:
    """``FULL_MODEL_TESTS=1`` kills 30 of them."""
    me = psutil.Process()
    await gguf.ask(farm)

    async def taken() -> tuple[int, int, int]:
        await gguf.ask(farm)
        await settled(lambda: all(each.status() != psutil.STATUS_ZOMBIE for each in me.children()))
        return me.num_fds(), me.num_threads(), len(asyncio.all_tasks())

    before = await taken()
    async with told(farm) as heard:
        for _ in range(in_full(3, 30)):
            kill(child())
            await heard.next("ready", before="loading")
            await gguf.ask(farm)
    after = await taken()
    print(f"\nfiles, threads and tasks: {before} and then {after}")
    assert all(now <= then for now, then in zip(after, before, strict=True))
