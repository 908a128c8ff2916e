"""Whatever is done to models at the same time, in whatever order: nobody is lost, mixed, or left waiting."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable

import pytest
from toy_loader import ToyLoader
from toy_loop import run
from toy_shelf import ToyShelf

from farm_notebook.config import ModelsConfig
from farm_notebook.errors import FarmError
from farm_notebook.types import LoadOptions

SCHEDULES = int(os.environ.get("FARM_TEST_SCHEDULES", "1000"))
KEYS = ("base", "adapter", "other")
ACTORS = 6
ACTIONS = 5  # of each
LEASED_S = 3.0


class Schedule:
    """A few actors, each of which does a few things to the same models at times of its own.

    Args:
        seed: Of all that is random.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.loader = ToyLoader(
            room=self.random.choice((12, 21, 24, 45)),
            bases={"adapter": "base"},
            has_processes=self.random.random() < 0.3,
            pause=self.pause,
        )
        self.loader.can_park = self.random.random() < 0.9
        self.loader.is_host = self.random.random() < 0.1
        self.shelf = ToyShelf(self.loader, ModelsConfig(drain_s=self.random.choice((0.0, 2.0, 300.0))))
        self.answered = self.failed = 0

    async def pause(self) -> None:
        await asyncio.sleep(self.random.choice((0, 0, 0, 0.01, 0.1, 1.0)))

    async def run(self) -> None:
        actors = [asyncio.create_task(self.act()) for _ in range(ACTORS)]
        for actor in actors:
            await actor
        if self.random.random() < 0.7:  # else it is cleared in the middle of what is left
            await self.quiet()
            self.loader.can_park, self.loader.room = True, 100
            self.loader.files = dict.fromkeys(KEYS, "last")
            for key in KEYS:
                assert await self.shelf.ask(key) != "corrupt"
        await self.shelf.end()

    async def quiet(self) -> None:
        """Once nothing is under way, every model is there whole, or not at all."""
        await asyncio.sleep(1000)  # old generations have gone
        versions = self.shelf.versions()
        for key in KEYS:
            state = self.shelf.state(key)
            assert state in ("absent", "ready", "aside", "failed")
            assert (state == "ready") == (key in versions)
        alive = [toy for toy in self.loader.toys if not toy.is_closed]
        held = [version.value for version in versions.values()]
        aside = sum(self.shelf.state(key) == "aside" for key in KEYS)
        carried = {toy.base for toy in held}
        assert len([toy for toy in alive if toy not in held and toy not in carried]) == aside
        assert self.loader.device_bytes == sum(toy.size for toy in alive if toy.place == "device")
        assert self.loader.host_bytes == sum(toy.size for toy in alive if toy.place == "host")

    async def act(self) -> None:
        for _ in range(ACTIONS):
            await self.pause()
            what = self.random.choice(self.actions)
            work = asyncio.ensure_future(what(self, self.random.choice(KEYS)))
            if self.random.random() < 0.3:
                for _ in range(self.random.randrange(8)):
                    await self.pause()
                work.cancel()
                if self.random.random() < 0.3:
                    await self.pause()
                    work.cancel()
            await asyncio.wait([work])
            if not work.cancelled() and (error := work.exception()) is not None:
                assert isinstance(error, FarmError), repr(error)
                self.failed += 1

    async def ask(self, key: str) -> None:
        await self.shelf.ask(key, self.random.randrange(1, 6))
        self.answered += 1

    async def hold_long(self, key: str) -> None:
        """An asker who takes his answer, and then does not look."""
        async with self.shelf.hold(key) as version:
            await self.loader.answer(version, 1)
            await asyncio.sleep(self.random.choice((1, 20)))

    async def lease(self, key: str) -> None:
        async with self.shelf.lease(key) as version:
            toy, place = version.value, version.value.place
            await asyncio.sleep(LEASED_S)
            self.loader.require(toy.place in (place, "nowhere"), f"{key} was moved while leased")

    async def load(self, key: str) -> None:
        await self.shelf.bring(key)

    async def place(self, key: str) -> None:
        if key != "adapter":
            await self.shelf.bring(key, LoadOptions(device=self.random.choice(("moon", "toy:0", None))))

    async def reload(self, key: str) -> None:
        self.loader.files[key] = self.random.choice(("1", "2", "3", "4", "corrupt"))
        await self.shelf.renew(key, drain_s=self.random.choice((None, 0.0, 1.0)))

    async def put_away(self, key: str) -> None:
        await self.shelf.put_away(key, drain_s=self.random.choice((None, 0.0)))

    async def set_aside(self, key: str) -> None:
        await self.shelf.set_aside(key)

    async def interrupt(self, key: str) -> None:
        await self.shelf.interrupt(key)

    async def evict(self, key: str) -> None:
        for idle in self.shelf.idle():
            await idle.give_up()

    async def kill(self, key: str) -> None:
        if self.loader.has_processes and (version := self.shelf.versions().get(key)) is not None:
            self.loader.kill(version.value)

    actions: tuple[Callable[[Schedule, str], Awaitable[None]], ...] = (
        ask,
        ask,
        ask,
        hold_long,
        lease,
        load,
        place,
        reload,
        reload,
        put_away,
        set_aside,
        interrupt,
        evict,
        kill,
    )


@pytest.mark.slow
def test_whatever_is_done_at_whatever_time_nobody_is_lost_mixed_or_left_waiting() -> None:
    begin = int(os.environ.get("FARM_TEST_SEED", "0"))
    answered = failed = 0
    for seed in range(begin, begin + SCHEDULES):
        try:
            schedule = run(_made(seed))
        except BaseException as error:
            error.add_note(f"FARM_TEST_SEED={seed} FARM_TEST_SCHEDULES=1")
            raise
        answered, failed = answered + schedule.answered, failed + schedule.failed
    assert answered > SCHEDULES


async def _made(seed: int) -> Schedule:
    schedule = Schedule(seed)
    await schedule.run()
    return schedule
