"""Requests under way are counted by model, however they end."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from farm_notebook.errors import ProviderError
from farm_notebook.pipeline.in_flight import InFlight
from farm_notebook.types import ChatMessage, ChatRequest, Event, Finished, ModelRef, Started, TextDelta

A, B = ModelRef("scripted", "a"), ModelRef("scripted", "b")


async def answer(request: ChatRequest) -> AsyncGenerator[Event, None]:
    yield Started(request.ref)
    yield TextDelta("hello")
    if request.ref == B:
        raise ProviderError("broken")
    yield Finished("stop")


def ask(ref: ModelRef) -> ChatRequest:
    return ChatRequest(ref, (ChatMessage("user", "hello"),))


async def test_a_request_counts_from_its_first_event_to_its_last() -> None:
    counts = InFlight()
    first, second = counts(answer)(ask(A)), counts(answer)(ask(A))
    assert counts.count(A) == 0
    for stream, expected in ((first, 1), (second, 2)):
        await anext(stream)
        assert counts.count(A) == expected
    assert [event async for event in first] == [TextDelta("hello"), Finished("stop")]
    assert (counts.count(A), counts.count(B)) == (1, 0)
    await second.aclose()
    assert counts.count(A) == 0


async def test_a_failure_and_an_early_end_count_no_longer() -> None:
    counts = InFlight()
    with pytest.raises(ProviderError):
        _ = [event async for event in counts(answer)(ask(B))]
    async with aclosing(counts(answer)(ask(A))) as events:
        await anext(events)
    assert (counts.count(A), counts.count(B)) == (0, 0)
