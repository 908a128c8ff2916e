"""Each text's vector is kept by itself, given again exactly, and asked for once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm_notebook.errors import FarmError, ProviderError, RateLimitedError
from farm_notebook.pipeline import cache as cache_module
from farm_notebook.pipeline.embeddings import MANY, EmbeddingCache
from farm_notebook.stores import Store, StoreStats
from farm_notebook.stores.sqlite import SQLiteStore
from farm_notebook.types import Embeddings, ModelRef, Usage

REF, OTHER = ModelRef("toy", "small"), ModelRef("toy", "large")
Vector = tuple[float, ...]


def vector_of(text: str) -> Vector:
    """Another one for each text, of numbers that are no round ones."""
    chance = random.Random(text.encode("utf-8", "surrogatepass"))
    return tuple(chance.uniform(-1, 1) for _ in range(4))


class Model:
    """What is asked where nothing is kept; counts a token a text."""

    def __init__(self, ref: ModelRef = REF) -> None:
        self.ref = ref
        self.asked: list[list[str]] = []
        self.stopped = 0
        self.error: Exception | None = None
        self.usage: Usage | None = None
        self.is_asked = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def __call__(self, texts: Sequence[str]) -> Embeddings:
        self.asked.append([*texts])
        self.is_asked.set()
        try:
            await self.may_answer.wait()
        except asyncio.CancelledError:
            self.stopped += 1
            raise
        if self.error is not None:
            raise self.error
        usage = Usage(input_tokens=len(texts)) if self.usage is None else self.usage
        return Embeddings(tuple(vector_of(text) for text in texts), self.ref, usage)


class MemoryStore(Store):
    """A store of this process's, for tests of many small cases."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}

    async def get(self, key: str) -> bytes | None:
        return self.values.get(key)

    def put(self, key: str, value: bytes) -> None:
        self.values[key] = value

    async def stats(self) -> StoreStats:
        raise NotImplementedError

    async def clear(self) -> int:
        raise NotImplementedError

    async def aclose(self) -> None:
        self.values.clear()


class Digests:
    """What the models' digests are."""

    def __init__(self) -> None:
        self.now: str | Exception | None = "digest"

    async def __call__(self, ref: ModelRef) -> str | None:
        if isinstance(self.now, Exception):
            raise self.now
        return self.now


@pytest.fixture
def digests() -> Digests:
    return Digests()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def cache(store: MemoryStore, digests: Digests) -> EmbeddingCache:
    return EmbeddingCache(store, digests)


@pytest.fixture
async def model() -> Model:
    return Model()


@pytest.fixture(autouse=True)
async def nothing_left() -> AsyncIterator[None]:
    yield
    assert asyncio.all_tasks() == {asyncio.current_task()}


def right(texts: Sequence[str], tokens: int | None) -> Embeddings:
    return Embeddings(tuple(vector_of(text) for text in texts), REF, Usage(input_tokens=tokens))


# What is asked for


async def test_only_the_texts_that_are_missing_are_asked_for(cache: EmbeddingCache, model: Model) -> None:
    assert await cache.embed(["a", "b"], REF, model) == right(["a", "b"], 2)
    assert await cache.embed(["c", "b", "d", "a"], REF, model) == right(["c", "b", "d", "a"], 2)
    assert await cache.embed(["d", "c"], REF, model) == right(["d", "c"], 0)
    assert model.asked == [["a", "b"], ["c", "d"]]


async def test_equal_texts_are_asked_for_once(cache: EmbeddingCache, model: Model) -> None:
    texts = ["b", "a", "b", "b", "a"]
    assert await cache.embed(texts, REF, model) == right(texts, 2)
    assert model.asked == [["b", "a"]]


async def test_no_texts_are_for_the_model_to_answer(cache: EmbeddingCache, model: Model) -> None:
    assert await cache.embed([], REF, model) == right([], 0)
    assert model.asked == [[]]


async def test_thousands_are_kept_and_given_again(tmp_path: Path, digests: Digests, model: Model) -> None:
    texts = [f"text {number}" for number in range(3000)]
    store = SQLiteStore(tmp_path / "answers.sqlite", ttl_s=3600, max_bytes=50_000_000)
    cache = EmbeddingCache(store, digests)
    assert await cache.embed(texts, REF, model) == right(texts, 3000)
    await store.aclose()
    assert await cache.embed(texts[::-1], REF, model) == right(texts[::-1], 0)
    assert len(model.asked) == 1
    await store.aclose()


async def test_a_refresh_asks_for_everything_and_keeps_it(
    cache: EmbeddingCache, model: Model, store: MemoryStore
) -> None:
    await cache.embed(["a", "b"], REF, model)
    store.values = dict.fromkeys(store.values, b"[9.0]")
    assert await cache.embed(["a"], REF, model, use="refresh") == right(["a"], 1)
    assert (await cache.embed(["a", "b"], REF, model)).vectors == (vector_of("a"), (9.0,))
    assert model.asked == [["a", "b"], ["a"]]


async def test_who_wants_no_cache_neither_gets_nor_leaves_anything(
    cache: EmbeddingCache, model: Model, store: MemoryStore
) -> None:
    for _ in range(2):
        assert await cache.embed(["a", "a"], REF, model, use="off") == right(["a", "a"], 2)
    assert model.asked == [["a", "a"]] * 2
    assert not store.values


# What is given again


numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-5, 5)


@given(st.lists(st.text(), min_size=1, max_size=5, unique=True), st.data())
async def test_any_text_gets_exactly_the_same_numbers_again(texts: list[str], data: st.DataObject) -> None:
    vectors = tuple(tuple(data.draw(st.lists(numbers, min_size=1, max_size=4))) for _ in texts)

    async def ask(asked: Sequence[str]) -> Embeddings:
        assert [*asked] == texts
        return Embeddings(vectors, REF)

    async def never(asked: Sequence[str]) -> Embeddings:
        raise AssertionError(asked)

    cache = EmbeddingCache(MemoryStore(), Digests())
    first = await cache.embed(texts, REF, ask)
    again = await cache.embed(texts, REF, never)
    assert [*map(repr, again.vectors)] == [*map(repr, first.vectors)], "-0.0 is not 0.0"
    assert again.usage == Usage(input_tokens=0)


async def test_half_a_surrogate_pair_is_a_text_too(cache: EmbeddingCache, model: Model) -> None:
    for _ in range(2):
        await cache.embed(["\ud800", "\\ud800", "?"], REF, model)
    assert model.asked == [["\ud800", "\\ud800", "?"]]


async def test_no_text_is_in_a_key(cache: EmbeddingCache, model: Model, store: MemoryStore) -> None:
    await cache.embed(["a private text"], REF, model)
    assert "private" not in str(store.values)


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), None])
async def test_what_is_no_number_is_given_but_not_kept(broken: float, cache: EmbeddingCache) -> None:
    asked = 0

    async def ask(texts: Sequence[str]) -> Embeddings:
        nonlocal asked
        asked += 1
        return Embeddings(tuple((1.0, broken if text == "bad" else 2.0) for text in texts), REF)

    assert (await cache.embed(["good", "bad"], REF, ask)).vectors[0] == (1.0, 2.0)
    await cache.embed(["good"], REF, ask)
    assert asked == 1
    await cache.embed(["bad"], REF, ask)
    assert asked == 2


async def test_what_was_damaged_is_asked_for_again_and_replaced(
    cache: EmbeddingCache, model: Model, store: MemoryStore
) -> None:
    await cache.embed(["a"], REF, model)
    (key,) = store.values
    for damaged in (
        b"",
        b"[",
        b"[]",
        b"{}",
        b"[null]",
        b'["1"]',
        b"[[1]]",
        b"[true]",
        b"\xff",
        b"[" * 100_000,
    ):
        store.values[key] = damaged
        assert await cache.embed(["a"], REF, model) == right(["a"], 1), damaged[:20]
        assert await cache.embed(["a"], REF, model) == right(["a"], 0)


async def test_another_model_or_digest_or_setting_is_asked_itself(
    store: MemoryStore, digests: Digests, model: Model
) -> None:
    address = "here"
    cache = EmbeddingCache(store, digests, lambda provider: f"{provider} is {address}")
    await cache.embed(["a"], REF, model)
    large = Model(OTHER)
    assert (await cache.embed(["a"], OTHER, large)).ref == OTHER
    digests.now = "another"
    await cache.embed(["a"], REF, model)
    address = "there"
    await cache.embed(["a"], REF, model)
    assert (len(model.asked), len(large.asked)) == (3, 1)
    digests.now, address = "digest", "here"
    assert await cache.embed(["a"], REF, model) == right(["a"], 0)


async def test_the_vectors_of_a_model_that_changed_meanwhile_are_not_kept(
    cache: EmbeddingCache, model: Model, store: MemoryStore, digests: Digests
) -> None:
    model.may_answer.clear()
    asking = asyncio.create_task(cache.embed(["a"], REF, model))
    await model.is_asked.wait()
    digests.now = "another"
    model.may_answer.set()
    assert await asking == right(["a"], 1)
    assert not store.values


async def test_the_first_vectors_of_a_model_that_was_fetched_for_them_are_kept(
    cache: EmbeddingCache, model: Model, digests: Digests
) -> None:
    digests.now, model.is_asked = None, asyncio.Event()
    model.may_answer.clear()
    asking = asyncio.create_task(cache.embed(["a"], REF, model))
    await model.is_asked.wait()
    digests.now = "digest"
    model.may_answer.set()
    await asking
    assert await cache.embed(["a"], REF, model) == right(["a"], 0)


@pytest.mark.parametrize("error", [FarmError("no such model"), OSError("no such file")])
async def test_a_digest_that_cannot_be_told_costs_no_answer(
    error: Exception, cache: EmbeddingCache, model: Model, digests: Digests
) -> None:
    digests.now = error
    assert await cache.embed(["a"], REF, model) == right(["a"], 1)
    assert await cache.embed(["a"], REF, model) == right(["a"], 0)


async def test_a_digest_that_takes_long_is_not_waited_for(
    store: MemoryStore, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "DIGEST_WAIT_S", 0.01)

    async def never(ref: ModelRef) -> str | None:
        await asyncio.Event().wait()
        raise AssertionError

    cache = EmbeddingCache(store, never)
    for _ in range(2):
        assert await cache.embed(["a"], REF, model) == right(["a"], 1)
    assert not store.values


# Usage


async def test_usage_is_of_what_was_asked_and_unknown_stays_unknown(
    cache: EmbeddingCache, model: Model
) -> None:
    model.usage = Usage(input_tokens=7, cached_tokens=3)
    assert (await cache.embed(["a"], REF, model)).usage == model.usage
    model.usage = Usage()
    assert (await cache.embed(["a", "b"], REF, model)).usage == Usage()
    assert (await cache.embed(["a", "b"], REF, model)).usage == Usage(input_tokens=0)


# Several at once


async def asked_at_once(
    cache: EmbeddingCache, model: Model, *asked: Sequence[str]
) -> list[asyncio.Task[Embeddings]]:
    """Callers that all wait for the model."""
    model.may_answer.clear()
    tasks = [asyncio.create_task(cache.embed(texts, REF, model)) for texts in asked]
    await model.is_asked.wait()
    for _ in range(20):
        await asyncio.sleep(0)
    return tasks


async def test_a_text_that_is_asked_for_already_is_waited_for(cache: EmbeddingCache, model: Model) -> None:
    tasks = await asked_at_once(cache, model, ["a", "b"], ["b", "c"], ["c", "a"], ["b"])
    model.may_answer.set()
    answers = await asyncio.gather(*tasks)
    assert model.asked == [["a", "b"], ["c"]]
    for answer, texts in zip(answers, ("ab", "bc", "ca", "b"), strict=True):
        assert answer.vectors == right([*texts], 0).vectors
    assert sum(answer.usage.input_tokens or 0 for answer in answers) == 3, "each token is counted once"


async def test_who_leaves_leaves_the_call_to_those_who_wait_for_it(
    cache: EmbeddingCache, model: Model
) -> None:
    first, second = await asked_at_once(cache, model, ["a"], ["a"])
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    model.may_answer.set()
    assert await second == right(["a"], 1)
    assert (model.asked, model.stopped) == ([["a"]], 0)


async def test_when_the_last_one_leaves_the_model_is_stopped_first(
    cache: EmbeddingCache, model: Model
) -> None:
    tasks = await asked_at_once(cache, model, ["a"], ["a", "b"])
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert all(task.cancelled() for task in tasks)
    assert (model.asked, model.stopped) == ([["a"], ["b"]], 2)
    model.may_answer.set()
    assert await cache.embed(["a", "b"], REF, model) == right(["a", "b"], 2), "it is asked anew"


async def test_a_failure_reaches_all_who_wait_and_is_forgotten(
    cache: EmbeddingCache, model: Model, store: MemoryStore
) -> None:
    model.error = RateLimitedError("too fast", provider="toy", retry_after_s=3)
    tasks = await asked_at_once(cache, model, ["a"], ["a"], ["a", "b"])
    model.may_answer.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [(type(error), str(error)) for error in outcomes] == [(RateLimitedError, "too fast")] * 3
    assert len({id(error) for error in outcomes}) == 3, "each has one of its own"
    assert not store.values
    model.error = None
    assert await cache.embed(["a"], REF, model) == right(["a"], 1)


async def test_a_refresh_does_not_wait_for_an_older_call(cache: EmbeddingCache, model: Model) -> None:
    (older,) = await asked_at_once(cache, model, ["a"])
    newer = asyncio.create_task(cache.embed(["a"], REF, model, use="refresh"))
    while len(model.asked) < 2:  # noqa: ASYNC110 - it is, in a few steps
        await asyncio.sleep(0)
    model.may_answer.set()
    assert await older == await newer == right(["a"], 1)


async def test_too_few_vectors_are_an_error_and_nothing_is_kept(
    cache: EmbeddingCache, store: MemoryStore
) -> None:
    async def lazy(texts: Sequence[str]) -> Embeddings:
        return Embeddings(((1.0,),), REF)

    with pytest.raises(ProviderError, match="toy:small gave 1 embeddings for 2 texts"):
        await cache.embed(["a", "b"], REF, lazy)
    assert not store.values


async def test_others_get_their_turn_while_thousands_are_looked_up(
    cache: EmbeddingCache, model: Model
) -> None:
    texts = [f"text {number}" for number in range(20 * MANY)]
    await cache.embed(texts, REF, model)
    looking, turns = asyncio.create_task(cache.embed(texts, REF, model)), 0
    while not looking.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 5
    assert len(model.asked) == 1


@pytest.mark.slow
async def test_whatever_is_cancelled_every_vector_is_right(cache: EmbeddingCache) -> None:
    chance, asked, tokens = random.Random(3), 0, 0

    async def ask(texts: Sequence[str]) -> Embeddings:
        nonlocal asked, tokens
        asked += len(texts)
        await asyncio.sleep(chance.random() * 0.003)
        if chance.random() < 0.1:
            raise ProviderError("broken")
        tokens += len(texts)
        return Embeddings(tuple(map(vector_of, texts)), REF, Usage(input_tokens=len(texts)))

    async def embed() -> int | None:
        texts = [f"text {chance.randrange(2000)}" for _ in range(chance.randrange(1, 12))]
        caller = asyncio.create_task(cache.embed(texts, REF, ask))
        if chance.random() < 0.3:
            asyncio.get_running_loop().call_later(chance.random() * 0.004, caller.cancel)
        try:
            found = await caller
        except (asyncio.CancelledError, ProviderError):
            return None
        assert found.vectors == tuple(map(vector_of, texts))
        return found.usage.input_tokens

    counted: list[int | None] = []
    for _ in range(40):
        counted += await asyncio.gather(*(embed() for _ in range(40)))
    told = [count for count in counted if count is not None]
    assert len(told) > 800
    assert sum(told) <= tokens
    assert asked < 8000, "of 10,000"
