"""Each request gets a model and who may stand in, all able to answer it; nobody is asked for nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farm_notebook.config import AUTO, EMBEDDED_MODEL, load_config
from farm_notebook.errors import (
    InvalidRequestError,
    ProviderConnectionError,
)
from farm_notebook.request import build_request
from farm_notebook.router import Chooser, is_dynamic
from farm_notebook.types import Capability, ChatRequest, Deployment, Image, ModelRef
from router.doubles import Clock, Lists, model

PIXEL = Image(b"\x89PNG\r\n\x1a\n", "image/png")
DOWN = ProviderConnectionError("Nothing answers.", provider="ollama")
EYES = model("openai:eyes", "chat", "vision", context_tokens=8000)
BLIND = model("openai:blind", "chat", "tools", context_tokens=128_000)
OTHER = model("ollama:other", "chat", "vision", "tools")
UNKNOWN = model("huggingface:unknown")
LISTED = (EYES, BLIND, OTHER, UNKNOWN)
PLACES = [{"model": "openai:eyes", "weight": 3}, {"model": "openai:blind"}, {"model": "ollama:other"}]


class Bench:
    """A chooser, and what is around it."""

    def __init__(self, lists: Lists, **settings: Any) -> None:
        self.config = load_config({"model": "scripted:echo", **settings})
        self.lists, self.ill, self.busy = lists, dict[ModelRef, str](), Counter[ModelRef]()
        self.chooser = Chooser(
            self.config,
            lists,
            ailment=self.ill.get,
            in_flight=self.busy.__getitem__,
            clock=Clock(),
        )

    def ask(self, name: str | None, prompt: str = "hello", **options: Any) -> ChatRequest:
        return build_request(prompt, self.config, {"model": name, **options})  # type: ignore[typeddict-item]

    async def names(self, name: str | None, prompt: str = "hello", **options: Any) -> list[str]:
        """The model and who stands in."""
        request = (await self.chooser.choose(self.ask(name, prompt, **options))).request
        assert request.route.deployments == ()
        return [str(ref) for ref in (request.ref, *request.route.alternates)]


def with_chain(*names: str, lists: Lists | None = None, **settings: Any) -> Bench:
    return Bench(lists or Lists(*LISTED), fallback={"chain": list(names)}, **settings)


# Nothing to decide


async def test_a_plain_request_stays_as_it_is_and_nobody_is_asked() -> None:
    bench = with_chain("ollama:other")
    request = bench.ask("openai:blind")
    choice = await bench.chooser.choose(request)
    assert choice.request is request
    assert (choice.reason, dict(choice.skipped)) == ("", {})
    assert bench.lists.asked == []


async def test_a_single_model_is_asked_whatever_it_is_known_to_lack() -> None:
    bench = Bench(Lists(*LISTED))
    assert await bench.names("openai:blind", images=PIXEL) == ["openai:blind"]
    assert bench.lists.asked == []


# What a model lacks


async def test_models_that_are_known_to_lack_something_are_left_out_with_the_reason() -> None:
    bench = with_chain("openai:blind", "ollama:other", "huggingface:unknown")
    choice = await bench.chooser.choose(bench.ask("openai:eyes", images=PIXEL))
    assert choice.request.ref == EYES.ref
    assert choice.request.route.alternates == (OTHER.ref, UNKNOWN.ref)
    assert choice.reason == ""
    assert choice.skipped == {BLIND.ref: "it lacks vision"}


async def test_where_the_first_one_is_left_out_the_reason_is_told() -> None:
    bench = with_chain("openai:eyes")
    request, reason = await bench.chooser.settle(bench.ask("openai:blind", images=PIXEL))
    assert (request.ref, request.route.alternates) == (EYES.ref, ())
    assert reason == request.route.reason == "openai:blind was passed over: it lacks vision"
    assert request.route.needs == {"chat", "vision"}


@pytest.mark.parametrize(
    ("options", "lacks"),
    [
        ({"tools": {"name": "look"}}, "tools"),
        ({"images": PIXEL, "tools": {"name": "look"}}, "tools"),
        ({"prompt": "word " * 50_000}, "a context window of 62,504 tokens (it has 8,000)"),
    ],
)
async def test_tools_and_long_prompts_are_needs_too(options: dict[str, Any], lacks: str) -> None:
    bench = with_chain("ollama:other")
    choice = await bench.chooser.choose(bench.ask("openai:eyes", **options))
    assert choice.request.ref == OTHER.ref
    assert choice.skipped == {EYES.ref: f"it lacks {lacks}"}


async def test_an_aliass_needs_count_without_the_request_showing_them() -> None:
    for needs, ref in (({"needs": ["tools"]}, BLIND.ref), ({"context_tokens": 100_000}, BLIND.ref)):
        alias = {"model": "openai:eyes", "fallback": ["openai:blind"], **needs}
        bench = Bench(Lists(*LISTED), aliases={"smart": alias})
        assert (await bench.chooser.choose(bench.ask("smart"))).request.ref == ref


async def test_where_everyone_lacks_something_the_error_lists_each_with_it() -> None:
    bench = with_chain("openai:blind", lists=Lists(BLIND, model("ollama:deaf", "chat")))
    with pytest.raises(InvalidRequestError) as caught:
        await bench.names("ollama:deaf", images=PIXEL)
    message = str(caught.value)
    words = ("needs vision", "ollama:deaf lacks vision", "openai:blind lacks vision")
    assert [word for word in words if word not in message] == []


async def test_where_only_an_estimate_says_that_no_window_is_large_enough_they_are_asked() -> None:
    small, eyes = (
        model(name, "chat", "vision", context_tokens=8000) for name in ("ollama:small", "openai:eyes")
    )
    bench = with_chain("openai:eyes", "openai:blind", lists=Lists(small, eyes, model("openai:blind", "chat")))
    long: dict[str, Any] = {"prompt": "word " * 50_000, "images": PIXEL}
    assert await bench.names("ollama:small", **long) == ["ollama:small", "openai:eyes"]


async def test_a_provider_that_cannot_tell_leaves_its_models_in() -> None:
    bench = with_chain("openai:eyes", lists=Lists(EYES, ollama=DOWN))
    assert await bench.names("ollama:other", images=PIXEL) == ["ollama:other", "openai:eyes"]


async def test_lists_are_asked_for_once() -> None:
    bench = with_chain("openai:blind", "ollama:other")
    for _ in range(3):
        await bench.names("openai:eyes", images=PIXEL)
    assert sorted(bench.lists.asked) == ["ollama", "openai"]


# Deployments


async def test_the_places_come_in_the_order_of_the_question_before_the_chain() -> None:
    bench = Bench(
        Lists(), aliases={"pool": {"deployments": PLACES, "fallback": ["openai:blind", "scripted:echo"]}}
    )
    orders = {question: await bench.names("pool", question) for question in map(str, range(50))}
    assert {tuple(sorted(order[:3])) for order in orders.values()} == {
        ("ollama:other", "openai:blind", "openai:eyes")
    }
    assert {tuple(order[3:]) for order in orders.values()} == {("scripted:echo",)}
    assert {order[0] for order in orders.values()} == {"ollama:other", "openai:blind", "openai:eyes"}
    assert orders == {question: await bench.names("pool", question) for question in orders}
    assert bench.lists.asked == []


async def test_another_seed_or_sample_is_another_question() -> None:
    bench = Bench(Lists(), aliases={"pool": {"deployments": PLACES}})
    for several in (
        [await bench.names("pool", seed=number) for number in range(50)],
        [await bench.names("pool", sample=number) for number in range(50)],
    ):
        met = {names[0] for names in several}
        assert met == {"ollama:other", "openai:blind", "openai:eyes"}


async def test_the_reason_says_that_it_is_one_of_several_and_how_it_was_chosen() -> None:
    for balance, words in (("weighted", "weight"), ("least_busy", "the fewest requests under way")):
        bench = Bench(Lists(), aliases={"pool": {"deployments": PLACES, "balance": balance}})
        _, reason = await bench.chooser.settle(bench.ask("pool"))
        assert reason == f"it is one of 3 places of 'pool', chosen by {words}"


async def test_the_least_busy_place_is_asked_and_an_ill_one_last() -> None:
    bench = Bench(Lists(), aliases={"pool": {"deployments": PLACES, "balance": "least_busy"}})
    bench.busy.update({EYES.ref: 6, BLIND.ref: 1})
    assert await bench.names("pool") == ["ollama:other", "openai:blind", "openai:eyes"]
    bench.ill[OTHER.ref] = "down"
    assert await bench.names("pool") == ["openai:blind", "openai:eyes", "ollama:other"]


async def test_places_that_lack_something_are_left_out() -> None:
    bench = Bench(Lists(*LISTED), aliases={"pool": {"deployments": PLACES}})
    met = {(await bench.names("pool", str(number), images=PIXEL))[0] for number in range(50)}
    assert met == {"openai:eyes", "ollama:other"}


async def test_where_no_place_is_able_one_of_the_chain_is_asked_and_is_not_called_a_place() -> None:
    alias = {
        "deployments": [{"model": "openai:eyes"}, {"model": "openai:more"}],
        "fallback": ["openai:blind"],
    }
    bench = Bench(Lists(BLIND, EYES, model("openai:more", "chat")), aliases={"pool": alias})
    request, reason = await bench.chooser.settle(bench.ask("pool", tools={"name": "look"}))
    assert request.ref == BLIND.ref
    assert "was passed over: it lacks tools" in reason
    assert "one of" not in reason


async def test_a_settled_request_is_settled() -> None:
    bench = Bench(Lists(*LISTED), aliases={"pool": {"deployments": PLACES, "fallback": ["scripted:echo"]}})
    once, _ = await bench.chooser.settle(bench.ask("pool", images=PIXEL))
    assert await bench.chooser.settle(once) == (once, "")


# Models that only the moment can tell


async def test_any_model_is_picked_and_the_reason_told() -> None:
    bench = Bench(Lists(OTHER), model=AUTO)
    request, reason = await bench.chooser.settle(bench.ask(None))
    assert request.ref == OTHER.ref
    assert reason == request.route.reason == "no model was named, and ollama has this one at hand"


async def test_picks_in_a_chain_are_models_too_and_those_that_are_nothing_are_left_out() -> None:
    bench = with_chain("ollama", "openai", "auto", lists=Lists(EYES, ollama=DOWN))
    choice = await bench.chooser.choose(bench.ask("scripted:echo"))
    refs = (choice.request.ref, *choice.request.route.alternates)
    assert [str(ref) for ref in refs] == ["scripted:echo", "openai:eyes", EMBEDDED_MODEL]
    assert choice.reason == ""
    assert choice.skipped == {ModelRef("ollama", AUTO): "Nothing answers"}


async def test_where_the_first_one_is_nothing_its_alternates_are_asked_and_the_reason_told() -> None:
    bench = with_chain("openai:eyes", lists=Lists(ollama=DOWN))
    request, reason = await bench.chooser.settle(bench.ask("ollama"))
    assert request.ref == EYES.ref
    assert reason == "ollama:auto was passed over: Nothing answers"


async def test_where_nothing_is_behind_the_only_name_its_own_error_is_raised() -> None:
    with pytest.raises(ProviderConnectionError, match="Nothing answers"):
        await Bench(Lists(ollama=DOWN)).names("ollama")


async def test_leaving_while_lists_are_awaited_drops_the_questions() -> None:
    near = {"near": {"base_url": "http://localhost:1/v1"}}
    bench = with_chain("ollama", "scripted:echo", lists=Lists(near=None, ollama=None), endpoints=near)
    settling = asyncio.create_task(bench.chooser.settle(bench.ask("near")))
    await bench.lists.was_asked.wait()
    settling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await settling
    for _ in range(3):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert sorted(bench.lists.left) == ["near", "ollama"]


async def test_two_names_of_one_model_are_asked_once() -> None:
    bench = with_chain("ollama", "auto", lists=Lists(OTHER))
    assert await bench.names("ollama:other") == ["ollama:other"]


async def test_a_place_may_be_any_model_of_a_provider() -> None:
    alias = {"deployments": [{"model": "ollama"}, {"model": "openai:eyes"}]}
    bench = Bench(Lists(OTHER), aliases={"pool": alias})
    request = bench.ask("pool")
    assert Deployment(ModelRef("ollama", AUTO)) in request.route.deployments
    assert sorted(await bench.names("pool")) == ["ollama:other", "openai:eyes"]


NAMED = st.sampled_from(["openai:eyes", "openai:blind", "ollama", "auto", "other", "pool", "more", "openai"])


@settings(max_examples=50, deadline=None)
@given(
    name=st.one_of(st.none(), NAMED),
    chain=st.lists(NAMED, max_size=4),
    pool=st.lists(st.sampled_from(["openai:eyes", "ollama", "openai:blind"]), min_size=1, max_size=3),
    own=st.one_of(st.none(), st.lists(NAMED, max_size=2)),
    sees=st.booleans(),
)
def test_whatever_was_named_there_are_models_each_once_and_all_able(
    name: str | None, chain: list[str], pool: list[str], own: list[str] | None, sees: bool
) -> None:
    aliases = {
        "pool": {"deployments": [{"model": place} for place in pool], "fallback": own},
        "more": {"model": "pool", "fallback": chain},
    }
    bench = with_chain(*chain, model=AUTO, aliases=aliases)

    async def settled() -> ChatRequest:
        return (await bench.chooser.settle(bench.ask(name, images=PIXEL if sees else None)))[0]

    request = asyncio.run(settled())
    refs = [request.ref, *request.route.alternates]
    assert len(refs) == len(set(refs))
    assert not any(map(is_dynamic, refs))
    assert request.route.deployments == ()
    assert not sees or len(refs) == 1 or BLIND.ref not in refs


# Beside requests


@pytest.mark.parametrize(
    ("ref", "needs", "found"),
    [
        (EYES.ref, set(), EYES.ref),
        (ModelRef("ollama", AUTO), set(), OTHER.ref),
        (ModelRef(AUTO, AUTO), {"embedding"}, ModelRef("ollama", "vectors")),
        (ModelRef(AUTO, "other"), set(), OTHER.ref),
    ],
)
async def test_a_ref_becomes_a_model_for_other_calls_too(
    ref: ModelRef, needs: set[Capability], found: ModelRef
) -> None:
    bench = Bench(Lists(OTHER, model("ollama:vectors", "embedding")))
    assert (await bench.chooser.concrete(ref, needs=frozenset(needs)))[0] == found


@pytest.mark.parametrize(
    ("ref", "is_named", "found"),
    [
        ("ollama:other", False, "ollama:vectors"),
        ("ollama:other", True, "ollama:other"),
        ("ollama:vectors", False, "ollama:vectors"),
        ("ollama:unlisted", False, "ollama:unlisted"),
        ("huggingface:unknown", False, "huggingface:unknown"),
        ("ollama:auto", True, "ollama:vectors"),
        ("auto:auto", False, "ollama:vectors"),
    ],
)
async def test_where_the_default_cannot_embed_another_of_its_provider_does(
    ref: str, is_named: bool, found: str
) -> None:
    bench = Bench(Lists(OTHER, UNKNOWN, model("ollama:vectors", "embedding")))
    assert str(await bench.chooser.embedder(model(ref).ref, is_named=is_named)) == found


async def test_where_none_of_its_provider_embeds_either_that_is_an_error() -> None:
    bench = Bench(Lists(OTHER))
    with pytest.raises(InvalidRequestError, match="it needs embedding"):
        await bench.chooser.embedder(OTHER.ref, is_named=False)
    assert await bench.chooser.embedder(OTHER.ref, is_named=True) == OTHER.ref


async def test_what_is_loaded_without_a_name_is_what_a_chat_would_meet() -> None:
    bench = Bench(Lists(model("ollama:vectors", "embedding", loaded=True), OTHER), model=AUTO)
    assert (await bench.chooser.concrete(ModelRef(AUTO, AUTO)))[0] == OTHER.ref
    assert await bench.names(None) == ["ollama:other"]


async def test_a_model_that_failed_is_looked_for_again() -> None:
    bench = Bench(Lists(OTHER), model=AUTO)
    assert await bench.names(None) == ["ollama:other"]
    bench.lists.found["ollama"] = DOWN
    bench.chooser.forget(OTHER.ref)
    assert await bench.names(None) == [EMBEDDED_MODEL]


async def test_a_context_window_is_told_where_it_is_listed() -> None:
    chooser = Bench(Lists(*LISTED, down=DOWN)).chooser
    refs = (EYES.ref, OTHER.ref, ModelRef("openai", "nope"), ModelRef("down", "x"))
    assert [await chooser.context_tokens(ref) for ref in refs] == [8000, None, None, None]
