"""The models of one provider in memory: loaded once however many ask, and all given up at the end."""

from __future__ import annotations

import asyncio
import weakref
from contextlib import aclosing

import pytest
from toy_loader import SIZE, Toy, ToyLoader
from toy_loop import virtual_time
from toy_shelf import ADAPTED, Using, settled, shelf_of, turns

from farm_notebook.errors import InvalidRequestError, LoadError, ProviderError
from farm_notebook.lifecycle.job import Tell
from farm_notebook.types import LoadOptions, LoadProgress


@virtual_time
async def test_a_hundred_callers_of_one_model_cause_one_load() -> None:
    async with shelf_of() as shelf:
        answers = await asyncio.gather(*(shelf.ask("a") for _ in range(100)))
        assert answers == ["1"] * 100
        assert shelf.toys.loads == {"a": 1}
        assert shelf.versions()["a"].served == 100


@virtual_time
async def test_a_model_that_is_there_is_not_loaded_again() -> None:
    async with shelf_of() as shelf:
        assert await shelf.bring("a") != []
        assert await shelf.bring("a") == []
        assert shelf.toys.loads == {"a": 1}


@virtual_time
async def test_a_load_goes_on_while_anybody_waits_for_it_and_stops_with_the_last() -> None:
    async with shelf_of() as shelf:
        shelf.toys.gates["a"] = asyncio.Event()
        first, second = (asyncio.create_task(shelf.ask("a")) for _ in range(2))
        await turns()
        first.cancel()
        await turns()
        assert shelf.state("a") == "loading"
        second.cancel()
        await asyncio.wait([first, second])
        assert shelf.state("a") == "absent"
        assert shelf.toys.device_bytes == 0


@virtual_time
async def test_who_closes_the_progress_of_a_load_gets_on_when_its_memory_is_back() -> None:
    async with shelf_of() as shelf:
        shelf.toys.gates["a"] = asyncio.Event()
        async with aclosing(shelf.load("a")) as loading:
            await anext(loading)
            assert shelf.toys.device_bytes > 0
        assert shelf.toys.device_bytes == 0


@virtual_time
async def test_who_comes_while_a_load_is_being_stopped_begins_another() -> None:
    async with shelf_of() as shelf:
        shelf.toys.gates["a"] = asyncio.Event()
        first = asyncio.create_task(shelf.ask("a"))
        await turns()
        first.cancel()
        second = asyncio.create_task(shelf.ask("a"))
        await turns()
        shelf.toys.gates["a"].set()
        assert await second == "1"
        assert shelf.toys.loads == {"a": 2}


@virtual_time
async def test_a_load_that_failed_is_told_to_all_who_waited_and_tried_again_by_the_next() -> None:
    async with shelf_of() as shelf:
        shelf.toys.files["a"] = "corrupt"
        outcomes = await asyncio.gather(*(shelf.ask("a") for _ in range(5)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [LoadError] * 5
        (status,) = shelf.statuses()
        assert (status.state, status.detail) == ("failed", "a is corrupt.")
        shelf.toys.files["a"] = "2"
        assert await shelf.ask("a") == "2"
        assert shelf.toys.loads == {"a": 2}


@virtual_time
async def test_the_error_of_a_failed_load_holds_nothing_of_what_was_loaded() -> None:
    class Half:
        """Of a model."""

    kept: list[weakref.ref[Half]] = []

    class Failing(ToyLoader):
        async def load(self, key: str, base: Toy | None, options: LoadOptions, tell: Tell) -> Toy:
            half = Half()
            kept.append(weakref.ref(half))
            try:
                await self.pause()
                raise KeyError(key)
            except KeyError as error:
                raise LoadError("It is corrupt.") from error

    async with shelf_of(Failing()) as shelf:
        with pytest.raises(LoadError) as caught:
            await shelf.ask("a")
        assert kept[0]() is None
        assert isinstance(caught.value.__cause__, KeyError)


@virtual_time
async def test_options_hold_from_now_on_if_they_worked() -> None:
    async with shelf_of() as shelf:
        with pytest.raises(InvalidRequestError, match="moon"):
            await shelf.bring("a", LoadOptions(device="moon"))
        assert await shelf.ask("a") == "1"  # and not from the moon
        assert shelf.toys.options["a"] == LoadOptions()
        await shelf.bring("a", LoadOptions(device="toy:0"))
        await shelf.put_away("a")
        await shelf.ask("a")
        assert shelf.toys.options["a"] == LoadOptions(device="toy:0")
        assert shelf.toys.loads == {"a": 4}


@virtual_time
async def test_a_model_that_is_there_in_another_way_is_loaded_anew_and_stays_if_that_fails() -> None:
    async with shelf_of() as shelf:
        await shelf.bring("a")
        first = shelf.versions()["a"]
        with pytest.raises(InvalidRequestError, match="moon"):
            await shelf.bring("a", LoadOptions(device="moon"))
        assert shelf.versions()["a"] is first
        await shelf.bring("a", LoadOptions(device="toy:0"))
        assert shelf.versions()["a"] is not first
        await settled()
        assert first.is_closed


@virtual_time
async def test_who_wants_other_options_than_the_load_under_way_has_it_reloaded() -> None:
    async with shelf_of() as shelf:
        plain = asyncio.create_task(shelf.bring("a"))
        await asyncio.sleep(0)
        await shelf.bring("a", LoadOptions(device="toy:0"))
        await plain
        assert shelf.toys.options["a"] == LoadOptions(device="toy:0")
        assert shelf.toys.loads == {"a": 2}


@virtual_time
async def test_an_adapter_brings_its_base_and_its_progress_counts_on_from_there() -> None:
    async with shelf_of(ToyLoader(bases=ADAPTED)) as shelf:
        told = await shelf.bring("adapter")
        assert told[0] == LoadProgress("load", 0, SIZE, "toy:0", 100)
        assert told[-1] == LoadProgress("load", SIZE + 1, SIZE + 1)
        assert sorted(shelf.versions()) == ["adapter", "base"]
        assert await shelf.ask("another") == "1"
        assert shelf.toys.loads == {"base": 1, "adapter": 1, "another": 1}


@virtual_time
async def test_whatever_is_under_way_ends_when_all_is_cleared() -> None:
    shelf = shelf_of(ToyLoader(bases=ADAPTED, has_processes=True))
    await shelf.bring("aside")
    await shelf.set_aside("aside")
    using = [Using(shelf, key) for key in ("old", "leaving", "adapter", "base")]
    for each in using:
        await each.has_begun.wait()
    await shelf.renew("old")
    await shelf.renew("base")
    leaving = [asyncio.create_task(shelf.put_away(key)) for key in ("leaving", "adapter")]
    shelf.toys.gates["slow"] = asyncio.Event()
    loading = asyncio.create_task(shelf.ask("slow"))
    reloading = asyncio.create_task(shelf.renew("slow"))
    await turns()
    begin = asyncio.get_running_loop().time()
    shelf.toys.is_ending = True
    await shelf.clear()
    assert asyncio.get_running_loop().time() == begin
    assert await asyncio.gather(*leaving) == [True, True]
    for stopped in (loading, reloading):
        with pytest.raises(ProviderError, match="The farm was closed while 'slow' was loading"):
            await stopped
    for each in using:
        each.leave.set()
        await each.task
    await shelf.end()


@virtual_time
async def test_nothing_is_loaded_after_that_and_nobody_makes_room_there() -> None:
    async with shelf_of() as shelf:
        await shelf.bring("a")
        assert len(list(shelf.lifecycle.room._all())) == 1
        await shelf.clear()
        assert shelf.lifecycle.room._idle == []
        for work in (shelf.ask("a"), shelf.bring("b"), shelf.renew("a")):
            with pytest.raises(ProviderError, match="closed"):
                await work
        assert not await shelf.put_away("a")


@virtual_time
async def test_an_old_model_that_nobody_has_begun_to_see_off_goes_too() -> None:
    shelf = shelf_of()
    await shelf.bring("a")
    is_ready = asyncio.Event()
    shelf.lifecycle.journal.listen(lambda event: is_ready.set() if event.state == "ready" else None)
    reload = asyncio.create_task(shelf.renew("a"))
    await is_ready.wait()
    await shelf.clear()
    await asyncio.wait([reload])
    assert len(shelf.toys.toys) == 2
    await shelf.end()


@virtual_time
async def test_a_base_goes_after_the_old_adapters_that_stand_on_it() -> None:
    shelf = shelf_of(ToyLoader(bases=ADAPTED))
    using = Using(shelf, "adapter")
    await using.has_begun.wait()
    await shelf.renew("adapter")
    assert len(shelf.toys.toys) == 3
    shelf.toys.is_ending = True
    await shelf.clear()
    using.leave.set()
    await using.task
    await shelf.end()


@virtual_time
async def test_what_fails_to_close_keeps_nobody_else_open() -> None:
    class Stuck(ToyLoader):
        async def close(self, value: Toy) -> None:
            await super().close(value)
            if value.key == "a":
                raise KeyError("a")

    shelf = shelf_of(Stuck())
    for key in ("a", "b"):
        await shelf.bring(key)
    with pytest.raises(KeyError):
        await shelf.clear()
    await shelf.end()


@virtual_time
async def test_an_old_model_that_fails_to_close_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Stuck(ToyLoader):
        async def close(self, value: Toy) -> None:
            await super().close(value)
            if value.text == "1":
                raise KeyError("it is stuck")

    async with shelf_of(Stuck()) as shelf:
        await shelf.bring("a")
        shelf.toys.files["a"] = "2"
        await shelf.renew("a")
        await settled()
        assert "it is stuck" in caplog.text
