"""Open requests are settled and told once, plain ones pass untouched, and a pick that is gone is replaced."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from types import AsyncGeneratorType

import pytest

from farm_notebook.config import AUTO
from farm_notebook.errors import (
    AuthenticationError,
    ConfigError,
    FarmError,
    ModelNotFoundError,
    ProviderConnectionError,
)
from farm_notebook.pipeline.route import is_open, route
from farm_notebook.types import (
    ChatMessage,
    ChatRequest,
    Deployment,
    Event,
    Finished,
    ModelRef,
    Route,
    Routed,
    Started,
    TextDelta,
)

A, B = ModelRef("scripted", "a"), ModelRef("scripted", "b")
ANY = ChatRequest(ModelRef(AUTO, AUTO), (ChatMessage("user", "hello"),))
PLAIN = replace(ANY, ref=A)
POOL = replace(PLAIN, route=Route(deployments=(Deployment(A), Deployment(B))))
GONE = ProviderConnectionError("gone")


def answer(ref: ModelRef) -> list[Event]:
    return [Started(ref), TextDelta(f"I am {ref}."), Finished("stop")]


class World:
    """A handler and what settles: ``models`` are chosen one after the other, and some of them fail."""

    def __init__(self, *models: ModelRef | FarmError, reason: str = "it is there") -> None:
        self.models, self.reason = list(models), reason
        self.failures: dict[ModelRef, FarmError] = {}
        self.is_late = False  # a failure comes after text
        self.asked: list[ChatRequest] = []
        self.settled: list[ChatRequest] = []
        self.forgotten: list[ModelRef] = []
        self.closed = 0

    async def settle(self, request: ChatRequest) -> tuple[ChatRequest, str]:
        self.settled.append(request)
        found = self.models[min(len(self.settled), len(self.models)) - 1]
        if isinstance(found, FarmError):
            raise found
        return replace(request, ref=found), self.reason

    async def handler(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        self.asked.append(request)
        try:
            failure = self.failures.get(request.ref)
            if failure and not self.is_late:
                raise failure
            for event in answer(request.ref):
                yield event
                if failure and isinstance(event, TextDelta):
                    raise failure
        finally:
            self.closed += 1


async def played(world: World, *requests: ChatRequest) -> list[Event]:
    handler = route(world.settle, forget=world.forgotten.append)(world.handler)
    return [event for request in requests async for event in handler(request)]


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (PLAIN, False),
        (replace(PLAIN, route=Route("a", "it was named", needs=frozenset({"tools"}))), False),
        (ANY, True),
        (replace(PLAIN, ref=ModelRef("scripted", AUTO)), True),
        (replace(PLAIN, ref=ModelRef(AUTO, "a")), True),
        (POOL, True),
        (replace(PLAIN, route=Route(alternates=(B,))), True),
    ],
)
def test_a_request_is_open_where_there_is_anything_to_choose(request_: ChatRequest, expected: bool) -> None:
    assert is_open(request_) == expected


async def test_a_plain_request_passes_untouched() -> None:
    world = World(B)
    handler = route(world.settle)(world.handler)
    stream = handler(PLAIN)
    assert isinstance(stream, AsyncGeneratorType)
    assert stream.ag_code is World.handler.__code__, "it is the handler's own stream"
    assert [event async for event in stream] == answer(A)
    assert world.settled == []


@pytest.mark.parametrize("request_", [ANY, POOL])
async def test_an_open_request_is_settled_and_the_choice_told_first(request_: ChatRequest) -> None:
    world = World(B)
    assert await played(world, request_) == [Routed(B, "it is there"), *answer(B)]
    assert [request.ref for request in world.asked] == [B]


async def test_each_choice_and_reason_is_told_once() -> None:
    world = World(A, A, B, A)
    told = [event for event in await played(world, *[ANY] * 4) if isinstance(event, Routed)]
    assert told == [Routed(A, "it is there"), Routed(A, ""), Routed(B, "it is there"), Routed(A, "")]
    world.reason = "it is still there"
    handler = route(world.settle, known=(known := {(A, "it is still there")}))(world.handler)
    assert [event async for event in handler(ANY)] == [Routed(A, ""), *answer(A)]
    world.reason = "it is new"
    assert [event async for event in handler(ANY)] == [Routed(A, "it is new"), *answer(A)]
    assert (A, "it is new") in known


async def test_where_there_was_nothing_to_choose_nothing_is_told() -> None:
    assert await played(World(A, reason=""), replace(PLAIN, route=Route(alternates=(B,)))) == answer(A)


async def test_what_cannot_be_settled_is_an_error_and_nobody_is_asked() -> None:
    world = World(ConfigError("no model is at hand"))
    with pytest.raises(ConfigError, match="at hand"):
        await played(world, ANY)
    assert world.asked == []


@pytest.mark.parametrize("failure", [GONE, ModelNotFoundError("gone")])
async def test_a_pick_that_is_gone_is_forgotten_and_another_one_answers(failure: FarmError) -> None:
    world = World(A, B)
    world.failures[A] = failure
    events = await played(world, ANY)
    assert events == [Routed(A, "it is there"), Routed(B, "it is there"), *answer(B)]
    assert world.forgotten == [A]
    assert world.closed == 2


async def test_only_one_other_is_tried() -> None:
    world = World(A, B, A)
    world.failures = {A: GONE, B: ModelNotFoundError("gone too")}
    with pytest.raises(ModelNotFoundError, match="gone too"):
        await played(world, ANY)
    assert [request.ref for request in world.asked] == [A, B]


@pytest.mark.parametrize("then", [A, ConfigError("nothing is at hand")])
async def test_where_there_is_no_other_the_error_is_that_of_the_pick(then: ModelRef | FarmError) -> None:
    world = World(A, then)
    world.failures[A] = GONE
    with pytest.raises(ProviderConnectionError, match="gone") as caught:
        await played(world, ANY)
    assert caught.value is GONE
    assert world.forgotten == [A]


async def test_after_it_said_something_no_other_answers_but_it_is_forgotten() -> None:
    world = World(A, B)
    world.failures[A], world.is_late = GONE, True
    with pytest.raises(ProviderConnectionError):
        await played(world, ANY)
    assert [request.ref for request in world.asked] == [A]
    assert world.forgotten == [A]


async def test_other_errors_and_those_of_models_that_were_named_are_raised_as_they_are() -> None:
    for request, failure in ((ANY, AuthenticationError("no key")), (POOL, GONE)):
        world = World(A, B)
        world.failures[A] = failure
        with pytest.raises(type(failure)) as caught:
            await played(world, request)
        assert caught.value is failure
        assert world.forgotten == []


async def test_leaving_early_closes_the_stream_below() -> None:
    world = World(A)
    async with aclosing(route(world.settle)(world.handler)(ANY)) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                break
    assert world.closed == 1
