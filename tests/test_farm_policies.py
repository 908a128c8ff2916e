"""The policies at work together, behind the farm's calls, on the scripted provider."""

from __future__ import annotations

import asyncio
import os
import traceback
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

import farm_notebook
from farm_notebook import loop, providers
from farm_notebook.errors import (
    BreakerOpenError,
    BudgetExceededError,
    LimitReachedError,
    NoTargetAnsweredError,
    ProviderConnectionError,
    ProviderError,
)
from farm_notebook.farm import Farm
from farm_notebook.providers.scripted import ScriptedProvider
from farm_notebook.reply import Reply
from farm_notebook.types import (
    ChatRequest,
    Embeddings,
    Event,
    Finished,
    LoadProgress,
    ModelRef,
    Queued,
    Rerouted,
    Routed,
    Started,
    TextDelta,
    Usage,
)

Make = Callable[..., Farm]
DEAD = ModelRef("gate", "dead")
ECHO = ModelRef("scripted", "echo")
AT_ONCE = {"attempts": 1}


class GateProvider(ScriptedProvider):
    """Answers when the test lets it, cannot be reached as ``dead``, and counts how often it was asked."""

    name = "gate"
    asked: ClassVar[list[str]] = []
    embedded: ClassVar[list[str]] = []
    opened: ClassVar[asyncio.Event]

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        self.asked.append(request.ref.model)
        if request.ref.model == "dead":
            raise ProviderConnectionError("nothing listens there", provider=self.name)
        yield Started(request.ref)
        if request.ref.model.startswith("held"):
            await self.opened.wait()
        yield TextDelta("yes")
        yield Finished("stop", Usage(10, 1))

    async def embed(self, texts: Any, model: str) -> Embeddings:
        self.embedded.extend(texts)
        return await super().embed(texts, "echo")


@pytest.fixture(autouse=True)
def gate(monkeypatch: pytest.MonkeyPatch) -> type[GateProvider]:
    monkeypatch.setattr(providers, "_registered", {})
    monkeypatch.setattr(GateProvider, "asked", [])
    monkeypatch.setattr(GateProvider, "embedded", [])
    monkeypatch.setattr(GateProvider, "opened", asyncio.Event(), raising=False)
    return farm_notebook.register_provider(GateProvider)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes farms whose files are the test's own."""
    made: list[Farm] = []

    def make(**settings: Any) -> Farm:
        made.append(Farm(cache_dir=tmp_path, **{"model": "scripted:echo", "retry": AT_ONCE, **settings}))
        return made[-1]

    yield make
    for farm in made:
        farm.close()


def streamed(farm: Farm, prompt: str, **options: Any) -> list[Event]:
    return list(farm.events(farm.core.request(prompt, **options)))


# Fallback


def test_another_model_answers_for_a_dead_one_and_the_reply_says_so(make: Make) -> None:
    farm = make(model="gate:dead", fallback={"chain": ["scripted:echo"]})
    reply = farm.chat("hello")
    assert (reply.text, reply.ref) == ("hello", ECHO)
    assert reply.rerouted == (Rerouted(DEAD, ECHO, "nothing listens there"),)
    assert "instead of gate:dead (nothing listens there)" in reply.footer
    assert reply.fingerprint == farm.chat("hello", model="scripted:echo").fingerprint


def test_streaming_falls_back_in_the_same_way(make: Make) -> None:
    farm = make(model="gate:dead", fallback={"chain": ["scripted:echo"]})
    assert list(farm.stream("one two")) == ["one", " two"]
    kinds = [type(event) for event in streamed(farm, "one")]
    assert kinds == [Rerouted, Started, TextDelta, Finished]


def test_an_alias_has_a_chain_of_its_own(make: Make) -> None:
    aliases = {"brave": {"model": "gate:dead", "fallback": ["gate:any"]}}
    farm = make(aliases=aliases, fallback={"chain": ["scripted:echo"]})
    assert farm.chat("hello", model="brave").ref == ModelRef("gate", "any")


def test_when_nobody_answers_the_error_holds_every_cause(make: Make) -> None:
    farm = make(model="gate:dead", fallback={"chain": ["scripted:error-quota", "scripted:error-401"]})
    with pytest.raises(NoTargetAnsweredError, match="gate:dead: nothing listens there") as caught:
        farm.chat("hello")
    assert [type(cause).__name__ for cause in caught.value.exceptions] == [
        "ProviderConnectionError",
        "QuotaExceededError",
        "AuthenticationError",
    ]


def test_after_the_first_word_no_other_model_is_asked(make: Make) -> None:
    farm = make(model="scripted:fail-2", fallback={"chain": ["gate:any"]})
    with pytest.raises(ProviderConnectionError) as caught:
        farm.chat("hello")
    assert caught.value.partial_text == "word0 word1"
    assert GateProvider.asked == []


# Breaker


def test_a_dead_provider_is_left_alone_after_a_while(make: Make) -> None:
    farm = make(model="gate:dead", breaker={"failures": 2, "open_s": 60})
    for _ in range(2):
        with pytest.raises(ProviderConnectionError):
            farm.chat("hello")
    with pytest.raises(BreakerOpenError, match="nothing listens there"):
        farm.chat("hello", model="gate:any")
    assert len(GateProvider.asked) == 2


def test_farms_of_equal_settings_share_what_is_known_to_be_down(make: Make) -> None:
    settings: dict[str, Any] = {"model": "gate:dead", "breaker": {"failures": 1, "open_s": 60}}
    with pytest.raises(ProviderConnectionError):
        make(**settings).chat("hello")
    with pytest.raises(BreakerOpenError):
        make(**settings).chat("hello")


# Limits and budgets


async def test_a_request_waits_for_its_turn_and_says_so(make: Make) -> None:
    core = make(model="gate:held", limits={"concurrency": 1}).core
    first = core.events(core.request("one"))
    assert isinstance(await anext(first), Started)
    waiting = core.events(core.request("two"))
    queued = await anext(waiting)
    assert isinstance(queued, Queued)
    assert queued.limit == "limits.concurrency of gate"
    loop.get_loop().call_soon_threadsafe(GateProvider.opened.set)
    for events, kinds in ((first, [TextDelta, Finished]), (waiting, [Started, TextDelta, Finished])):
        assert [type(event) async for event in events] == kinds


def test_what_would_have_to_wait_too_long_is_an_error_and_asks_nobody(make: Make) -> None:
    limits = {"per": {"gate": {"requests_per_minute": 1}}, "longest_wait_s": 1}
    farm = make(model="gate:any", limits=limits, retry={"attempts": 5})
    farm.chat("one")
    with pytest.raises(LimitReachedError, match="requests_per_minute"):
        farm.chat("two")
    assert len(GateProvider.asked) == 1
    assert farm.chat("three", model="scripted:echo").text == "three"


PRICED: dict[str, Any] = {"model": "gate:any", "prices": {"gate": {"input": 1000.0, "output": 1000.0}}}


def test_a_budget_refuses_before_anything_is_spent(make: Make) -> None:
    farm = make(**PRICED, budget={"cost_per_day": 0.05})
    assert farm.chat("one", max_tokens=10).cost == pytest.approx(0.011)
    with pytest.raises(BudgetExceededError, match=r"\$1.*budget\.cost_per_day"):
        farm.chat("two", max_tokens=1000)
    assert len(GateProvider.asked) == 1


def test_what_cannot_be_afforded_is_asked_of_a_model_that_costs_nothing(make: Make) -> None:
    farm = make(**PRICED, budget={"cost_per_day": 0.001}, fallback={"chain": ["scripted:echo"]})
    reply = farm.chat("hello")
    assert (reply.ref, reply.cost) == (ECHO, 0.0)
    assert "budget" in reply.rerouted[0].problem


def test_a_budget_is_one_for_all_farms_of_a_user(make: Make) -> None:
    make(**PRICED, budget={"cost_per_day": 0.02}).chat("one", max_tokens=10)
    with pytest.raises(BudgetExceededError):
        make(**PRICED, budget={"cost_per_day": 0.021}).chat("two", max_tokens=10)


# Kept answers


def test_a_kept_answer_costs_nothing_and_is_not_limited(make: Make) -> None:
    farm = make(**PRICED, cache={"enabled": True}, limits={"requests_per_minute": 1, "longest_wait_s": 0})
    first, second = (farm.chat("hello", temperature=0, max_tokens=5) for _ in range(2))
    assert first.cost == pytest.approx(0.011)
    assert not first.cached
    assert (second.cost, second.cached, second.text) == (0.0, True, "yes")
    assert len(GateProvider.asked) == 1


def test_the_answer_of_a_stand_in_is_not_kept_for_the_model_that_was_meant(make: Make) -> None:
    settings: dict[str, Any] = {"cache": {"enabled": True}, "breaker": {"enabled": False}}
    farm = make(model="gate:dead", fallback={"chain": ["scripted:echo"]}, **settings)
    for _ in range(2):
        assert farm.chat("hello", temperature=0).ref == ECHO
    assert GateProvider.asked == ["dead", "dead"]
    assert farm.chat("hello", temperature=0, model="scripted:echo").cached


def test_a_sample_is_drawn_once(make: Make) -> None:
    farm = make(model="gate:any", cache={"enabled": True})
    cached = [farm.chat("hello", temperature=1, sample=sample).cached for sample in (1, 2, 1)]
    assert cached == [False, False, True]
    assert [farm.chat("hello", temperature=1).cached for _ in range(2)] == [False, False]


def test_a_vector_is_asked_for_once(make: Make) -> None:
    farm = make(model="gate:any", cache={"enabled": True})
    first = farm.embed(["a", "b"])
    assert farm.embed(["b", "c", "a"]).vectors[::2] == (first.vectors[1], first.vectors[0])
    assert GateProvider.embedded == ["a", "b", "c"]


def test_without_a_cache_every_vector_is_asked_for(make: Make) -> None:
    farm = make(model="gate:any")
    farm.embed("a")
    farm.embed("a")
    assert GateProvider.embedded == ["a", "a"]


# Embeddings


def test_embeddings_are_limited_like_answers(make: Make) -> None:
    farm = make(model="gate:any", limits={"requests_per_minute": 1, "longest_wait_s": 0})
    farm.embed("one")
    with pytest.raises(LimitReachedError, match="requests_per_minute"):
        farm.embed("two")
    assert GateProvider.embedded == ["one"]


def test_embeddings_keep_within_the_budget(make: Make) -> None:
    farm = make(**PRICED, budget={"tokens_per_day": 30})
    farm.embed("one two three")
    with pytest.raises(BudgetExceededError, match="tokens_per_day"):
        farm.embed("word " * 50)
    assert len(GateProvider.embedded) == 1
    with pytest.raises(BudgetExceededError, match="tokens_per_day"):
        farm.chat("hello", max_tokens=30)


def test_a_provider_that_is_left_alone_is_not_asked_for_vectors_either(make: Make) -> None:
    farm = make(
        model="gate:dead", breaker={"failures": 1, "open_s": 60}, fallback={"chain": ["scripted:echo"]}
    )
    assert farm.chat("hello").ref == ECHO
    with pytest.raises(BreakerOpenError):
        farm.embed("hello", model="gate:any")
    assert GateProvider.embedded == []


def test_vectors_are_asked_for_again_where_that_helps(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    farm = make(model="gate:any", retry={"attempts": 2, "first_backoff_s": 0})
    embed, failures = GateProvider.embed, [ProviderConnectionError("once", provider="gate")]

    async def at_second_try(self: GateProvider, texts: Any, model: str) -> Embeddings:
        if failures:
            raise failures.pop()
        return await embed(self, texts, model)

    monkeypatch.setattr(GateProvider, "embed", at_second_try)
    assert len(farm.embed("hello").vectors) == 1
    assert not failures


def test_no_stand_in_is_asked_for_vectors(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    farm = make(model="gate:any", fallback={"chain": ["scripted:echo"]})

    async def broken(self: GateProvider, texts: Any, model: str) -> Embeddings:
        raise ProviderConnectionError("nothing listens there", provider="gate")

    monkeypatch.setattr(GateProvider, "embed", broken)
    with pytest.raises(ProviderConnectionError, match="nothing listens"):
        farm.embed("hello")


# Which model


def test_no_name_is_a_model_at_hand_and_that_is_told_once(make: Make) -> None:
    farm = make(model="auto", ollama={"enabled": False}, aliases={"any": {"model": "gate"}})
    first, second = (streamed(farm, "hello", model="any") for _ in range(2))
    assert isinstance(first[0], Routed)
    assert first[0].ref.provider == "gate"
    assert first[0].reason
    assert second[0] == Routed(first[0].ref, "")


def test_after_a_reload_the_choice_is_not_told_again(make: Make) -> None:
    farm = make(model="any", aliases={"any": {"model": "gate"}})
    assert farm.chat("hello").routed
    farm.reload(retry={"attempts": 3})
    assert not farm.chat("hello").routed


def test_places_of_one_name_share_its_requests_and_stand_in_for_each_other(make: Make) -> None:
    places: list[dict[str, Any]] = [{"model": "scripted:echo"}, {"model": "gate:any"}]
    farm = make(aliases={"big": {"deployments": places}})
    answered = {farm.chat(f"question {number}", model="big").ref.provider for number in range(40)}
    assert answered == {"scripted", "gate"}
    places = [{"model": "gate:dead", "weight": 1000}, {"model": "scripted:echo", "weight": 0.001}]
    farm = make(aliases={"big": {"deployments": places}}, breaker={"enabled": False})
    reply = farm.chat("hello", model="big")
    assert reply.ref == ECHO
    assert reply.rerouted


def test_a_route_is_explained(make: Make) -> None:
    aliases = {"fast": {"model": "gate:any", "parameters": {"temperature": 0}}}
    farm = make(aliases=aliases, fallback={"chain": ["scripted:echo"]})
    decision = farm.route("fast")
    assert (decision.ref, decision.alternates) == (ModelRef("gate", "any"), (ECHO,))
    assert decision.parameters == {"temperature": 0}
    assert "the alias 'fast'" in str(decision)
    assert farm.chat("hello", model="fast").parameters == {"temperature": 0}


def test_a_route_tells_who_is_asked_last_for_now(make: Make) -> None:
    farm = make(
        model="gate:dead", fallback={"chain": ["scripted:echo"]}, breaker={"failures": 1, "open_s": 60}
    )
    assert farm.route().ref == DEAD
    farm.chat("hello")
    decision = farm.route()
    assert (decision.ref, decision.alternates) == (ECHO, (DEAD,))
    assert any(reason.startswith("gate:dead is not well, and is asked last:") for reason in decision.reasons)


# History and health


def test_every_call_is_remembered_however_it_ended(make: Make) -> None:
    farm = make(**PRICED, history={"enabled": True}, cache={"enabled": True})
    for _ in range(2):
        farm.chat("a question about apples", temperature=0)
    with pytest.raises(ProviderError):
        farm.chat("a question about pears", model="gate:dead")
    farm.embed("a word about plums")
    calls = list(farm.history())
    assert [call.kind for call in calls] == ["embedding", "chat", "chat", "chat"]
    assert [call.error for call in calls] == [None, "ProviderConnectionError", None, None]
    assert [call.is_cached for call in calls][2:] == [True, False]
    assert len(farm.history("apples")) == 2
    total = farm.usage().total
    assert (total.requests, total.cached, total.refused, total.failed) == (2, 1, 1, 0)


def test_a_key_is_in_no_file(make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    key = "sk-planted-0123456789"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    farm = make(history={"enabled": True}, cache={"enabled": True})
    assert farm.chat("my key is secret", temperature=0).text == "my key is secret"
    assert farm.chat(f"my key is {key}", temperature=0).text == f"my key is {key}"
    assert len(farm.history()) == 2
    assert farm.cache_stats().entries == 1, "an answer with a key in it is not kept"
    farm.close()
    assert not any(key.encode() in file.read_bytes() for file in tmp_path.iterdir() if file.is_file())


class CarelessProvider(ScriptedProvider):
    """Its errors repeat the key that it was refused with."""

    name = "careless"
    is_listed = False

    def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        raise self._error(request.ref.model)

    async def embed(self, texts: Any, model: str) -> Embeddings:
        raise self._error(model)

    def load_model(self, model: str) -> AsyncGenerator[LoadProgress, None]:
        raise self._error(model)

    async def unload_model(self, model: str) -> bool:
        raise self._error(model)

    def _error(self, model: str) -> Exception:
        key = os.environ["GROQ_API_KEY"]
        if model == "fixed":
            return FileNotFoundError(2, "No such file", f"/keys/{key}")
        return (RuntimeError if model == "foreign" else ProviderConnectionError)(f"{key} is refused")


@pytest.mark.parametrize("model", ["foreign", "fixed", "ours"])
def test_no_error_of_a_provider_shows_a_key(make: Make, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    key = "gsk_planted0123456789"
    monkeypatch.setenv("GROQ_API_KEY", key)
    farm_notebook.register_provider(CarelessProvider)
    farm = make(model=f"careless:{model}")
    for call in (
        lambda: farm.chat("hello"),
        lambda: list(farm.stream("hello")),
        lambda: farm.embed("hello"),
        lambda: list(farm.load()),
        farm.unload,
    ):
        with pytest.raises(Exception, match=r"\*\*\*") as caught:
            call()
        assert key not in "".join(traceback.format_exception(caught.value))
        expected = {"foreign": RuntimeError, "fixed": ProviderError, "ours": ProviderConnectionError}[model]
        assert type(caught.value) is expected


def test_a_stand_in_tells_no_key_of_the_one_that_failed(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "gsk_planted0123456789")
    farm_notebook.register_provider(CarelessProvider)
    reply = make(model="careless:ours", fallback={"chain": ["scripted:echo"]}).chat("hello")
    assert reply.rerouted == (Rerouted(ModelRef("careless", "ours"), ECHO, "*** is refused"),)


async def test_a_call_that_is_cancelled_before_it_began_is_remembered_with_its_model(make: Make) -> None:
    places = [{"model": "gate:held-1", "weight": 1e9}, {"model": "gate:held-2", "weight": 1e-9}]
    core = make(model="big", aliases={"big": {"deployments": places}}, history={"enabled": True}).core
    for _ in range(2):
        events = core.events(core.request("hello"))
        assert isinstance(await anext(events), Routed)
        await events.aclose()
    assert [(call.model, call.error) for call in await core.history()] == [("gate:held-1", "cancelled")] * 2


def test_health_is_believed_for_a_while_unless_asked_anew(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    farm, asked = make(), []
    check = GateProvider.health_check

    async def counted(self: GateProvider) -> Any:
        asked.append(1)
        return await check(self)

    monkeypatch.setattr(GateProvider, "health_check", counted)
    monkeypatch.setattr(GateProvider, "is_listed", True)
    for refresh in (False, False, True):
        assert "gate" in {status.name for status in farm.health(refresh=refresh)}
    assert len(asked) == 2


# Everything at once


async def test_a_hundred_requests_at_once_meet_all_policies(make: Make) -> None:
    farm = make(
        model="gate:any",
        prices=PRICED["prices"],
        cache={"enabled": True},
        history={"enabled": True},
        limits={"requests_per_minute": 1000, "tokens_per_minute": 10**6, "concurrency": 7},
        budget={"cost_per_day": 50, "tokens_per_notebook": 10**6},
        fallback={"chain": ["scripted:echo"]},
    )
    core = farm.core
    replies: list[Reply] = await asyncio.gather(
        *(core.chat(f"question {number % 50}", temperature=0, max_tokens=5) for number in range(100))
    )
    assert {reply.text for reply in replies} == {"yes"}
    assert len(GateProvider.asked) == 50, "equal questions at the same time are asked once"
    total = (await core.usage()).total
    assert (total.requests, total.cached) == (50, 50)
