"""A part: calls are checked and run at once, their errors are told, and it looks only while it is seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar, Literal

import pytest

from farm_notebook.cassettes.glances import is_glance
from farm_notebook.errors import InvalidRequestError, ModelNotFoundError, NotRecordedError
from farm_notebook.widgets.calls import Handler, begin
from farm_notebook.widgets.outbox import Slices
from farm_notebook.widgets.part import Part

from .pages import ENOUGH_S, stub_farm


class Toy(Part):
    name: ClassVar[str] = "toy"

    def __init__(self) -> None:
        super().__init__(stub_farm(), sleep=self._turn_page)
        self.page_turned = asyncio.Event()
        self.looked = 0
        self.glances: list[bool] = []
        self.seen: list[str] = []
        self.stop = asyncio.Event()
        self.while_shown(30, self._count)

    def slices(self) -> Slices:
        return {"looked": self.looked}

    def calls(self) -> Mapping[str, Handler]:
        return {"load": self._load, "stop": self._stop, "wait": self._wait, "give_up": self._give_up}

    def shown(self) -> None:
        self.seen.append("shown")

    def hidden(self) -> None:
        self.seen.append("hidden")

    async def _load(self, model: str, *, times: int = 1, device: Literal["cpu", "cuda"] = "cpu") -> None:
        if model == "none":
            raise ModelNotFoundError("There is no model 'none'.")
        self.set(loaded=f"{model} {times} {device}")

    async def _wait(self) -> None:
        await self.stop.wait()

    async def _stop(self) -> None:
        self.stop.set()

    async def _give_up(self) -> None:
        raise asyncio.CancelledError

    async def _count(self) -> None:
        self.looked += 1
        self.glances.append(is_glance())
        self.set(looked=self.looked)
        if self.looked == 2:
            raise ValueError("out of order")

    async def begin_work(self) -> None:
        async def work() -> None:
            self.glances.append(is_glance())

        await self.spawn(work())

    async def _turn_page(self, _: float) -> None:
        await self.page_turned.wait()
        self.page_turned.clear()


class Told:
    """What a part has told; closes it at the end."""

    def __init__(self, part: Toy) -> None:
        self.part = part
        self.frames: list[dict[str, Any]] = []
        self._news = asyncio.Event()
        part.attach(self._take, lambda: None)

    def _take(self, frames: list[dict[str, Any]]) -> None:
        self.frames += frames
        self._news.set()

    async def wait_for(self, **wanted: Any) -> dict[str, Any]:
        """The first frame that has these items."""
        async with asyncio.timeout(ENOUGH_S):
            while not (found := [frame for frame in self.frames if wanted.items() <= frame.items()]):
                self._news.clear()
                await self._news.wait()
        return found[0]


@pytest.fixture
async def told() -> AsyncIterator[Told]:
    told = Told(Toy())
    yield told
    await told.part.aclose()


async def test_a_call_is_acknowledged_done_and_what_it_changed_is_told_before(told: Told) -> None:
    told.part.receive("load", {"model": "m", "times": 2}, "1")
    assert await told.wait_for(done="1") == {"done": "1", "error": None}
    assert told.frames == [{"ack": "1"}, {"set": {"loaded": "m 2 cpu"}}, {"done": "1", "error": None}]


async def test_an_error_of_a_call_is_told_to_who_called(told: Told) -> None:
    told.part.receive("load", {"model": "none"}, "1")
    done = await told.wait_for(done="1")
    assert done["error"] == {
        "title": "There is no such model",
        "message": "There is no model 'none'.",
        "fix": None,
    }


async def test_several_calls_run_at_once_and_one_can_end_another(told: Told) -> None:
    told.part.receive("wait", {}, "1")
    told.part.receive("stop", {}, "2")
    assert (await told.wait_for(done="1"))["error"] is None


async def test_a_call_that_is_cancelled_is_told_as_stopped(told: Told) -> None:
    told.part.receive("give_up", {}, "1")
    assert (await told.wait_for(done="1"))["error"]["title"] == "Stopped"


@pytest.mark.parametrize(
    ("call", "args", "said"),
    [
        ("unload", {}, "no call 'unload'; valid: give_up, load, stop, wait"),
        ("__init__", {}, "no call '__init__'"),
        ("load", {}, "model: Field required"),
        ("load", {"model": 3}, "model: Input should be a valid string"),
        ("load", {"model": "m", "times": "2"}, "times: Input should be a valid integer"),
        ("load", {"model": "m", "device": "moon"}, "device: Input should be 'cpu' or 'cuda'"),
        ("load", {"model": "m", "self": "x"}, "self: Extra inputs are not permitted"),
    ],
)
async def test_a_wrong_call_is_refused_with_what_is_wrong(
    told: Told, call: str, args: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        await begin(told.part.calls(), call, args)
    assert said in str(refused.value)


async def test_a_part_looks_only_while_it_is_seen(told: Told) -> None:
    told.part.show(True)
    await told.wait_for(set={"looked": 1})
    told.part.show(True)
    told.part.show(False)
    told.part.page_turned.set()
    await asyncio.sleep(0.05)
    assert told.part.looked == 1
    told.part.show(True)
    await told.wait_for(set={"looked": 2})
    assert told.part.seen == ["shown", "hidden", "shown"]


async def test_a_look_that_failed_is_told_and_the_next_one_follows(told: Told) -> None:
    told.part.show(True)
    for _ in range(2):
        told.part.page_turned.set()
        await asyncio.sleep(0.05)
    problem = await told.wait_for(event="problem")
    assert problem["data"]["message"] == "ValueError: out of order"
    assert told.part.looked == 3


async def test_what_it_looks_at_while_it_is_seen_is_no_call_of_a_cell(told: Told) -> None:
    told.part.show(True)
    await told.wait_for(set={"looked": 1})
    assert told.part.glances == [True]
    await told.part.begin_work()
    assert told.part.glances == [True, False]


async def test_a_look_at_what_is_not_recorded_tells_nothing_new(told: Told) -> None:
    async def look() -> None:
        raise NotRecordedError("It is not in story.farm.jsonl.")

    await told.part.glance(look)
    assert told.frames == []


async def test_an_error_in_the_background_is_told_to_the_views(told: Told) -> None:
    async def fail() -> None:
        raise ModelNotFoundError("There is no model 'x'.")

    told.part.spawn(fail())
    assert (await told.wait_for(event="problem"))["data"]["title"] == "There is no such model"


async def test_a_closed_part_has_no_work_left_and_begins_none(told: Told) -> None:
    before = asyncio.all_tasks()
    told.part.show(True)
    told.part.receive("wait", {}, "1")
    await told.wait_for(ack="1")
    await told.part.aclose()
    assert asyncio.all_tasks() <= before
    assert told.part.seen == ["shown", "hidden"]
    told.part.show(True)
    told.part.receive("load", {"model": "m"}, "2")
    await asyncio.sleep(0.05)
    assert not [frame for frame in told.frames if frame.get("done") == "2"]
    assert asyncio.all_tasks() <= before


async def test_a_part_that_nobody_shows_may_still_tell() -> None:
    part = Toy()
    part.set(a=1)
    part.emit("b")
    part.settled()
    await part.aclose()
