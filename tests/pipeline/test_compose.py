"""``compose`` makes one middleware of several: requests pass outermost first, events outermost last."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

import pytest

from farm_notebook.pipeline import Handler, Middleware, compose
from farm_notebook.types import ChatMessage, ChatRequest, Event, Finished, ModelRef, TextDelta

REQUEST = ChatRequest(ModelRef("scripted", "echo"), (ChatMessage("user", "hello"),))


async def say_request(request: ChatRequest) -> AsyncGenerator[Event, None]:
    """Answers with what it was asked."""
    yield TextDelta(request.messages[-1].content)
    yield Finished("stop")


def tag(name: str) -> Middleware:
    """Writes its name into the request on the way in and into the text on the way out."""

    def wrap(handler: Handler) -> Handler:
        async def tagged(request: ChatRequest) -> AsyncGenerator[Event, None]:
            message = ChatMessage("user", f"{request.messages[-1].content}>{name}")
            async with aclosing(handler(replace(request, messages=(message,)))) as events:
                async for event in events:
                    yield TextDelta(f"{event.text}<{name}") if isinstance(event, TextDelta) else event

        return tagged

    return wrap


async def text_of(handler: Handler) -> str:
    return "".join([event.text async for event in handler(REQUEST) if isinstance(event, TextDelta)])


async def test_the_first_middleware_sees_the_request_first_and_the_events_last() -> None:
    assert await text_of(compose(tag("a"), tag("b"), tag("c"))(say_request)) == "hello>a>b>c<c<b<a"


async def test_composing_is_wrapping_by_hand() -> None:
    composed = await text_of(compose(tag("a"), tag("b"))(say_request))
    assert composed == await text_of(tag("a")(tag("b")(say_request)))


async def test_composed_middlewares_compose_on() -> None:
    nested = compose(compose(tag("a"), tag("b")), compose(), tag("c"))
    assert await text_of(nested(say_request)) == await text_of(
        compose(tag("a"), tag("b"), tag("c"))(say_request)
    )


def test_composing_nothing_changes_nothing() -> None:
    assert compose()(say_request) is say_request


async def test_one_chain_serves_many_requests() -> None:
    handler = compose(tag("a"), tag("b"))(say_request)
    assert await text_of(handler) == await text_of(handler) == "hello>a>b<b<a"


async def test_a_middleware_may_answer_without_asking_further() -> None:
    asked = []

    async def asks(request: ChatRequest) -> AsyncGenerator[Event, None]:
        asked.append(request)
        yield Finished("stop")

    def short_cut(handler: Handler) -> Handler:
        async def answered(request: ChatRequest) -> AsyncGenerator[Event, None]:
            yield TextDelta("known")

        return answered

    assert await text_of(compose(tag("a"), short_cut, tag("b"))(asks)) == "known<a"
    assert asked == []


async def test_leaving_the_outermost_stream_closes_the_innermost() -> None:
    closed = []

    async def endless(request: ChatRequest) -> AsyncGenerator[Event, None]:
        try:
            while True:
                yield TextDelta("word")
        finally:
            closed.append(True)

    async with aclosing(compose(tag("a"), tag("b"))(endless)(REQUEST)) as events:
        await anext(events)
        assert closed == []
    assert closed == [True]


async def test_an_error_of_the_innermost_passes_all_of_them() -> None:
    async def broken(request: ChatRequest) -> AsyncGenerator[Event, None]:
        yield TextDelta("word")
        raise KeyError("the bad thing")

    with pytest.raises(KeyError, match="the bad thing"):
        await text_of(compose(tag("a"), tag("b"))(broken))
