"""Requests that share one child: who enters when, what they do to each other, and what they do not."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator

import farside
import pytest
import pytest_asyncio

from farm_notebook import loop
from farm_notebook.farm import AsyncFarm
from farm_notebook.providers.llamacpp.provider import LlamaCppProvider
from farm_notebook.providers.llamacpp.server import LlamaServer
from farm_notebook.providers.llamacpp.window import Share, Window
from farm_notebook.types import ChatRequest, Started, TextDelta

STORY = "Write a very long story."
ENDLESS = {"ignore_eos": True}
TOPICS = ("the sea", "a dog", "iron", "the moon")


# The window


class Guests:
    """Requests at the door of a window, by name; each stays until it is told to leave."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.inside: dict[str, Share] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._leave: dict[str, asyncio.Event] = {}

    async def come(self, name: str, tokens: int | None) -> set[str]:
        self._leave[name] = asyncio.Event()
        self._tasks[name] = asyncio.create_task(self._stay(name, tokens))
        return await self.now()

    async def leave(self, name: str) -> set[str]:
        self._leave[name].set()
        return await self.now()

    async def cancel(self, name: str) -> set[str]:
        self._tasks[name].cancel()
        return await self.now()

    async def now(self) -> set[str]:
        for _ in range(4):  # turns of the loop, for those whom a change lets in
            await asyncio.sleep(0)
        return set(self.inside)

    async def _stay(self, name: str, tokens: int | None) -> None:
        async with self.window.share(tokens) as share:
            self.inside[name] = share
            try:
                await self._leave[name].wait()
            finally:
                del self.inside[name]


async def test_as_many_enter_as_fit_and_the_next_when_one_leaves() -> None:
    guests = Guests(Window(100, slots=9))
    assert await guests.come("a", 40) == {"a"}
    assert await guests.come("b", 60) == {"a", "b"}
    assert await guests.come("c", 30) == {"a", "b"}
    assert await guests.leave("a") == {"b", "c"}
    assert await guests.leave("b") == {"c"}
    assert await guests.leave("c") == set()


async def test_no_more_enter_than_there_are_slots() -> None:
    guests = Guests(Window(100, slots=2))
    for name in "abc":
        await guests.come(name, 1)
    assert await guests.now() == {"a", "b"}
    assert await guests.leave("b") == {"a", "c"}


async def test_who_wants_all_runs_alone_and_is_not_overtaken() -> None:
    guests = Guests(Window(100, slots=9))
    await guests.come("a", 10)
    await guests.come("all", None)
    assert await guests.come("b", 10) == {"a"}
    assert await guests.leave("a") == {"all"}
    assert await guests.leave("all") == {"b"}


async def test_more_than_there_is_is_all_there_is() -> None:
    guests = Guests(Window(100, slots=9))
    assert await guests.come("a", 1000) == {"a"}
    assert guests.inside["a"].tokens == 100


async def test_a_request_that_turns_out_shorter_makes_room() -> None:
    guests = Guests(Window(100, slots=9))
    await guests.come("a", 90)
    assert await guests.come("b", 50) == {"a"}
    guests.inside["a"].resize(50)
    assert await guests.now() == {"a", "b"}
    guests.inside["a"].resize(80)  # one that turns out longer is not put out
    await guests.leave("b")
    assert await guests.come("c", 30) == {"a"}
    assert await guests.leave("a") == {"c"}


async def test_who_leaves_the_queue_lets_the_next_in() -> None:
    guests = Guests(Window(100, slots=9))
    await guests.come("a", 10)
    await guests.come("all", None)
    await guests.come("b", 10)
    assert await guests.cancel("all") == {"a", "b"}


async def test_who_is_cancelled_at_the_moment_of_entry_leaves_nothing_behind() -> None:
    window = Window(100, slots=1)
    guests = Guests(window)
    await guests.come("a", None)
    await guests.come("b", None)
    guests._leave["a"].set()
    while guests.inside:  # noqa: ASYNC110 - counts the turns of the loop
        await asyncio.sleep(0)
    await guests.cancel("b")
    assert await guests.come("c", None) == {"c"}
    assert await guests.leave("c") == set()
    assert (window._free_tokens, window._free_slots) == (100, 1)


async def test_after_any_comings_and_goings_all_is_free_again() -> None:
    chance = random.Random(1)
    window = Window(100, slots=4)

    async def visit() -> None:
        async with window.share(chance.choice([None, 5, 30, 60])) as share:
            assert window._free_slots >= 0
            await asyncio.sleep(0)
            share.resize(chance.randrange(1, 60))
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(visit()) for _ in range(300)]
    while not all(task.done() for task in tasks):
        chance.choice(tasks).cancel()
        await asyncio.sleep(0)
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {type(None), asyncio.CancelledError}
    assert (window._free_tokens, window._free_slots, len(window._waiting)) == (100, 4, 0)


# The real model


@pytest_asyncio.fixture
async def farm(embedded_model: str, no_leaks: None) -> AsyncIterator[AsyncFarm]:
    farm = AsyncFarm(model=embedded_model, llamacpp={"context_tokens": 2048, "parallel": 4})
    yield farm
    await farm.aclose()


def provider_of(farm: AsyncFarm) -> LlamaCppProvider:
    provider = farm._pool.providers.get("llamacpp")
    assert isinstance(provider, LlamaCppProvider)
    return provider


def server_of(farm: AsyncFarm) -> LlamaServer:
    """The one child of a farm."""
    (version,) = provider_of(farm)._shelf.versions().values()
    return version.value


@pytest.mark.model
async def test_requests_without_a_seed_are_answered_side_by_side(farm: AsyncFarm) -> None:
    first_text: dict[str, float] = {}
    end: dict[str, float] = {}

    async def ask(topic: str) -> None:
        async for _ in farm.stream(f"Tell me of {topic}.", max_tokens=40):
            first_text.setdefault(topic, time.monotonic())
        end[topic] = time.monotonic()

    await farm.chat("hello", max_tokens=1)
    await asyncio.gather(*(ask(topic) for topic in TOPICS))
    assert max(first_text.values()) < min(end.values())


@pytest.mark.model
async def test_a_seeded_answer_is_the_same_whatever_was_asked_at_the_same_time(farm: AsyncFarm) -> None:
    async def ask(topic: str, seed: int | None) -> str:
        reply = await farm.chat(f"Tell me of {topic}.", temperature=1.0, seed=seed, max_tokens=24)
        return reply.text

    alone = [await ask(topic, 7) for topic in TOPICS]
    mixed = await asyncio.gather(*(ask(topic, seed) for topic in TOPICS for seed in (None, 7)))
    assert mixed[1::2] == alone


@pytest.mark.model
async def test_a_seeded_request_waits_until_nothing_is_left_of_those_whose_callers_left(
    farm: AsyncFarm,
) -> None:
    await farm.chat("hello", max_tokens=1)
    provider, server = provider_of(farm), server_of(farm)
    marks = [server.is_settling]
    for _ in range(2):
        streams = [farm.stream(f"Tell me of {topic}.", max_tokens=300) for topic in TOPICS]
        for stream in streams:
            await anext(stream)
        await asyncio.gather(*(stream.aclose() for stream in streams))
        marks.append(server.is_settling)
        await loop.run(provider._client.settle(server))
        slots = await loop.run(provider._client.ask(server, "/slots"))
        assert not any(slot["is_processing"] for slot in slots)
    await farm.chat("hello", seed=1, max_tokens=1)
    assert [*marks, server.is_settling] == [False, True, True, False]


@pytest.mark.model
async def test_cancelling_one_of_several_leaves_the_others_alone_and_frees_its_slot(farm: AsyncFarm) -> None:
    await farm.chat("hello", max_tokens=1)
    seen: dict[str, int] = dict.fromkeys(TOPICS, 0)
    going = asyncio.Event()

    async def ask(topic: str) -> None:
        async for _ in farm.stream(f"Tell me of {topic}.", max_tokens=300, extra=ENDLESS):
            seen[topic] += 1
            if all(seen.values()):
                going.set()

    tasks = {topic: asyncio.create_task(ask(topic)) for topic in TOPICS}
    await asyncio.wait_for(going.wait(), 60)
    waiting = asyncio.create_task(farm.chat("Say hello.", max_tokens=1))
    started_at = time.perf_counter()
    tasks["iron"].cancel()
    await asyncio.wait([tasks["iron"]])
    print(f"\ncaller back after {time.perf_counter() - started_at:.3f} s")
    assert (await waiting).finish_reason == "length"
    print(f"its slot answered another after {time.perf_counter() - started_at:.3f} s")
    others = [task for topic, task in tasks.items() if topic != "iron"]
    assert not any(task.done() for task in others), "the fifth had the slot of the cancelled one"
    for task in others:
        task.cancel()
    await asyncio.wait(others)
    pid = server_of(farm).pid or 0
    assert await farside.stopped_after(pid, time.perf_counter()) < farside.PATIENCE_S


@pytest.mark.model
async def test_requests_that_would_fill_the_window_together_take_turns_and_all_end_well(
    embedded_model: str, no_leaks: None
) -> None:
    window = 256
    farm = AsyncFarm(model=embedded_model, llamacpp={"context_tokens": window, "parallel": 4})
    try:
        chats = [farm.chat(f"Tell me of {topic}.", max_tokens=70, extra=ENDLESS) for topic in TOPICS]
        for reply in await asyncio.gather(*chats):
            assert (reply.finish_reason, reply.usage.output_tokens) == ("length", 70)
        whole = await farm.chat(STORY, max_tokens=2000, extra=ENDLESS)
        assert whole.finish_reason == "length"
        assert (whole.usage.input_tokens or 0) + (whole.usage.output_tokens or 0) >= window
    finally:
        await farm.aclose()


@pytest.mark.model
async def test_a_request_starts_when_its_turn_has_come(farm: AsyncFarm) -> None:
    order: list[str] = []

    async def ask(name: str, request: ChatRequest) -> None:
        async for event in farm.events(request):
            if isinstance(event, Started | TextDelta):
                order.append(f"{name} {type(event).__name__}")

    await farm.chat("hello", max_tokens=1)
    first = farm.request("Tell me of the sea.", seed=1, max_tokens=20)
    await asyncio.gather(ask("first", first), ask("second", farm.request("Say hello.", seed=1, max_tokens=2)))
    start = order.index("second Started")
    assert set(order[:start]) == {"first Started", "first TextDelta"}
    assert "first TextDelta" not in order[start:]
