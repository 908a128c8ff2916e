"""Frames go out in order, gathered, at once after a pause and at a bounded rate from then on."""

from __future__ import annotations

import asyncio
from typing import Any

from farm_notebook.widgets.outbox import Outbox


class Sent(list[list[dict[str, Any]]]):
    """The messages that went out, and when the next one does."""

    def __init__(self) -> None:
        super().__init__()
        self._came = asyncio.Event()

    def take(self, frames: list[dict[str, Any]]) -> None:
        self.append(frames)
        self._came.set()

    async def next(self) -> list[dict[str, Any]]:
        self._came.clear()
        await asyncio.wait_for(self._came.wait(), 20)
        return self[-1]


async def test_what_is_set_in_one_turn_goes_out_together_with_its_last_value() -> None:
    sent = Sent()
    box = Outbox(sent.take, period_s=60)
    box.set({"a": 1, "b": 1})
    box.set({"a": 2})
    assert await sent.next() == [{"set": {"a": 2, "b": 1}}]


async def test_what_follows_is_gathered_for_a_period() -> None:
    sent = Sent()
    box = Outbox(sent.take, period_s=0.05)
    box.set({"a": 0})
    await sent.next()
    for number in range(1, 100):
        box.set({"a": number})
        await asyncio.sleep(0)
    assert await sent.next() == [{"set": {"a": 99}}]
    assert len(sent) == 2


async def test_after_a_pause_the_next_goes_out_at_once() -> None:
    sent = Sent()
    box = Outbox(sent.take, period_s=0.01)
    box.set({"a": 0})
    await sent.next()
    await asyncio.sleep(0.05)
    box.set({"a": 1})
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(sent) == 2


async def test_what_answers_a_call_does_not_wait_nor_what_was_said_before_it() -> None:
    sent = Sent()
    box = Outbox(sent.take, period_s=60)
    box.set({"a": 0})
    await sent.next()
    box.set({"a": 1})
    box.add({"done": "call"}, at_once=True)
    assert await sent.next() == [{"set": {"a": 1}}, {"done": "call"}]
    box.set({"a": 2})
    await asyncio.sleep(0.01)
    assert len(sent) == 2


async def test_the_order_among_kinds_of_frames_holds() -> None:
    sent = Sent()
    box = Outbox(sent.take)
    box.set({"a": 1})
    box.add({"event": "x", "data": {}})
    box.set({"a": 2})
    box.set({"a": 3})
    box.add({"done": "1", "error": None})
    assert await sent.next() == [
        {"set": {"a": 1}},
        {"event": "x", "data": {}},
        {"set": {"a": 3}},
        {"done": "1", "error": None},
    ]


async def test_a_closed_box_has_sent_what_was_left_and_sends_nothing_more() -> None:
    sent = Sent()
    box = Outbox(sent.take, period_s=60)
    box.set({"a": 1})
    box.close()
    assert sent == [[{"set": {"a": 1}}]]
    box.set({"a": 2})
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(sent) == 1


async def test_a_value_that_the_caller_changes_later_is_not_changed_here() -> None:
    sent = Sent()
    box = Outbox(sent.take)
    slices = {"a": 1}
    box.set(slices)
    box.set({"b": 2})
    assert slices == {"a": 1}
    await sent.next()
