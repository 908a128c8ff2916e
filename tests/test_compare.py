"""One prompt to several models: all at once or in turn, and what is kept however each of them ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

import farm_notebook
from farm_notebook import loop, providers
from farm_notebook.errors import FarmError, InvalidRequestError, ModelNotFoundError, ProviderError
from farm_notebook.farm import AsyncFarm, Farm
from farm_notebook.farm import blocking as farm_module
from farm_notebook.farm.compare import ComparisonRun
from farm_notebook.farm.contender import Contender
from farm_notebook.providers.scripted import ScriptedProvider
from farm_notebook.types import (
    ChatRequest,
    Event,
    Finished,
    LoadProgress,
    ModelRef,
    Started,
    TextDelta,
)

pytestmark = pytest.mark.usefixtures("no_stream_is_left_open")

SOON_S = 20.0  # far more than anything here takes
ENDLESS = "scripted:stall-3"  # three words, and then nothing more


@pytest.fixture
def farm() -> AsyncFarm:
    return AsyncFarm(model="scripted:echo")


def run_of(farm: AsyncFarm, *models: str, **more: Any) -> ComparisonRun:
    options = more.pop("options", {})
    return ComparisonRun(farm, "Hi", models, options=options, **more)


async def test_each_model_answers_and_the_outcomes_are_in_the_order_asked(farm: AsyncFarm) -> None:
    found = await farm.compare("Hi there", ["scripted:count-3", "scripted:echo"], seed=7)
    assert found.prompt == "Hi there"
    assert [(each.name, each.text, each.status) for each in found] == [
        ("scripted:count-3", "word0 word1 word2", "done"),
        ("scripted:echo", "Hi there", "done"),
    ]
    assert [reply.parameters for reply in found.replies.values()] == [{"seed": 7}] * 2


async def test_all_are_asked_at_once(farm: AsyncFarm) -> None:
    run = run_of(farm, ENDLESS, "scripted:stall-4")
    begun: set[str] = set()
    both = asyncio.Event()

    def watch(contender: Contender, event: Event | None) -> None:
        if isinstance(event, TextDelta):
            begun.add(contender.name)
            if len(begun) == 2:
                both.set()

    working = asyncio.create_task(run.run(watch))
    async with asyncio.timeout(SOON_S):
        await both.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working


async def test_one_by_one_the_next_is_asked_when_the_one_before_has_ended(farm: AsyncFarm) -> None:
    told: list[str] = []
    run = run_of(farm, "scripted:count-3", "scripted:error-auth", "scripted:echo", one_by_one=True)
    await run.run(lambda contender, event: told.append(contender.name))
    assert [name for name, before in zip(told, ["", *told], strict=False) if name != before] == [
        "scripted:count-3",
        "scripted:error-auth",
        "scripted:echo",
    ]


async def test_one_that_fails_ends_none_of_the_others(farm: AsyncFarm) -> None:
    models = ["scripted:error-auth", "scripted:count-3", "scripted:fail-2", "scripted:nonsense"]
    auth, count, fail, missing = await farm.compare("Hi", models)
    assert (auth.status, auth.reply) == ("failed", None)
    assert (count.status, count.text) == ("done", "word0 word1 word2")
    assert (fail.status, fail.text) == ("failed", "word0 word1")
    assert fail.reply is not None
    assert (fail.reply.finish_reason, fail.reply.is_partial) == ("error", True)
    assert fail.reply.timings.first_token_s is not None
    assert isinstance(fail.error, ProviderError)
    assert fail.error.partial_text == "word0 word1"
    assert isinstance(missing.error, ModelNotFoundError)
    assert "nonsense" in missing.problem


async def test_a_kept_error_holds_no_frames(farm: AsyncFarm) -> None:
    """They would keep alive what is in them: requests, streams, models."""
    found = await farm.compare("Hi", ["scripted:error-auth", "scripted:nonsense"])
    for outcome in found:
        assert outcome.error is not None
        assert outcome.error.__traceback__ is None
        assert (outcome.error.__cause__, outcome.error.__context__) == (None, None)


async def test_a_model_that_may_not_be_asked_is_an_outcome_of_its_own() -> None:
    farm = AsyncFarm(model="scripted:echo", openai={"enabled": False})
    off, echo = await farm.compare("Hi", ["openai:gpt-4o", "scripted:echo"])
    assert (off.status, echo.status) == ("failed", "done")
    assert "openai" in off.problem


async def test_a_caller_who_leaves_finds_what_had_arrived(farm: AsyncFarm) -> None:
    run = run_of(farm, ENDLESS, "scripted:count-2", "scripted:slow-600")
    words = asyncio.Event()

    def watch(contender: Contender, event: Event | None) -> None:
        stalled, counted, slow = run.contenders
        if counted.outcome and all(each.first_token_s is not None for each in (stalled, slow)):
            words.set()

    working = asyncio.create_task(run.run(watch))
    async with asyncio.timeout(SOON_S):
        await words.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    stalled, counted, slow = run.comparison
    assert (stalled.status, counted.status, slow.status) == ("interrupted", "done", "interrupted")
    assert stalled.text.startswith("word0")
    assert slow.text.startswith("word0")
    assert slow.reply is not None
    assert slow.reply.timings.first_token_s is not None


async def test_who_was_not_reached_counts_as_interrupted(farm: AsyncFarm) -> None:
    run = run_of(farm, ENDLESS, "scripted:echo", one_by_one=True)
    begun = asyncio.Event()
    working = asyncio.create_task(run.run(lambda contender, event: begun.set()))
    async with asyncio.timeout(SOON_S):
        await begun.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert [(each.status, each.reply is None) for each in run.comparison][1] == ("interrupted", True)


async def test_those_that_ran_here_at_once_are_named(farm: AsyncFarm) -> None:
    models = ["scripted:count-3", "scripted:error-auth", "scripted:echo"]
    at_once = await farm.compare("Hi", models)
    assert at_once.rivals == ("scripted:count-3", "scripted:echo")
    in_turn = await farm.compare("Hi", models, one_by_one=True)
    assert in_turn.rivals == ()


@pytest.mark.parametrize(
    ("models", "options", "words"),
    [
        ([], {}, "at least two models, not []. `farm models` lists what is here. Aliases: fast, twin"),
        (["scripted:echo"], {}, "at least two models, not ['scripted:echo']"),
        (["fast", " fast "], {}, "'fast' is named twice"),
        (["fast", "scripted:echo"], {}, "'fast' and 'scripted:echo' are the same model, scripted:echo"),
        ("scripted:echo", {}, "models='scripted:echo' is no list"),
        (["fast", 3], {}, "3 is not a model's name"),
        (["fast", ""], {}, "name is empty"),
        (["fast", "scripted:count-2"], {"temperature": -1}, "temperature=-1 is out of range"),
        (["fast", "scripted:count-2"], {"model": "fast"}, "model='fast' is one model"),
        (["fast", "scripted:count-2"], {"colour": 1}, "Unknown option 'colour'"),
    ],
)
async def test_what_is_wrong_for_all_is_said_before_any_is_asked(
    models: Any, options: dict[str, Any], words: str
) -> None:
    aliases = {"fast": "scripted:echo", "twin": {"model": "scripted:echo", "parameters": {"temperature": 1}}}
    farm = AsyncFarm(model="scripted:echo", aliases=aliases)
    with pytest.raises(InvalidRequestError) as raised:
        await farm.compare("Hi", models, **options)
    assert words in str(raised.value)


async def test_an_alias_with_parameters_of_its_own_is_another_contender() -> None:
    aliases = {"wild": {"model": "scripted:echo", "parameters": {"temperature": 2}}}
    farm = AsyncFarm(model="scripted:echo", aliases=aliases)
    found = await farm.compare("Hi", ["scripted:echo", "wild"])
    assert [each.title for each in found] == ["scripted:echo", "wild → scripted:echo"]
    assert found.replies["wild"].parameters == {"temperature": 2.0}


async def test_a_mistake_in_somebodys_provider_is_raised_when_the_others_have_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Broken(ScriptedProvider):
        name = "broken"

        async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
            yield Started(request.ref)
            raise ZeroDivisionError("a bug")

    monkeypatch.setattr(providers, "_registered", {})
    farm_notebook.register_provider(Broken)
    run = run_of(AsyncFarm(model="scripted:echo"), "broken:x", "scripted:count-3")
    with pytest.raises(ZeroDivisionError, match="a bug"):
        await loop.run(run.run())
    assert run.comparison["scripted:count-3"].status == "done"


def test_the_blocking_calls_do_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARM_MODEL", "scripted:echo")
    monkeypatch.setattr(farm_module, "_default", None)
    for compare in (Farm(model="scripted:echo").compare, farm_notebook.compare):
        found = compare("Hi", models=["scripted:count-2", "scripted:echo"], one_by_one=True)
        assert [each.text for each in found] == ["word0 word1", "Hi"]


REF = ModelRef("scripted", "count-3")


def contender(farm: AsyncFarm, ticks: list[float]) -> Contender:
    return Contender("c", farm.request("Hi", model="scripted:count-3"), clock=lambda: ticks[0])


def test_the_time_to_the_first_token_does_not_count_loading(farm: AsyncFarm) -> None:
    ticks = [10.0]
    each = contender(farm, ticks)
    assert (each.is_asked, each.first_token_s, each.streaming_s) == (False, None, 0.0)
    each.begin()
    steps: list[tuple[float, Event]] = [
        (13.0, LoadProgress("load", 5, 5)),
        (14.0, Started(REF)),
        (14.5, TextDelta("one")),
        (16.5, TextDelta(" two")),
    ]
    for at, event in steps:
        ticks[0] = at
        each.add(event)
    assert (each.is_asked, each.first_token_s, each.streaming_s) == (True, 0.5, 2.0)
    each.stop()
    assert each.outcome is not None
    reply = each.outcome.reply
    assert reply is not None
    assert (reply.text, reply.timings.load_s, reply.timings.total_s) == ("one two", 4.0, 6.5)


def test_waiting_for_a_model_that_is_there_is_no_loading(farm: AsyncFarm) -> None:
    ticks = [10.0]
    each = contender(farm, ticks)
    each.begin()
    ticks[0] = 14.0
    each.add(Started(REF))
    each.add(TextDelta("one"))
    each.stop()
    assert each.outcome is not None
    assert each.outcome.reply is not None
    assert each.outcome.reply.timings.load_s == 0.0


async def test_an_answer_is_whole_before_its_models_digest_is_told(
    farm: AsyncFarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def never(ref: ModelRef) -> str:
        asked.set()
        await asyncio.sleep(SOON_S * 10)
        return "digest"

    monkeypatch.setattr(farm, "digest", never)
    each = contender(farm, [0.0])
    each.begin()
    each.add(TextDelta("all of it"))
    each.add(Finished("stop"))
    working = asyncio.create_task(each.finish(farm))
    await asked.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    each.stop()
    assert each.outcome is not None
    assert (each.outcome.status, each.outcome.text) == ("done", "all of it")


def test_what_has_ended_is_not_stopped_again(farm: AsyncFarm) -> None:
    each = contender(farm, [0.0])
    each.begin()
    each.fail(FarmError("no"))
    each.stop()
    assert each.outcome is not None
    assert each.outcome.status == "failed"
