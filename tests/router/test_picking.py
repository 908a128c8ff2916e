"""Where no model is named, one that is at hand is picked, kept until it fails, and told with the reason."""

from __future__ import annotations

from typing import Any

import pytest

from farm_notebook.config import AUTO, EMBEDDED_MODEL, FarmConfig, load_config
from farm_notebook.errors import (
    AuthenticationError,
    ConfigError,
    FarmError,
    InvalidRequestError,
    ModelNotFoundError,
    ProviderConnectionError,
)
from farm_notebook.router.listing import FAILED_TTL_S, ModelLists
from farm_notebook.router.picking import FRESH_S, Pick, Picker
from farm_notebook.router.wanted import Wanted
from farm_notebook.types import ModelRef
from router.doubles import Clock, Lists, model

ANY = ModelRef(AUTO, AUTO)
CHAT = Wanted(frozenset({"chat"}))
SEEING = Wanted(frozenset({"chat", "vision"}))
EMBEDDED = ModelRef(*EMBEDDED_MODEL.split(":", 1))
DOWN = ProviderConnectionError("Nothing answers. Start it.", provider="ollama")
LOADED = model("ollama:loaded", "chat", loaded=True)
THERE = model("ollama:there", "chat")
EMBEDDING = model("ollama:embedding", "embedding", loaded=True)
CLOUD = model("ollama:cloud", "chat", "vision", loaded=True, size_bytes=400)
EYES = model("ollama:eyes", "chat", "vision")


class Bench:
    """A picker, and what is around it."""

    def __init__(self, lists: Lists, **settings: Any) -> None:
        settings = {"model": AUTO, "ollama": {"url": "http://localhost:11434"}, **settings}
        self.config: FarmConfig = load_config(settings)
        self.lists, self.clock, self.ill = lists, Clock(), dict[ModelRef, str]()
        self.picker = Picker(self.config, ModelLists(lists, clock=self.clock), self.ill.get)

    async def any(self, wanted: Wanted = CHAT) -> str:
        return str((await self.picker.pick(ANY, wanted)).ref)

    async def why(self, wanted: Wanted = CHAT) -> str:
        return (await self.picker.pick(ANY, wanted)).reason


# Any model


@pytest.mark.parametrize(
    ("infos", "picked"),
    [
        ([THERE, LOADED], "ollama:loaded"),
        ([THERE, model("ollama:later", "chat")], "ollama:there"),
        ([EMBEDDING, THERE], "ollama:there"),
        ([CLOUD, THERE], "ollama:there"),
        ([model("ollama:unknown")], "ollama:unknown"),
    ],
)
async def test_a_model_that_is_loaded_else_one_that_is_there_and_can_chat(infos: Any, picked: str) -> None:
    assert await Bench(Lists(*infos)).any() == picked


async def test_the_reason_says_where_the_model_is() -> None:
    assert await Bench(Lists(LOADED)).why() == "no model was named, and ollama has this one in its memory"
    assert await Bench(Lists(THERE)).why() == "no model was named, and ollama has this one at hand"


@pytest.mark.parametrize(
    ("lists", "reason"),
    [
        (Lists(ollama=DOWN), "no ollama answers at http://localhost:11434"),
        (Lists(ollama=None), "no ollama answers at http://localhost:11434"),
        (Lists(ollama=[]), "ollama has no model for chat"),
        (
            Lists(EMBEDDING, CLOUD, model("ollama:far", "chat", available=False)),
            "ollama has no model for chat",
        ),
        (
            Lists(ollama=AuthenticationError("It wants a key. Set it.")),
            "ollama does not list its models (It wants a key)",
        ),
    ],
)
async def test_without_one_it_is_the_embedded_model_and_the_reason_says_why(
    lists: Lists, reason: str
) -> None:
    bench = Bench(lists)
    assert await bench.any() == EMBEDDED_MODEL
    assert await bench.why() == f"{reason}; using the embedded model {EMBEDDED_MODEL}"


async def test_a_provider_that_is_off_is_not_asked() -> None:
    bench = Bench(Lists(LOADED), ollama={"enabled": False})
    assert await bench.why() == f"ollama is switched off; using the embedded model {EMBEDDED_MODEL}"
    assert bench.lists.asked == []


async def test_where_nothing_is_at_hand_the_error_says_what_was_looked_at() -> None:
    bench = Bench(Lists(ollama=DOWN), llamacpp={"enabled": False})
    with pytest.raises(ConfigError) as caught:
        await bench.any()
    message = str(caught.value)
    words = (
        "no ollama answers at http://localhost:11434",
        "llamacpp is switched off",
        "'PROVIDER:MODEL'",
        "FARM_MODEL",
    )
    assert [word for word in words if word not in message] == []


async def test_a_pick_is_kept_whatever_is_loaded_later_and_nobody_is_asked_again() -> None:
    bench = Bench(Lists(THERE))
    await bench.any()
    bench.lists.found["ollama"] = [LOADED]
    bench.clock.now += 10**6
    assert await bench.any() == "ollama:there"
    assert bench.lists.asked == ["ollama"]


async def test_a_pick_that_failed_is_looked_for_again() -> None:
    bench = Bench(Lists(THERE))
    ref = (await bench.picker.pick(ANY, CHAT)).ref
    bench.lists.found["ollama"] = DOWN
    bench.picker.forget(ref)
    assert await bench.any() == EMBEDDED_MODEL


async def test_a_pick_that_is_ill_is_passed_over_until_it_is_well() -> None:
    bench = Bench(Lists(LOADED))
    await bench.any()
    bench.ill[LOADED.ref] = "out of memory."
    assert await bench.why() == (
        f"ollama:loaded is not well (out of memory); using the embedded model {EMBEDDED_MODEL}"
    )
    bench.lists.found["ollama"] = [LOADED, THERE]
    bench.clock.now += FRESH_S
    assert await bench.any() == "ollama:there"
    bench.ill.clear()


async def test_that_nothing_was_there_is_remembered_for_a_short_while_only() -> None:
    bench = Bench(Lists(ollama=DOWN))
    assert [await bench.any() for _ in range(3)] == [EMBEDDED_MODEL] * 3
    assert bench.lists.asked == ["ollama"]
    bench.lists.found["ollama"] = [THERE]
    bench.clock.now += FAILED_TTL_S
    assert await bench.any() == "ollama:there"


async def test_a_model_that_was_fetched_a_moment_ago_is_found() -> None:
    bench = Bench(Lists(ollama=[]))
    assert await bench.any() == EMBEDDED_MODEL
    bench.lists.found["ollama"] = [THERE]
    bench.clock.now += FRESH_S
    assert await bench.any() == "ollama:there"


# What the request needs


async def test_each_need_has_a_pick_of_its_own() -> None:
    bench = Bench(Lists(LOADED, EYES, EMBEDDING))
    assert [await bench.any(wanted) for wanted in (CHAT, SEEING, CHAT, SEEING)] == [
        "ollama:loaded",
        "ollama:eyes",
        "ollama:loaded",
        "ollama:eyes",
    ]
    assert await bench.any(Wanted(frozenset({"embedding"}))) == "ollama:embedding"


async def test_a_long_prompt_looks_for_a_window_of_its_own() -> None:
    small = model("ollama:small", "chat", loaded=True, context_tokens=2048)
    large = model("ollama:large", "chat", context_tokens=32_000)
    bench = Bench(Lists(small, large))
    assert await bench.any() == "ollama:small"
    assert await bench.any(Wanted(frozenset({"chat"}), 10_000)) == "ollama:large"
    assert await bench.any() == "ollama:small"


async def test_the_embedded_model_is_not_taken_where_it_is_known_to_lack_something() -> None:
    bench = Bench(Lists(LOADED, model(EMBEDDED_MODEL, "chat", "tools")))
    with pytest.raises(InvalidRequestError) as caught:
        await bench.any(SEEING)
    message = str(caught.value)
    assert "ollama has no model for vision" in message
    assert f"{EMBEDDED_MODEL} lacks vision" in message


async def test_the_embedded_model_is_asked_where_its_window_is_only_estimated_to_be_too_small() -> None:
    bench = Bench(Lists(model(EMBEDDED_MODEL, "chat", context_tokens=8192), ollama=DOWN))
    assert await bench.any(Wanted(frozenset({"chat"}), 9000, is_estimate=True)) == EMBEDDED_MODEL
    with pytest.raises(InvalidRequestError, match="lacks a context window of 9,000 tokens"):
        await bench.any(Wanted(frozenset({"chat"}), 9000))


async def test_the_embedded_model_is_taken_where_nobody_knows_what_it_lacks() -> None:
    bench = Bench(Lists(ollama=DOWN, llamacpp=FarmError("broken")))
    assert await bench.any(SEEING) == EMBEDDED_MODEL


# Any model of a provider


async def of_provider(bench: Bench, provider: str, wanted: Wanted = CHAT, **more: Any) -> Pick:
    return await bench.picker.pick(ModelRef(provider, AUTO), wanted, **more)


@pytest.mark.parametrize(
    ("infos", "model_", "state"),
    [
        ([THERE, LOADED], "loaded", "that is loaded"),
        ([EMBEDDING, THERE], "there", "that is there"),
        ([CLOUD], "cloud", "that is loaded"),
        ([model("ollama:far", available=False)], "far", "it lists"),
    ],
)
async def test_the_best_of_a_named_providers_models(infos: Any, model_: str, state: str) -> None:
    pick = await of_provider(Bench(Lists(*infos)), "ollama")
    assert pick == Pick(ModelRef("ollama", model_), f"it is the first model of ollama {state}")


async def test_the_reason_says_what_the_model_was_picked_for() -> None:
    pick = await of_provider(Bench(Lists(LOADED, EYES)), "ollama", SEEING)
    assert pick == Pick(EYES.ref, "it is the first model of ollama for vision that is there")


async def test_a_named_provider_that_is_down_says_so_itself_also_if_it_was_down_a_moment_ago() -> None:
    bench = Bench(Lists(ollama=DOWN))
    await bench.any()
    with pytest.raises(ProviderConnectionError, match="Nothing answers"):
        await of_provider(bench, "ollama")
    bench.lists.found["ollama"] = [THERE]
    assert (await of_provider(bench, "ollama")).ref == THERE.ref


async def test_a_provider_without_models_is_an_error_that_says_how_to_name_one() -> None:
    with pytest.raises(ModelNotFoundError, match=r"near lists no models.*'near:MODEL'.*default_model"):
        await of_provider(Bench(Lists(near=[])), "near")


async def test_a_provider_whose_models_all_lack_something_is_an_error_that_lists_them() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        await of_provider(Bench(Lists(LOADED, EMBEDDING)), "ollama", SEEING)
    message = str(caught.value)
    assert "needs vision" in message
    assert "ollama:loaded lacks vision" in message
    assert "ollama:embedding lacks chat, vision" in message


# Any provider's model


@pytest.mark.parametrize(
    ("lists", "settings", "provider"),
    [
        (Lists(THERE), {}, "ollama"),
        (Lists(LOADED), {}, "llamacpp"),
        (Lists(ollama=DOWN), {}, "llamacpp"),
        (Lists(THERE), {"ollama": {"enabled": False}}, "llamacpp"),
        (Lists(LOADED), {"llamacpp": {"enabled": False}}, "ollama"),
    ],
)
async def test_a_bare_name_is_of_the_provider_that_lists_it_else_of_the_last(
    lists: Lists, settings: Any, provider: str
) -> None:
    bench = Bench(lists, **settings)
    pick = await bench.picker.pick(ModelRef(AUTO, "there"), CHAT)
    assert pick.ref == ModelRef(provider, "there")


async def test_a_bare_name_where_every_provider_is_off_is_an_error() -> None:
    bench = Bench(Lists(), ollama={"enabled": False}, llamacpp={"enabled": False})
    with pytest.raises(ConfigError, match="switched off"):
        await bench.picker.pick(ModelRef(AUTO, "there"), CHAT)


async def test_of_a_provider_the_roomiest_model_is_asked_where_all_are_only_estimated_to_be_too_small() -> (
    None
):
    small = model("ollama:small", "chat", loaded=True, context_tokens=2048)
    large = model("ollama:large", "chat", context_tokens=8000)
    bench = Bench(Lists(small, large))
    wanted = Wanted(frozenset({"chat"}), 9000, is_estimate=True)
    assert (await bench.picker.pick(ModelRef("ollama", AUTO), wanted)).ref == large.ref
    with pytest.raises(InvalidRequestError, match="context window of 9,000 tokens"):
        await bench.picker.pick(ModelRef("ollama", AUTO), Wanted(frozenset({"chat"}), 9000))
