"""The cache gives a repeatable answer again, whole and as it came, and never another one's."""
# ruff: noqa: ASYNC110 - a test waits for what has no event

from __future__ import annotations

import asyncio
import dataclasses
import logging
import random
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, ClassVar, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm_notebook import providers
from farm_notebook.config import CacheConfig, load_config
from farm_notebook.errors import FarmError, InvalidRequestError, ProviderConnectionError, ProviderError
from farm_notebook.farm import AsyncFarm, Farm
from farm_notebook.pipeline import Handler
from farm_notebook.pipeline import cache as cache_module
from farm_notebook.pipeline.cache import cache, is_repeatable
from farm_notebook.providers.scripted import ScriptedProvider
from farm_notebook.stores import Store, StoreStats
from farm_notebook.stores.sqlite import SQLiteStore
from farm_notebook.types import (
    CacheUse,
    ChatMessage,
    ChatRequest,
    Event,
    Finished,
    FinishReason,
    Image,
    LoadProgress,
    ModelRef,
    PromptProgress,
    ReasoningDelta,
    RequestKind,
    Rerouted,
    Retrying,
    Route,
    Started,
    TextDelta,
    ToolCall,
    Usage,
)

REF, OTHER = ModelRef("toy", "loud"), ModelRef("toy", "quiet")
REQUEST = ChatRequest(REF, (ChatMessage("user", "hello"),), temperature=0.0)
ANSWER: tuple[Event, ...] = (
    LoadProgress("load", 1, 2),
    Started(REF),
    Retrying(REF, "busy", 0.5),
    PromptProgress(1, 2),
    ReasoningDelta("Hm"),
    ReasoningDelta("."),
    TextDelta("Hel"),
    TextDelta(""),
    TextDelta("lo"),
    ToolCall("1", "f", "{}"),
    TextDelta("."),
    Finished("tool_calls", Usage(3, 4)),
)
AGAIN = (Started(REF, cached=True), *ANSWER[4:])


class Model:
    """What is asked where nothing is kept: plays answers in turn, the last one for ever, and counts."""

    def __init__(self, *answers: tuple[Event | BaseException, ...]) -> None:
        self._answers = deque(answers or (ANSWER,))
        self.asked: list[ChatRequest] = []
        self.closed = 0
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    async def __call__(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        self.asked.append(request)
        steps = self._answers.popleft() if len(self._answers) > 1 else self._answers[0]
        try:
            for number, step in enumerate(steps):
                if number:
                    await self.may_go_on.wait()
                if isinstance(step, BaseException):
                    raise step
                yield step
        finally:
            self.closed += 1


class Digests:
    """What the models' digests are."""

    def __init__(self) -> None:
        self.of: dict[ModelRef, str | Exception | None] = {}

    async def __call__(self, ref: ModelRef) -> str | None:
        found = self.of.get(ref)
        if isinstance(found, Exception):
            raise found
        return found


class MemoryStore(Store):
    """A store of this process's, for tests of many small cases."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}

    async def get(self, key: str) -> bytes | None:
        return self.values.get(key)

    def put(self, key: str, value: bytes) -> None:
        self.values[key] = value

    async def stats(self) -> StoreStats:
        return StoreStats(len(self.values), 0, 0, 0, None, "memory")

    async def clear(self) -> int:
        raise NotImplementedError

    async def aclose(self) -> None:
        self.values.clear()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLiteStore]:
    store = SQLiteStore(tmp_path / "answers.sqlite", ttl_s=3600, max_bytes=50_000_000)
    yield store
    await store.aclose()


@pytest.fixture
def digests() -> Digests:
    return Digests()


async def played(handler: Handler, request: ChatRequest = REQUEST) -> list[Event]:
    async with aclosing(handler(request)) as events:
        return [event async for event in events]


async def asked_while(model: Model, handler: Handler, happens: Callable[[], object]) -> None:
    """An answer, during which something happens."""
    model.may_go_on.clear()
    async with aclosing(handler(REQUEST)) as events:
        assert await anext(events) == ANSWER[0]
        happens()
        model.may_go_on.set()
        assert [event async for event in events] == [*ANSWER[1:]]


def using(request: ChatRequest, use: CacheUse) -> ChatRequest:
    return dataclasses.replace(request, cache=use)


# What is given again


async def test_a_second_request_gets_the_same_answer_and_asks_nobody(
    store: SQLiteStore, digests: Digests
) -> None:
    model = Model()
    handler = cache(store, digests)(model)
    assert await played(handler) == [*ANSWER]
    assert await played(handler) == [*AGAIN]
    await store.aclose()
    assert await played(handler) == [*AGAIN], "from the file"
    assert len(model.asked) == model.closed == 1


@pytest.mark.parametrize(
    ("fields", "repeatable"),
    [
        ({"temperature": 0.0}, True),
        ({"temperature": 0.0, "seed": 1}, True),
        ({"temperature": 1.0, "seed": 0}, True),
        ({"temperature": None, "seed": 7}, True),
        ({"temperature": None}, False),
        ({"temperature": 0.1}, False),
        ({"temperature": 1.0, "sample": 0}, True),
        ({"temperature": None, "sample": 3}, True),
    ],
)
async def test_only_an_answer_that_is_not_left_to_chance_is_kept(
    fields: dict[str, Any], repeatable: bool, store: SQLiteStore, digests: Digests
) -> None:
    request, model = dataclasses.replace(REQUEST, **fields), Model()
    handler = cache(store, digests)(model)
    first, second = [await played(handler, request) for _ in range(2)]
    assert is_repeatable(request) is repeatable
    assert first == [*ANSWER]
    assert second == [*(AGAIN if repeatable else ANSWER)]
    assert (await store.stats()).entries == repeatable


async def test_each_sample_is_kept_apart(store: SQLiteStore, digests: Digests) -> None:
    samples = [(Started(REF), TextDelta(str(number)), Finished("stop")) for number in range(3)]
    handler = cache(store, digests)(Model(*samples))
    requests = [dataclasses.replace(REQUEST, temperature=1.0, sample=number) for number in range(3)]
    for _ in range(2):
        answers = [await played(handler, request) for request in requests]
        assert [answer[1:] for answer in answers] == [[*sample[1:]] for sample in samples]
    assert all(answer[0] == Started(REF, cached=True) for answer in answers)


async def test_a_request_for_something_else_is_asked(store: SQLiteStore, digests: Digests) -> None:
    model = Model()
    handler = cache(store, digests)(model)
    await played(handler)
    changes: list[dict[str, Any]] = [{"kind": "completion"}, {"seed": 1}, {"max_tokens": 5}, {"top_p": 0.5}]
    for change in changes:
        assert await played(handler, dataclasses.replace(REQUEST, **change)) == [*ANSWER]
    assert len(model.asked) == 5


async def test_a_refresh_asks_anew_and_keeps_that_answer(store: SQLiteStore, digests: Digests) -> None:
    new = (Started(REF), TextDelta("new"), Finished("stop"))
    model = Model(ANSWER, new)
    handler = cache(store, digests)(model)
    await played(handler)
    assert await played(handler, using(REQUEST, "refresh")) == [*new]
    assert await played(handler) == [Started(REF, cached=True), *new[1:]]
    assert len(model.asked) == 2


async def test_who_waits_for_the_end_gets_the_same_in_fewer_pieces(
    store: SQLiteStore, digests: Digests
) -> None:
    model = Model()
    await played(cache(store, digests)(model))
    again = await played(cache(store, digests, in_pieces=False)(model))
    assert again == [
        Started(REF, cached=True),
        ReasoningDelta("Hm."),
        TextDelta("Hello"),
        ToolCall("1", "f", "{}"),
        TextDelta("."),
        ANSWER[-1],
    ]


async def test_a_request_that_wants_no_cache_neither_gets_nor_leaves_anything(
    store: SQLiteStore, digests: Digests
) -> None:
    model = Model()
    handler = cache(store, digests)(model)
    await played(handler, using(REQUEST, "off"))
    assert (await store.stats()).entries == 0
    await played(handler)
    assert await played(handler, using(REQUEST, "off")) == [*ANSWER]
    assert len(model.asked) == 3


async def test_the_far_side_sees_the_request_as_it_was(store: SQLiteStore, digests: Digests) -> None:
    model = Model()
    await played(cache(store, digests)(model))
    assert model.asked == [REQUEST]


deltas = st.lists(
    st.builds(TextDelta, st.text())
    | st.builds(ReasoningDelta, st.text())
    | st.builds(ToolCall, st.text(), st.text(), st.text())
)
progress = st.lists(st.just(LoadProgress("load", 1, 2)) | st.just(PromptProgress(1, 2)), max_size=2)
reasons = st.sampled_from(get_args(FinishReason))


@given(progress, deltas, reasons, st.none() | st.integers(0, 99))
async def test_any_whole_answer_is_given_again_as_it_came_and_no_other(
    before: list[Event], said: list[Event], reason: FinishReason, tokens: int | None
) -> None:
    finished = Finished(reason, Usage(output_tokens=tokens))
    model = Model((*before, Started(REF), *before, *said, finished))
    handler = cache(MemoryStore(), Digests())(model)
    assert await played(handler) == [*before, Started(REF), *before, *said, finished]
    again = await played(handler)
    if reason in ("stop", "length", "tool_calls"):
        assert again == [Started(REF, cached=True), *said, finished]
    else:
        assert len(model.asked) == 2


SMALL: dict[str, st.SearchStrategy[Any]] = {
    "ref": st.builds(ModelRef, st.just("a"), st.sampled_from("xy")),
    "messages": st.tuples(
        st.builds(
            ChatMessage,
            st.sampled_from(["user", "system"]),
            st.sampled_from(["", "a"]),
            images=st.sampled_from([(), (Image(b"1", "image/png"),), (Image(b"2", "image/png"),)]),
        )
    ),
    "kind": st.sampled_from(get_args(RequestKind)),
    "temperature": st.sampled_from([None, 0.0]),
    "seed": st.sampled_from([None, 0]),
    "sample": st.sampled_from([None, 0, 1]),
    "route": st.sampled_from([Route(), Route("a", "because"), Route(alternates=(ModelRef("a", "x"),))]),
    "stop": st.sampled_from([(), ("a",), ("a", "b"), ("ab",)]),
    "schema": st.sampled_from([None, {}, {"a": None}]),
    "extra": st.sampled_from([{}, {"a": 1, "b": [1]}, {"b": [1], "a": 1}, {"a": [1], "b": 1}]),
    "cache": st.sampled_from(get_args(CacheUse)),
}
small_requests = st.builds(ChatRequest, **SMALL)
small_digests = st.sampled_from([None, "", "d"])


@given(small_requests, small_requests, small_digests, small_digests)
def test_two_requests_have_one_key_if_and_only_if_they_ask_the_same(
    one: ChatRequest, other: ChatRequest, digest: str | None, other_digest: str | None
) -> None:
    asked = [dataclasses.replace(request, cache="use", route=Route()) for request in (one, other)]
    is_same = (asked[0], digest) == (asked[1], other_digest)
    assert (one.fingerprint(digest) == other.fingerprint(other_digest)) == is_same


# What is not kept


@pytest.mark.parametrize(
    "answer",
    [
        (Started(REF), TextDelta("a"), Finished("interrupted")),
        (Started(REF), TextDelta("a"), Finished("error")),
        (Started(REF), TextDelta("a"), Finished("content_filter")),
        (Started(REF), TextDelta("a")),
        (),
    ],
)
async def test_an_answer_that_is_not_whole_is_not_kept(
    answer: tuple[Event, ...], store: SQLiteStore, digests: Digests
) -> None:
    model = Model(answer)
    handler = cache(store, digests)(model)
    assert await played(handler) == await played(handler) == [*answer]
    assert len(model.asked) == 2
    assert (await store.stats()).entries == 0


async def test_an_error_is_passed_on_and_nothing_is_kept(store: SQLiteStore, digests: Digests) -> None:
    broken = ProviderConnectionError("broken", provider="toy")
    model = Model((Started(REF), TextDelta("a"), broken), ANSWER)
    handler = cache(store, digests)(model)
    async with aclosing(handler(REQUEST)) as events:
        assert [await anext(events) for _ in range(2)] == [Started(REF), TextDelta("a")]
        with pytest.raises(ProviderConnectionError) as caught:
            await anext(events)
    assert caught.value is broken
    assert await played(handler) == [*ANSWER]


async def test_a_reader_that_leaves_stops_the_model_and_nothing_is_kept(
    store: SQLiteStore, digests: Digests
) -> None:
    model = Model()
    model.may_go_on.clear()
    handler = cache(store, digests)(model)
    async with aclosing(handler(REQUEST)) as events:
        await anext(events)
    assert model.closed == 1
    assert (await store.stats()).entries == 0


async def test_a_cancelled_caller_stops_the_model_before_it_is_gone(
    store: SQLiteStore, digests: Digests
) -> None:
    model = Model()
    model.may_go_on.clear()
    caller = asyncio.create_task(played(cache(store, digests)(model)))
    while not model.asked:
        await asyncio.sleep(0.001)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert model.closed == 1


async def test_a_reader_that_leaves_a_replay_leaves_nothing_behind(
    store: SQLiteStore, digests: Digests
) -> None:
    handler = cache(store, digests)(Model())
    await played(handler)
    tasks = asyncio.all_tasks()
    async with aclosing(handler(REQUEST)) as events:
        assert await anext(events) == AGAIN[0]
    assert asyncio.all_tasks() == tasks
    assert await played(handler) == [*AGAIN]


async def test_others_get_their_turn_during_a_long_replay(store: SQLiteStore, digests: Digests) -> None:
    words = [TextDelta("word ")] * (5 * cache_module.EVENTS_AT_ONCE)
    handler = cache(store, digests)(Model((Started(REF), *words, Finished("stop"))))
    await played(handler)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    assert len(await played(handler)) == len(words) + 2
    task.cancel()
    assert turns >= 4


# Whose answer it is


async def test_an_answer_is_kept_under_the_model_that_gave_it(store: SQLiteStore, digests: Digests) -> None:
    instead = (Started(OTHER), TextDelta("instead"), Finished("stop"))
    model = Model(instead, ANSWER)
    handler = cache(store, digests)(model)
    assert await played(handler) == [*instead]
    again = await played(handler, dataclasses.replace(REQUEST, ref=OTHER))
    assert again == [Started(OTHER, cached=True), *instead[1:]]
    assert await played(handler) == [*ANSWER], "the one that was asked for has not answered yet"
    assert len(model.asked) == 2


async def test_the_answer_of_a_model_that_stood_in_is_kept_under_that_one(
    store: SQLiteStore, digests: Digests
) -> None:
    said = (TextDelta("instead"), Finished("stop"))
    model = Model((Started(REF), Rerouted(REF, OTHER, "it broke"), Started(OTHER), *said), ANSWER)
    handler = cache(store, digests)(model)
    await played(handler)
    assert await played(handler) == [*ANSWER], "what was asked for has not answered yet"
    again = await played(handler, dataclasses.replace(REQUEST, ref=OTHER))
    assert again == [Started(OTHER, cached=True), *said]


async def test_a_model_that_changed_is_asked_anew(store: SQLiteStore, digests: Digests) -> None:
    model = Model()
    handler = cache(store, digests)(model)
    for number, digest in enumerate(("one", "two"), 1):
        digests.of[REF] = digest
        await played(handler)
        assert await played(handler) == [*AGAIN]
        assert len(model.asked) == number
    digests.of[REF] = "one"
    assert await played(handler) == [*AGAIN]


async def test_the_answer_of_a_model_that_changed_meanwhile_is_not_kept(
    store: SQLiteStore, digests: Digests
) -> None:
    digests.of[REF] = "one"
    model = Model()
    handler = cache(store, digests)(model)
    await asked_while(model, handler, lambda: digests.of.update({REF: "two"}))
    assert (await store.stats()).entries == 0


async def test_the_first_answer_of_a_model_that_was_fetched_for_it_is_kept(
    store: SQLiteStore, digests: Digests
) -> None:
    model = Model()
    handler = cache(store, digests)(model)
    await asked_while(model, handler, lambda: digests.of.update({REF: "one"}))
    assert await played(handler) == [*AGAIN]
    digests.of[REF] = None
    assert await played(handler) == [*ANSWER]


@pytest.mark.parametrize("error", [FarmError("no such model"), OSError("no such file")])
async def test_a_digest_that_cannot_be_told_costs_no_answer(
    error: Exception, store: SQLiteStore, digests: Digests
) -> None:
    digests.of[REF] = error
    handler = cache(store, digests)(Model())
    assert await played(handler) == [*ANSWER]
    assert await played(handler) == [*AGAIN]


async def test_a_digest_that_takes_long_is_not_waited_for(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "DIGEST_WAIT_S", 0.01)

    async def never(ref: ModelRef) -> str | None:
        await asyncio.Event().wait()
        raise AssertionError

    model = Model()
    handler = cache(store, never)(model)
    assert await played(handler) == await played(handler) == [*ANSWER]
    assert len(model.asked) == 2


async def test_the_same_name_under_other_settings_is_another_model(
    store: SQLiteStore, digests: Digests
) -> None:
    address, model = "here", Model()
    handler = cache(store, digests, settings=lambda provider: f"{provider} is {address}")(model)
    await played(handler)
    address = "there"
    assert await played(handler) == [*ANSWER]
    address = "here"
    assert await played(handler) == [*AGAIN]


# Several at once


async def test_equal_requests_at_the_same_time_ask_once(store: SQLiteStore, digests: Digests) -> None:
    model = Model()
    model.may_go_on.clear()
    handler = cache(store, digests)(model)
    await store.get("")  # which opens it, so that all get to the model at once
    callers = [asyncio.create_task(played(handler)) for _ in range(50)]
    while not model.asked:
        await asyncio.sleep(0.001)
    model.may_go_on.set()
    first, *others = await asyncio.gather(*callers)
    assert first == [*ANSWER]
    assert others == [[ANSWER[0], Started(REF, cached=True), *ANSWER[2:]]] * 49, "which cost nothing more"
    assert await played(handler) == [*AGAIN]
    assert len(model.asked) == 1


async def test_a_hundred_requests_one_after_the_other_ask_once(store: SQLiteStore, digests: Digests) -> None:
    model = Model()
    handler = cache(store, digests)(model)
    for _ in range(100):
        await played(handler)
    assert len(model.asked) == 1


async def test_a_failure_reaches_all_who_wait(store: SQLiteStore, digests: Digests) -> None:
    model = Model((ProviderError("broken"),), ANSWER)
    handler = cache(store, digests)(model)
    await store.get("")  # which opens it, so that all get to the model at once
    outcomes = await asyncio.gather(*(played(handler) for _ in range(5)), return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["broken"] * 5
    assert len(model.asked) == 1
    assert await played(handler) == [*ANSWER]


@pytest.mark.slow
async def test_whatever_is_cancelled_and_closed_every_answer_is_right_and_nothing_is_left(
    store: SQLiteStore,
) -> None:
    chance = random.Random(7)
    tasks_before = asyncio.all_tasks()
    asked = 0

    async def model(request: ChatRequest) -> AsyncGenerator[Event, None]:
        nonlocal asked
        asked += 1
        yield Started(request.ref)
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0.001)
        if chance.random() < 0.1:
            raise ProviderError("broken")
        for word in request.messages[0].content.split():
            yield TextDelta(word)
        yield Finished("stop")

    handler = cache(store, Digests())(model)

    async def ask(number: int) -> str | None:
        said = f"the answer to {number}"
        use = chance.choices(get_args(CacheUse), (8, 1, 1))[0]
        request = dataclasses.replace(REQUEST, messages=(ChatMessage("user", said),), cache=use)
        caller = asyncio.create_task(played(handler, request))
        if chance.random() < 0.3:
            asyncio.get_running_loop().call_later(chance.random() * 0.004, caller.cancel)
        try:
            events = await caller
        except (asyncio.CancelledError, ProviderError) as error:
            return type(error).__name__
        assert [event.text for event in events if isinstance(event, TextDelta)] == said.split()
        return None

    outcomes: list[str | None] = []
    for _ in range(60):
        outcomes += await asyncio.gather(*(ask(chance.randrange(30)) for _ in range(50)))
        if chance.random() < 0.2:
            await asyncio.gather(store.aclose(), *(ask(chance.randrange(30)) for _ in range(10)))
    assert outcomes.count(None) > 1500
    assert asked < 1200
    assert asyncio.all_tasks() == tasks_before


# A store that breaks


async def test_what_was_damaged_is_asked_for_again_and_replaced(digests: Digests) -> None:
    store, model = MemoryStore(), Model()
    handler = cache(store, digests)(model)
    await played(handler)
    (key,) = store.values
    for damaged in (b"", b"{}", b"[]", b"[[]]", store.values[key][:-5], b"\xff" * 9, b"[" * 100_000):
        store.values[key] = damaged
        assert await played(handler) == [*ANSWER], damaged[:20]
        assert await played(handler) == [*AGAIN]


async def test_a_broken_store_costs_no_answer_and_is_told_of_once(
    tmp_path: Path, digests: Digests, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    store = SQLiteStore(tmp_path / "file" / "answers.sqlite", ttl_s=60, max_bytes=50_000_000)
    handler = cache(store, digests)(Model())
    for _ in range(3):
        assert (await played(handler))[1:] in ([*ANSWER[1:]], [*AGAIN[1:]])
    await store.aclose()
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


def test_a_farm_whose_file_is_damaged_chats_on_and_tells_of_it_once(
    farm: Farm, caplog: pytest.LogCaptureFixture
) -> None:
    first = farm.chat("hello", temperature=0)
    farm.close()
    path = farm.config.answers_path
    path.write_bytes(b"no database" * 5000)
    replies = [farm.chat("hello", temperature=0) for _ in range(3)]
    assert [reply.cached for reply in replies] == [False, True, True]
    assert {reply.text for reply in replies} == {first.text}
    (told,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert f"{path.name}.corrupt-1" in told
    assert path.with_name(f"{path.name}.corrupt-1").exists()


# A farm with a cache


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[Farm]:
    farm = Farm(model="scripted:count-5", cache_dir=tmp_path, cache={"enabled": True})
    yield farm
    farm.close()


def test_a_reply_says_that_it_was_kept(farm: Farm) -> None:
    first, second = (farm.chat("hello", temperature=0) for _ in range(2))
    assert (first.cached, second.cached) == (False, True)
    assert dataclasses.replace(second, timings=first.timings, cached=False, cost=first.cost) == first
    assert second.cost == 0
    assert second.footer == "scripted:count-5 · 5 tokens · cached"
    assert second.provenance()["cached"] is True
    assert second.timings.tokens_per_s is None


def test_a_stream_and_a_completion_are_kept_too(farm: Farm) -> None:
    farm.chat("hello", temperature=0)
    assert list(farm.stream("hello", temperature=0)) == ["word0", " word1", " word2", " word3", " word4"]
    assert [farm.generate("hello", seed=1).cached for _ in range(2)] == [False, True]
    assert farm.cache_stats().entries == 2


def test_a_call_says_how_the_cache_is_used(farm: Farm) -> None:
    farm.chat("hello", temperature=0)
    assert farm.chat("hello", temperature=0, cache="use").cached is True
    assert farm.chat("hello", temperature=0, cache="refresh").cached is False
    assert farm.chat("hello", temperature=0, cache="off").cached is False
    with pytest.raises(InvalidRequestError, match=r"cache='maybe'.*'use', 'refresh', 'off'"):
        farm.chat("hello", cache="maybe")  # type: ignore[arg-type]


def test_a_farm_forgets_its_answers(farm: Farm) -> None:
    farm.chat("hello", temperature=0)
    assert farm.cache_clear() == 1
    assert farm.cache_stats().entries == 0
    assert farm.chat("hello", temperature=0).cached is False


def test_a_closed_farm_keeps_its_answers(farm: Farm) -> None:
    farm.chat("hello", temperature=0)
    farm.close()
    assert farm.chat("hello", temperature=0).cached is True


def test_a_farm_without_a_cache_keeps_nothing(tmp_path: Path) -> None:
    farm = Farm(model="scripted:echo", cache_dir=tmp_path, cache={"enabled": False})
    assert [farm.chat("hello", temperature=0).cached for _ in range(2)] == [False, False]
    assert not any(tmp_path.iterdir())


class StandInProvider(ScriptedProvider):
    """The scripted one in place of one that has settings."""

    name = "openai"

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        yield Started(request.ref)
        yield TextDelta("hello")
        yield Finished("stop")


class CountingProvider(ScriptedProvider):
    """The scripted one, and how often it was asked."""

    name = "counting"
    asked: ClassVar[int] = 0

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        CountingProvider.asked += 1
        async with aclosing(super().stream(request)) as events:
            async for event in events:
                yield event


def test_farms_with_other_settings_of_the_provider_do_not_share_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(providers, "_registered", {"openai": StandInProvider, "near": StandInProvider})
    cached = []
    for url in ("http://one.example/v1", "http://two.example/v1", "http://one.example/v1"):
        farm = Farm(cache_dir=tmp_path, cache={"enabled": True}, endpoints={"near": {"base_url": url}})
        cached += [farm.chat("hello", model=f"{name}:m", temperature=0).cached for name in ("openai", "near")]
        farm.close()
    assert cached == [False, False, True, False, True, True]


def test_a_provider_that_a_notebook_defines_anew_is_asked_anew(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(providers, "_registered", {})
    cached = []
    for _ in range(2):  # as a cell that is run again
        members = {"name": "mine", "__module__": "__main__"}
        providers.register_provider(type("Mine", (StandInProvider,), members))
        cached += [farm.chat("hello", model="mine:m", temperature=0).cached for _ in range(2)]
    assert cached == [False, True, False, True]


async def test_equal_requests_of_equal_farms_ask_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(providers, "_registered", {"counting": CountingProvider})
    monkeypatch.setattr(CountingProvider, "asked", 0)
    farms = [
        AsyncFarm(model="counting:slow-5", cache_dir=tmp_path, cache=CacheConfig(enabled=True))
        for _ in range(2)
    ]
    asked = [farms[number % 2].chat("hello", temperature=0) for number in range(10)]
    replies = await asyncio.gather(*asked)
    assert {reply.text for reply in replies} == {"word0 word1 word2 word3 word4"}
    assert CountingProvider.asked == 1
    assert (await farms[0].cache_stats()).entries == 1
    for farm in farms:
        await farm.aclose()


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"cache": {"ttl_s": 0}}, "cache.ttl_s=0"),
        ({"cache": {"max_bytes": 10}}, "cache.max_bytes=10"),
        ({"cache": {"enable": True}}, "cache.enable"),
    ],
)
def test_a_bad_setting_is_named(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(FarmError, match=text):
        load_config(settings)
