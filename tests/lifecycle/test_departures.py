"""How models are given up, and set aside in host memory, while they are in use."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest
from toy_loader import SIZE, Toy, ToyLoader
from toy_loop import virtual_time
from toy_shelf import ADAPTED, Using, settled, shelf_of, turns

from farm_notebook.errors import InvalidRequestError, LoadError, ModelUnloadedError
from farm_notebook.lifecycle.job import Tell
from farm_notebook.types import LoadOptions, ModelEvent


@virtual_time
async def test_a_model_is_given_up_once_nobody_works_on_it_and_loaded_anew_for_who_comes_meanwhile() -> None:
    async with shelf_of() as shelf:
        async with Using(shelf) as version:
            leaving = asyncio.create_task(shelf.put_away("a"))
            await turns()
            (status,) = shelf.statuses()
            assert (status.state, status.users, status.size_bytes) == ("draining", 1, SIZE)
            asking = asyncio.create_task(shelf.ask("a"))
            await turns()
            assert not version.is_closed
        assert await leaving
        assert await asking == "1"
        assert shelf.toys.loads == {"a": 2}


@virtual_time
async def test_who_works_on_a_model_for_too_long_is_interrupted() -> None:
    async with shelf_of(drain_s=20) as shelf:
        using = Using(shelf)
        await using.__aenter__()
        begin = asyncio.get_running_loop().time()
        assert await shelf.put_away("a")
        assert 20 <= asyncio.get_running_loop().time() - begin < 25
        await using.task


@virtual_time
async def test_who_does_not_look_after_that_is_not_waited_for() -> None:
    async with shelf_of(drain_s=0) as shelf, shelf.hold("a") as version:
        assert await shelf.put_away("a")
        assert version.is_closed


@virtual_time
async def test_a_second_call_can_end_the_answers_that_the_first_waits_for() -> None:
    async with shelf_of() as shelf:
        using = Using(shelf)
        await using.__aenter__()
        first = asyncio.create_task(shelf.put_away("a"))
        await turns()
        await shelf.interrupt("a")
        assert await first
        assert not await shelf.put_away("a")
        await using.task


@virtual_time
async def test_who_stops_waiting_for_a_model_to_go_leaves_it_as_it_was() -> None:
    async with shelf_of() as shelf:
        async with Using(shelf) as version:
            leaving = asyncio.create_task(shelf.put_away("a"))
            await turns()
            asking = asyncio.create_task(shelf.ask("a"))
            await turns()
            leaving.cancel()
            await asyncio.wait([leaving])
            assert shelf.versions() == {"a": version}
            assert await asking == "1"
        assert shelf.toys.loads == {"a": 1}


@virtual_time
async def test_what_is_not_there_is_not_given_up_and_a_failure_is_forgotten() -> None:
    async with shelf_of() as shelf:
        assert not await shelf.put_away("a")
        shelf.toys.files["a"] = "corrupt"
        with pytest.raises(LoadError):
            await shelf.bring("a")
        assert not await shelf.put_away("a")
        assert shelf.statuses() == []


@virtual_time
async def test_a_load_under_way_is_stopped_with_an_error_for_those_who_wait_for_it() -> None:
    async with shelf_of() as shelf:
        shelf.toys.gates["a"] = asyncio.Event()
        asking = [asyncio.create_task(shelf.ask("a")) for _ in range(3)]
        await turns()
        assert await shelf.put_away("a")
        for error in await asyncio.gather(*asking, return_exceptions=True):
            assert isinstance(error, ModelUnloadedError)
        assert (shelf.statuses(), shelf.toys.device_bytes) == ([], 0)
        shelf.toys.gates.clear()
        assert await shelf.ask("a")


@virtual_time
async def test_a_base_takes_along_what_stands_on_it() -> None:
    async with shelf_of(ToyLoader(bases=ADAPTED)) as shelf:
        await shelf.bring("adapter")
        await shelf.bring("another")
        assert await shelf.put_away("base")
        assert shelf.versions() == {}
        assert shelf.toys.device_bytes == 0


@virtual_time
async def test_a_base_that_goes_waits_for_an_adapter_that_is_on_its_way() -> None:
    async with shelf_of(ToyLoader(bases=ADAPTED)) as shelf:
        shelf.toys.gates["adapter"] = asyncio.Event()
        await shelf.bring("base")
        asking = asyncio.create_task(shelf.ask("adapter"))
        await turns()
        leaving = asyncio.create_task(shelf.put_away("base", drain_s=0))
        await settled()
        assert not leaving.done()
        shelf.toys.gates["adapter"].set()
        assert await asking == "1"
        assert await leaving


@virtual_time
async def test_what_is_idle_is_given_up_at_once_or_not_at_all() -> None:
    async with shelf_of(ToyLoader(bases=ADAPTED)) as shelf:
        await shelf.bring("a")
        await shelf.bring("adapter")
        assert [idle.ref.model for idle in shelf.idle()] == ["a", "adapter"]  # and not what that stands on
        idle, adapter = shelf.idle()
        async with Using(shelf):
            assert not await idle.give_up()
            assert [idle.ref.model for idle in shelf.idle()] == ["adapter"]
            leaving = asyncio.create_task(shelf.put_away("a"))
            await turns()
            assert not await idle.give_up()
        assert await leaving
        assert not await idle.give_up()
        async with shelf.lease("adapter"):
            assert not await adapter.give_up()
        assert await adapter.give_up()
        assert [idle.ref.model for idle in shelf.idle()] == ["base"]


@virtual_time
async def test_a_model_that_was_just_loaded_for_somebody_is_not_idle_before_he_has_it() -> None:
    async with shelf_of() as shelf:
        idle_when_ready: list[int] = []

        def ready(event: ModelEvent) -> None:
            if event.state == "ready":
                asyncio.get_running_loop().call_soon(lambda: idle_when_ready.append(len(shelf.idle())))

        shelf.lifecycle.journal.listen(ready)
        await shelf.ask("a")
        assert idle_when_ready == [0]
        assert len(shelf.idle()) == 1


@virtual_time
async def test_what_was_set_aside_comes_back_without_a_load() -> None:
    async with shelf_of() as shelf:
        await shelf.bring("a")
        version = shelf.versions()["a"]
        assert await shelf.set_aside("a")
        assert await shelf.set_aside("a")
        (status,) = shelf.statuses()
        assert (status.state, status.devices, status.size_bytes) == ("aside", ("cpu",), SIZE)
        assert (shelf.toys.device_bytes, shelf.toys.host_bytes) == (0, SIZE)
        assert [idle.is_aside for idle in shelf.idle()] == [True]
        assert await shelf.ask("a") == "1"
        assert shelf.versions() == {"a": version}
        assert shelf.toys.loads == {"a": 1}
        assert not await shelf.set_aside("b")


@virtual_time
async def test_what_was_set_aside_is_loaded_anew_for_other_options() -> None:
    async with shelf_of() as shelf:
        await shelf.bring("a")
        await shelf.set_aside("a")
        await shelf.bring("a", LoadOptions(device="toy:0"))
        await settled()
        assert shelf.toys.loads == {"a": 2}
        assert shelf.toys.host_bytes == 0


@virtual_time
async def test_what_cannot_be_moved_answers_as_before() -> None:
    async with shelf_of() as shelf:
        await shelf.bring("a")
        version = shelf.versions()["a"]
        shelf.toys.can_park = False
        with pytest.raises(LoadError):
            await shelf.set_aside("a")
        async with shelf.lease("a"):
            with pytest.raises(InvalidRequestError, match="it is leased 1 times"):
                await shelf.set_aside("a")
        assert shelf.versions() == {"a": version}
        assert await shelf.ask("a") == "1"


@virtual_time
async def test_who_stops_the_setting_aside_leaves_a_model_that_answers() -> None:
    is_through = False
    stop_after = 0
    while not is_through:
        async with shelf_of() as shelf:
            await shelf.bring("a")
            moving = asyncio.create_task(shelf.set_aside("a"))
            await turns(stop_after)
            is_through = moving.done()
            moving.cancel()
            await asyncio.wait([moving])
            assert await shelf.ask("a") == "1"
            assert shelf.toys.loads == {"a": 1}
        stop_after += 1


@virtual_time
async def test_an_adapter_is_set_aside_with_its_base_unless_others_have_that() -> None:
    async with shelf_of(ToyLoader(bases=ADAPTED)) as shelf:
        await shelf.bring("adapter")
        assert await shelf.set_aside("adapter")
        assert (shelf.state("adapter"), shelf.state("base")) == ("absent", "aside")
        await shelf.bring("adapter")
        await shelf.bring("another")
        assert not await shelf.set_aside("adapter")
        assert (shelf.state("adapter"), shelf.state("base")) == ("absent", "ready")
        assert shelf.toys.loads["base"] == 1


@virtual_time
async def test_a_base_is_not_moved_from_who_took_an_adapter_in_hand_while_others_were_waited_for() -> None:
    async with shelf_of(ToyLoader(bases=ADAPTED)) as shelf:
        await shelf.bring("adapter")
        async with Using(shelf, "base") as base:
            moving = asyncio.create_task(shelf.set_aside("base"))
            await turns()
            held = shelf.lease("adapter")
            await held.__aenter__()
        with pytest.raises(InvalidRequestError, match="toy:base cannot be moved"):
            await moving
        assert shelf.versions() == {"base": base}
        await held.__aexit__(None, None, None)
        assert await shelf.set_aside("base")


@pytest.mark.parametrize("room", [100, 15])
@virtual_time
async def test_nothing_here_keeps_what_was_given_up_or_replaced(room: int) -> None:
    class Weights(Toy):
        """That are gone as soon as nobody refers to them."""

    kept: list[weakref.ref[Toy]] = []

    class Forgetting(ToyLoader):
        async def load(self, key: str, base: Toy | None, options: LoadOptions, tell: Tell) -> Toy:
            await super().load(key, base, options, tell)
            self.toys.clear()
            toy = Weights(key, self.files.get(key, "1"), base)
            kept.append(weakref.ref(toy))
            return toy

    gc.collect()
    gc.disable()  # no cycle may have to be found first
    try:
        async with shelf_of(Forgetting(room=room)) as shelf:
            await shelf.ask("a")
            shelf.toys.files["a"] = "2"
            await shelf.renew("a")
            await settled()
            assert [toy() is None for toy in kept] == [True, False]
            shelf.toys.files["a"] = "corrupt"
            with pytest.raises(LoadError):
                await shelf.renew("a")
            await shelf.set_aside("a")
            await shelf.ask("a")
            moving = asyncio.create_task(shelf.set_aside("a"))
            await asyncio.sleep(0)
            moving.cancel()
            await asyncio.wait([moving])
            del moving  # whose error knows the way it came
            assert await shelf.put_away("a")
            assert [toy() is None for toy in kept] == [True, True]
    finally:
        gc.enable()


@virtual_time
async def test_an_interrupt_is_brought_to_its_end_whoever_stops_waiting_for_it() -> None:
    ended: list[str] = []

    class Slow(ToyLoader):
        async def interrupt(self, value: Toy) -> None:
            await super().interrupt(value)
            await asyncio.sleep(1)
            ended.append(value.key)

    async with shelf_of(Slow()) as shelf:
        using = Using(shelf)
        await using.__aenter__()
        interrupting = asyncio.create_task(shelf.interrupt("a"))
        await asyncio.sleep(0.5)
        interrupting.cancel()
        await asyncio.wait([interrupting])
        assert ended == ["a"]
        await using.task


@virtual_time
async def test_what_is_closed_already_is_not_interrupted() -> None:
    class Slow(ToyLoader):
        async def close(self, value: Toy) -> None:
            await asyncio.sleep(1)
            await super().close(value)

    async with shelf_of(Slow(), drain_s=0) as shelf, shelf.hold("a"):  # who does not look
        leaving = asyncio.create_task(shelf.put_away("a"))
        await asyncio.sleep(5.5)  # it is waited for in vain
        assert shelf.state("a") == "unloading"
        await shelf.interrupt("a")
        assert await leaving


@virtual_time
async def test_a_model_that_is_being_reloaded_makes_no_room_for_another() -> None:
    async with shelf_of() as shelf:
        await shelf.bring("a")
        (idle,) = shelf.idle()
        shelf.toys.gates["a"] = asyncio.Event()
        reload = asyncio.create_task(shelf.renew("a"))
        await turns()
        assert shelf.idle() == []
        assert not await idle.give_up()  # or it would wait for a load that may wait for it
        shelf.toys.gates["a"].set()
        await reload
