"""The farm's calls, from coroutines, threads and running loops, on the scripted provider."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

import farm_notebook
from farm_notebook import providers
from farm_notebook.config import FarmConfig, load_config
from farm_notebook.errors import (
    ConfigError,
    IncompleteStreamError,
    InvalidRequestError,
    ModelNotFoundError,
    ProviderConnectionError,
    ProviderTimeoutError,
    UnknownProviderError,
)
from farm_notebook.farm import AsyncFarm, Farm
from farm_notebook.farm import blocking as farm_module
from farm_notebook.pool import pool as pools
from farm_notebook.pool import providers as provider_pools
from farm_notebook.providers.base import AIProvider
from farm_notebook.providers.scripted import EMBEDDING_WIDTH, ScriptedProvider
from farm_notebook.types import (
    ChatMessage,
    ChatRequest,
    Embeddings,
    Event,
    Finished,
    LoadProgress,
    ModelInfo,
    ModelRef,
    ProviderStatus,
    Route,
    Started,
    TextDelta,
    Usage,
)

pytestmark = pytest.mark.usefixtures("no_stream_is_left_open")

SOON_S = 20.0  # far more than anything here takes


@pytest.fixture
def farm() -> Farm:
    return Farm(model="scripted:echo")


class ToyProvider(AIProvider):
    """What an author of a provider writes, and a record of how it was called."""

    name = "toy"
    made: ClassVar[list[ToyProvider]] = []

    def __init__(self, config: FarmConfig) -> None:
        super().__init__(config)
        self.requests: list[ChatRequest] = []
        self.threads: set[str] = set()
        self.closed = False
        ToyProvider.made.append(self)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        self.requests.append(request)
        self.threads.add(threading.current_thread().name)
        yield Started(request.ref)
        yield TextDelta(f"{request.kind}:")
        yield TextDelta(request.messages[-1].content.upper())
        yield Finished("stop", Usage(1, 2))

    async def embed(self, texts: Sequence[str], model: str) -> Embeddings:
        return Embeddings(tuple((float(len(text)), 0.0) for text in texts), ModelRef(self.name, model))

    async def list_models(self) -> list[ModelInfo]:
        return [ModelInfo(ModelRef(self.name, "loud"), available=True)]

    async def load_model(self, model: str) -> AsyncGenerator[LoadProgress, None]:
        yield LoadProgress("load", 0, 2)
        yield LoadProgress("load", 2, 2)

    async def unload_model(self, model: str) -> bool:
        return model == "loud"

    async def health_check(self) -> ProviderStatus:
        return ProviderStatus(self.name, healthy=True, detail="plays")

    async def digest(self, model: str) -> str | None:
        return f"digest of {model}"

    async def aclose(self) -> None:
        self.closed = True


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> type[ToyProvider]:
    """The toy provider, registered for one test."""
    monkeypatch.setattr(providers, "_registered", {})
    monkeypatch.setattr(pools, "_pools", [])
    monkeypatch.setattr(provider_pools, "_pools", [])
    monkeypatch.setattr(ToyProvider, "made", [])
    assert farm_notebook.register_provider(ToyProvider) is ToyProvider
    return ToyProvider


# The calls


def test_chat_answers_and_says_how(farm: Farm) -> None:
    reply = farm.chat("one two three", seed=7)
    assert (reply.text, reply.finish_reason, str(reply.ref)) == ("one two three", "stop", "scripted:echo")
    assert reply.usage == Usage(3, 3)
    assert reply.parameters == {"seed": 7}
    assert reply.fingerprint == farm.core.request("one two three", seed=7).fingerprint()
    assert reply.timings.first_token_s is not None
    assert 0 <= reply.timings.first_token_s <= reply.timings.total_s


def test_stream_says_the_same_piece_by_piece(farm: Farm) -> None:
    assert list(farm.stream("one two three")) == ["one", " two", " three"]


def test_generate_sends_the_prompt_raw(toy: type[ToyProvider]) -> None:
    assert Farm(model="toy:loud").generate("once upon").text == "completion:ONCE UPON"


def test_embed_gives_one_vector_a_text_in_order(farm: Farm) -> None:
    both = farm.embed(["a", "b"])
    assert both.ref == ModelRef("scripted", "echo")
    assert both.vectors == farm.embed("a").vectors + farm.embed("b").vectors
    assert [len(vector) for vector in both.vectors] == [EMBEDDING_WIDTH] * 2


def test_listing_models_asks_every_listed_provider(farm: Farm, toy: type[ToyProvider]) -> None:
    refs = [info.ref for info in farm.list_models()]
    assert ModelRef("toy", "loud") in refs
    assert {"llamacpp", "toy"} == {ref.provider for ref in refs}, "scripted is not listed"


def test_health_tells_of_every_listed_provider(farm: Farm, toy: type[ToyProvider]) -> None:
    statuses = {status.name: status for status in farm.health()}
    assert statuses["toy"] == ProviderStatus("toy", healthy=True, detail="plays")
    assert {"llamacpp", "toy"} <= statuses.keys()


def test_load_and_unload_reach_the_models_provider(toy: type[ToyProvider]) -> None:
    farm = Farm(model="toy:loud")
    assert list(farm.load()) == [LoadProgress("load", 0, 2), LoadProgress("load", 2, 2)]
    assert farm.unload() is True
    assert farm.unload("toy:quiet") is False


def test_a_conversation_is_answered_at_its_end(farm: Farm) -> None:
    turns: list[ChatMessage | dict[str, str]] = [
        ChatMessage("user", "a"),
        ChatMessage("assistant", "b"),
        {"role": "user", "content": "c d"},
    ]
    assert farm.chat(turns).text == "c d"


async def test_the_async_farm_gives_the_same_answers() -> None:
    farm = AsyncFarm(model="scripted:echo")
    assert (await farm.chat("one two")).text == "one two"
    assert (await farm.generate("one two")).text == "one two"
    assert [piece async for piece in farm.stream("one two")] == ["one", " two"]
    assert (await farm.embed("a")).vectors == Farm(model="scripted:echo").embed("a").vectors
    events = [event async for event in farm.events(farm.request("one"))]
    assert [type(event) for event in events] == [Started, TextDelta, Finished]


def test_the_packages_own_calls_go_to_a_farm_with_the_environments_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(farm_module, "_default", None)
    monkeypatch.setenv("FARM_MODEL", "scripted:count-2")
    assert farm_notebook.chat("x").text == "word0 word1"
    assert list(farm_notebook.stream("x")) == ["word0", " word1"]


# Where it is called from


def test_a_thread_may_call(farm: Farm) -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: farm.chat("hello").text).result(SOON_S) == "hello"
        assert pool.submit(lambda: list(farm.stream("a b"))).result(SOON_S) == ["a", " b"]


async def test_the_blocking_farm_works_where_a_loop_runs(farm: Farm) -> None:
    assert farm.chat("hello").text == "hello"
    assert list(farm.stream("a b")) == ["a", " b"]


def test_one_async_farm_serves_loop_after_loop() -> None:
    farm = AsyncFarm(model="scripted:echo")
    for number in range(3):
        assert asyncio.run(farm.chat(f"hello {number}")).text == f"hello {number}"


async def test_every_provider_runs_on_the_farms_loop(toy: type[ToyProvider]) -> None:
    farm = Farm(model="toy:loud")
    await farm.core.chat("a")
    farm.chat("b")
    await asyncio.to_thread(farm.chat, "c")
    assert [provider.threads for provider in toy.made] == [{"farm-loop"}]


async def test_fifty_chats_at_once_each_get_their_own_answer(farm: Farm) -> None:
    prompts = [f"question {number} " + "word " * (number % 7) for number in range(50)]
    replies = await asyncio.gather(*[farm.core.chat(prompt) for prompt in prompts])
    assert [reply.text for reply in replies] == [prompt.rstrip() for prompt in prompts]


def test_fifty_chats_of_threads_each_get_their_own_answer(farm: Farm) -> None:
    prompts = [f"question {number}" for number in range(50)]
    with ThreadPoolExecutor(50) as pool:
        assert list(pool.map(lambda prompt: farm.chat(prompt).text, prompts)) == prompts


async def test_chats_at_once_do_not_wait_for_each_other(farm: Farm) -> None:
    """One that never ends does not hold up the others."""
    stalled = asyncio.create_task(farm.core.chat("x", model="scripted:stall-1"))
    assert (await asyncio.wait_for(farm.core.chat("hello"), SOON_S)).text == "hello"
    assert not stalled.done()
    stalled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stalled


# Options


def test_options_never_leak_from_one_call_into_the_next(toy: type[ToyProvider]) -> None:
    farm = Farm(model="toy:loud")
    farm.chat("a", system="Be brief.", temperature=1, top_p=0.5, max_tokens=3, seed=4, stop="x", schema={})
    farm.chat("b")
    farm.generate("c", seed=5)
    farm.chat("d", model="toy:quiet")
    farm.chat("e")
    (provider,) = toy.made
    loud = ModelRef("toy", "loud")
    assert [replace(request, route=Route()) for request in provider.requests[1:]] == [
        ChatRequest(loud, (ChatMessage("user", "b"),)),
        ChatRequest(loud, (ChatMessage("user", "c"),), kind="completion", seed=5),
        ChatRequest(ModelRef("toy", "quiet"), (ChatMessage("user", "d"),)),
        ChatRequest(loud, (ChatMessage("user", "e"),)),
    ]


async def test_options_of_calls_at_once_stay_apart(toy: type[ToyProvider]) -> None:
    farm = AsyncFarm(model="toy:loud")
    await asyncio.gather(*[farm.chat(f"{seed}", seed=seed) for seed in range(20)])
    (provider,) = toy.made
    assert all(str(request.seed) == request.messages[0].content for request in provider.requests)
    assert len(provider.requests) == 20


def test_what_the_caller_passed_is_not_changed(farm: Farm) -> None:
    turns: list[Any] = [{"role": "user", "content": "hello"}]
    stop = ["x"]
    farm.chat(turns, system="Be brief.", stop=stop)
    assert turns == [{"role": "user", "content": "hello"}]
    assert stop == ["x"]


def test_the_answer_is_cut_where_the_options_say(farm: Farm) -> None:
    reply = farm.chat("one two three", max_tokens=2)
    assert (reply.text, reply.finish_reason) == ("one two", "length")
    assert farm.chat("one two three", stop="tw").text.strip() == "one"


@pytest.mark.parametrize("call", ["chat", "generate"])
def test_a_bad_option_is_an_error_before_anything_is_asked(call: str, toy: type[ToyProvider]) -> None:
    farm = Farm(model="toy:loud")
    with pytest.raises(InvalidRequestError, match="max_tokens=0"):
        getattr(farm, call)("hello", max_tokens=0)
    with pytest.raises(InvalidRequestError, match="max_tokens=0"):
        list(farm.stream("hello", max_tokens=0))
    assert toy.made == []


# Failures


def test_what_had_arrived_before_a_failure_is_kept(farm: Farm) -> None:
    with pytest.raises(ProviderConnectionError, match="broke on cue") as caught:
        farm.chat("x", model="scripted:fail-3")
    assert caught.value.partial_text == "word0 word1 word2"
    assert caught.value.provider == "scripted"


def test_an_answer_without_its_finish_mark_is_an_error_with_its_text(farm: Farm) -> None:
    with pytest.raises(IncompleteStreamError) as caught:
        farm.chat("x", model="scripted:truncate-2")
    assert caught.value.partial_text == "word0 word1"


def test_a_silent_provider_is_given_up_with_what_had_arrived() -> None:
    farm = Farm(model="scripted:stall-2", timeouts={"idle_s": 0.1})
    with pytest.raises(ProviderTimeoutError) as caught:
        farm.chat("x")
    assert caught.value.timer == "idle"
    assert caught.value.partial_text == "word0 word1"


def test_a_stream_that_fails_says_what_came_before(farm: Farm) -> None:
    pieces = []
    stream = farm.stream("x", model="scripted:fail-2")
    pieces += [next(stream), next(stream)]
    with pytest.raises(ProviderConnectionError) as caught:
        next(stream)
    assert pieces == ["word0", " word1"]
    assert caught.value.partial_text == "word0 word1"


def test_a_stream_that_is_cut_off_is_an_error(farm: Farm) -> None:
    with pytest.raises(IncompleteStreamError):
        list(farm.stream("x", model="scripted:truncate-2"))


def test_a_failure_does_not_reach_the_next_call(farm: Farm) -> None:
    with pytest.raises(ProviderConnectionError):
        farm.chat("x", model="scripted:fail-1")
    assert farm.chat("hello").text == "hello"


def test_an_unknown_model_is_quoted(farm: Farm) -> None:
    with pytest.raises(ModelNotFoundError, match=r"'nonsense'.*Valid: echo"):
        farm.chat("x", model="scripted:nonsense")


def test_a_bad_setting_is_an_error_when_the_farm_is_made() -> None:
    with pytest.raises(ConfigError, match="'modell'"):
        Farm(modell="scripted:echo")


def test_a_default_of_no_provider_is_an_error_when_it_is_asked() -> None:
    with pytest.raises(UnknownProviderError, match="'scriptd'"):
        Farm(model="scriptd:echo").chat("x")


# Leaving early


def until_none_is_open() -> bool:
    give_up_at = time.monotonic() + SOON_S
    while ScriptedProvider.open_streams and time.monotonic() < give_up_at:
        time.sleep(0.01)
    return ScriptedProvider.open_streams == 0


@pytest.mark.parametrize("model", ["slow-1000", "stall-1"])
def test_leaving_a_stream_early_stops_the_provider(farm: Farm, model: str) -> None:
    for piece in farm.stream("x", model=f"scripted:{model}"):
        assert piece == "word0"
        assert ScriptedProvider.open_streams == 1
        break
    assert until_none_is_open()


@pytest.mark.parametrize("model", ["slow-1000", "stall-1"])
async def test_leaving_an_async_stream_early_stops_the_provider(farm: Farm, model: str) -> None:
    async with aclosing(farm.core.stream("x", model=f"scripted:{model}")) as pieces:
        assert await anext(pieces) == "word0"
        assert ScriptedProvider.open_streams == 1
    assert ScriptedProvider.open_streams == 0


async def test_a_timeout_of_the_caller_stops_the_provider(farm: Farm) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(farm.core.chat("x", model="scripted:stall-1"), 0.1)
    assert ScriptedProvider.open_streams == 0


# Sharing


def test_farms_with_equal_settings_share_providers(toy: type[ToyProvider]) -> None:
    Farm(model="toy:loud").chat("a")
    Farm(load_config({"model": "toy:loud"})).chat("b")
    assert len(toy.made) == 1
    Farm(model="toy:loud", offline=True).chat("c")
    assert len(toy.made) == 2
    assert toy.made[1].config.offline


def test_farms_that_differ_in_policies_alone_share_providers(toy: type[ToyProvider]) -> None:
    Farm(model="toy:loud").chat("a")
    Farm(model="toy:quiet", retry={"attempts": 1}, cache={"enabled": True}).chat("b", cache="off")
    assert len(toy.made) == 1


# Reading the settings again


def test_a_reload_sees_what_changed_outside_and_keeps_what_was_passed(
    monkeypatch: pytest.MonkeyPatch, toy: type[ToyProvider]
) -> None:
    farm = Farm(model="toy:loud", retry={"attempts": 7})
    farm.chat("a")
    monkeypatch.setenv("FARM_RETRY__FIRST_BACKOFF_S", "0.25")
    monkeypatch.setenv("FARM_MODEL", "scripted:echo")
    config = farm.reload()
    assert config is farm.config
    assert (config.model, config.retry.attempts, config.retry.first_backoff_s) == ("toy:loud", 7, 0.25)
    assert farm.chat("b").text == "chat:B"
    assert len(toy.made) == 1, "a provider, and what it has loaded, is not made anew"


def test_what_a_reload_overrides_stays_until_it_is_overridden_again() -> None:
    farm = Farm(model="scripted:echo", cache={"ttl_s": 5})
    farm.reload(cache={"enabled": True}, retry={"attempts": 2})
    farm.reload(model="scripted:count-1")
    assert (farm.config.cache.ttl_s, farm.config.cache.enabled, farm.config.retry.attempts) == (5, True, 2)
    assert farm.chat("x").text == "word0"
    farm.reload(cache={"enabled": False})
    assert (farm.config.cache.ttl_s, farm.config.cache.enabled) == (5, False)


def test_a_model_that_is_used_answers_where_none_is_named() -> None:
    farm = Farm(model="scripted:echo", aliases={"five": "scripted:count-5"})
    assert (farm.use("scripted:count-3"), farm.chat("x").text) == ("scripted:count-3", "word0 word1 word2")
    assert (farm.use("five"), farm.chat("x").text) == ("five", " ".join(f"word{n}" for n in range(5)))


def test_a_model_that_is_used_is_stronger_than_the_route_of_the_environment() -> None:
    farm = Farm(environment="test", routing={"test": "scripted:echo"})
    farm.use("scripted:count-3")
    assert farm.chat("x").text == "word0 word1 word2"


def test_a_name_that_leads_nowhere_is_not_used() -> None:
    farm = Farm(model="scripted:echo", aliases={"a": "b", "b": "a"})
    with pytest.raises(ConfigError, match="circle"):
        farm.use("a")
    assert farm.chat("hello").text == "hello"


def test_whoever_listens_is_told_of_new_settings_until_it_ends() -> None:
    farm, heard = Farm(model="scripted:echo"), list[str]()
    end = farm.listen(lambda config: heard.append(config.model))
    farm.use("scripted:count-3")
    end()
    end()
    farm.use("scripted:echo")
    assert heard == ["scripted:count-3"]


def test_a_reload_that_fails_leaves_the_settings_as_they_were() -> None:
    farm = Farm(model="scripted:echo")
    with pytest.raises(ConfigError, match="attempts"):
        farm.reload(retry={"attempts": -1})
    assert farm.reload() == Farm(model="scripted:echo").config
    with pytest.raises(ConfigError, match="whole FarmConfig"):
        Farm(load_config({"model": "scripted:echo"})).reload()


def test_a_reload_gives_back_what_nobody_uses_any_more(toy: type[ToyProvider]) -> None:
    farm = Farm(model="toy:loud")
    farm.chat("a")
    farm.reload(retry={"attempts": 5})
    assert not toy.made[0].closed, "policies are no reason to unload a model"
    farm.reload(offline=True)
    farm.chat("b")
    assert [provider.closed for provider in toy.made] == [True, False]


def test_a_reload_takes_nothing_from_other_farms(toy: type[ToyProvider]) -> None:
    farm, other = Farm(model="toy:loud"), Farm(model="toy:quiet")
    farm.chat("a")
    farm.reload(offline=True)
    assert not toy.made[0].closed
    other.chat("b")
    assert len(toy.made) == 1


def test_a_reload_breaks_off_no_answer(farm: Farm) -> None:
    stream = farm.stream("x", model="scripted:slow-10")
    pieces = [next(stream)]
    farm.reload(offline=True)
    pieces += stream
    assert len(pieces) == 10


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system does not list open files there")
def test_many_reloads_leave_no_file_open(tmp_path: Path) -> None:
    farm = Farm(model="scripted:echo", cache_dir=tmp_path, cache={"enabled": True}, history={"enabled": True})

    def open_files() -> int:
        farm.chat("a", temperature=0)
        assert farm.cache_stats().entries == 1
        assert len(farm.history()) > 0
        return len(list(Path("/proc/self/fd").iterdir()))

    before = open_files()
    for number in range(10):
        farm.reload(cache={"ttl_s": 100 + number})
        assert open_files() <= before + 3
    farm.close()


def test_making_a_farm_makes_no_provider(toy: type[ToyProvider]) -> None:
    Farm(model="toy:loud")
    assert toy.made == []


def test_closing_closes_the_providers_and_the_next_call_makes_new_ones(toy: type[ToyProvider]) -> None:
    farm = Farm(model="toy:loud")
    farm.chat("a")
    farm.close()
    assert [provider.closed for provider in toy.made] == [True]
    assert farm.chat("b").text == "chat:B"
    assert [provider.closed for provider in toy.made] == [True, False]
    farm.close()
    farm.close()


def test_one_provider_that_does_not_close_leaves_no_other_open(toy: type[ToyProvider]) -> None:
    class Stuck(ToyProvider):
        name = "stuck"

        async def aclose(self) -> None:
            raise OSError("stuck")

    farm_notebook.register_provider(Stuck)
    farm = Farm(model="toy:loud", offline=True)
    farm.chat("a", model="stuck:loud")
    farm.chat("a")
    with pytest.raises(OSError, match="stuck"):
        farm.close()
    assert toy.made[1].closed


# A provider of one's own


def test_a_registered_provider_works_end_to_end(toy: type[ToyProvider]) -> None:
    farm = Farm(model="scripted:echo")
    reply = farm.chat("hello", model="toy:loud")
    assert (reply.text, reply.ref, reply.usage) == ("chat:HELLO", ModelRef("toy", "loud"), Usage(1, 2))
    assert reply.digest == "digest of loud"
    assert reply.fingerprint == farm.core.request("hello", model="toy/loud").fingerprint("digest of loud")
    assert list(farm.stream("hello", model="toy:loud")) == ["chat:", "HELLO"]
    assert farm.generate("hello", model="toy:loud").text == "completion:HELLO"
    assert farm.embed(["abc"], model="toy:loud").vectors == ((3.0, 0.0),)
    farm.close()
    assert toy.made[0].closed


async def test_a_registered_provider_has_the_familiar_calls(toy: type[ToyProvider]) -> None:
    provider = toy(load_config())
    request = ChatRequest(ModelRef("toy", "loud"), (ChatMessage("user", "a"),))
    assert (await provider.chat(request)).text == "chat:A"
    assert (await provider.generate(request)).text == "completion:A"
    assert [piece async for piece in provider.chat_stream(request)] == ["chat:", "A"]
    assert [piece async for piece in provider.generate_stream(request)] == ["completion:", "A"]


def test_a_provider_that_is_not_registered_is_unknown() -> None:
    with pytest.raises(UnknownProviderError, match="'toy'"):
        Farm(model="toy:loud").chat("hello")


@pytest.mark.parametrize(
    ("model", "settings", "tokens"),
    [
        ("llamacpp:smollm2:135m", {}, 8192),
        ("llamacpp:smollm2:135m", {"llamacpp": {"context_tokens": 512}}, 512),
        ("llamacpp:smollm2:135m", {"llamacpp": {"context_tokens": 100_000}}, 8192),
        ("scripted:echo", {}, None),
        ("openai:gpt-4o", {"openai": {"base_url": "http://127.0.0.1:9/v1"}}, None),
    ],
    ids=["trained", "loaded with less", "loaded with more", "not told", "nobody answers"],
)
def test_how_much_a_model_takes_in_is_told_where_it_is_known(
    model: str, settings: dict[str, Any], tokens: int | None
) -> None:
    async def ask() -> int | None:
        return await AsyncFarm(model=model, **settings).context_tokens()

    assert asyncio.run(ask()) == tokens
