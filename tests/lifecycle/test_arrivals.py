"""How models are put in the place of others, and started again: who works on them notices nothing."""

from __future__ import annotations

import asyncio

import pytest
from toy_loader import SIZE, ToyLoader
from toy_loop import virtual_time
from toy_shelf import ADAPTED, Using, settled, shelf_of, turns

from farm_notebook.errors import InvalidRequestError, LoadError, OutOfMemoryError, ProviderError


@virtual_time
async def test_reload_under_load_drops_doubles_and_mixes_nothing() -> None:
    async with shelf_of(ToyLoader(bases=ADAPTED)) as shelf:
        await shelf.bring("adapter")
        answers: list[tuple[str, str]] = []
        asked = 0
        is_over = False

        async def client(number: int) -> None:
            nonlocal asked
            key = ("base", "adapter")[number % 2]
            last = 0
            while not is_over:
                asked += 1
                text = await shelf.ask(key, words=1 + number % 7)
                assert int(text) >= last  # nobody is answered by older weights than before
                last = int(text)
                answers.append((key, text))

        clients = [asyncio.create_task(client(number)) for number in range(32)]
        for swap in range(2, 202):
            shelf.toys.files["base"] = shelf.toys.files["adapter"] = str(swap)
            await shelf.renew("base")
        is_over = True
        await asyncio.gather(*clients)
        assert len(answers) == asked > 200
        assert shelf.toys.loads == {"base": 201, "adapter": 201}
        assert await shelf.ask("base") == await shelf.ask("adapter") == "201"
        await settled()
        assert shelf.toys.device_bytes == SIZE + 1


@pytest.mark.parametrize("room", [100, 15])
@virtual_time
async def test_a_reload_that_fails_leaves_the_old_model_answering(room: int) -> None:
    async with shelf_of(ToyLoader(room=room)) as shelf:
        await shelf.bring("a")
        old = shelf.versions()["a"]
        shelf.toys.files["a"] = "corrupt"
        with pytest.raises(LoadError, match="corrupt"):
            await shelf.renew("a")
        assert shelf.versions() == {"a": old}
        (status,) = shelf.statuses()
        assert (status.state, status.detail) == ("ready", "not reloaded: a is corrupt.")
        assert status.generation == old.facts.generation
        assert await shelf.ask("a") == "1"
        assert (shelf.toys.device_bytes, shelf.toys.host_bytes) == (SIZE, 0)


@pytest.mark.parametrize("room", [100, 15])
@pytest.mark.parametrize("is_used", [False, True])
@pytest.mark.parametrize("is_stopped_again", [False, True])
@virtual_time
async def test_a_reload_that_is_stopped_anywhere_ends_in_the_old_model_or_the_new_one(
    room: int, is_used: bool, is_stopped_again: bool
) -> None:
    texts = set[str]()
    is_through = False
    stop_after = 0
    while not is_through:
        async with shelf_of(ToyLoader(room=room)) as shelf:
            await shelf.bring("a")
            shelf.toys.files["a"] = "2"
            asking = [asyncio.create_task(shelf.ask("a", words=3)) for _ in range(3 * is_used)]
            reload = asyncio.create_task(shelf.renew("a"))
            await turns(stop_after)
            is_through = reload.done()
            reload.cancel()
            if is_stopped_again:
                await turns(4)
                reload.cancel()
            await asyncio.wait([reload])
            assert [shelf.state(key) for key in shelf.versions()] == ["ready"]
            assert {await task for task in asking} <= {"1", "2"}
            text = await shelf.ask("a")
            await settled()
            assert await shelf.ask("a") == text
            assert (shelf.toys.device_bytes, shelf.toys.host_bytes) == (SIZE, 0)
            texts.add(text)
        stop_after += 1
    assert texts == {"1", "2"}
    assert stop_after > 5


@virtual_time
async def test_where_both_do_not_fit_the_new_one_takes_the_old_ones_place_and_who_asks_waits() -> None:
    async with shelf_of(ToyLoader(room=15)) as shelf:
        shelf.toys.files["a"] = "1"
        async with Using(shelf) as old:
            shelf.toys.files["a"] = "2"
            shelf.toys.gates["a"] = asyncio.Event()
            reload = asyncio.create_task(shelf.renew("a"))
            await turns()
            asking = asyncio.create_task(shelf.ask("a"))
            await turns()
            assert shelf.toys.host_bytes == 0  # somebody still works on it
        await asyncio.sleep(1)
        assert (old.value.place, shelf.toys.host_bytes) == ("host", SIZE)
        assert not asking.done()
        shelf.toys.gates["a"].set()
        await reload
        assert await asking == "2"
        await settled()
        assert (shelf.toys.device_bytes, shelf.toys.host_bytes) == (SIZE, 0)


@virtual_time
async def test_where_the_old_one_does_not_fit_any_more_it_waits_in_host_memory() -> None:
    async with shelf_of(ToyLoader(room=15)) as shelf:
        await shelf.bring("a")
        old = shelf.versions()["a"]
        shelf.toys.files["a"] = "corrupt"
        shelf.toys.gates["a"] = asyncio.Event()
        reload = asyncio.create_task(shelf.renew("a"))
        await turns()
        shelf.toys.room = 5  # somebody else took it
        shelf.toys.gates["a"].set()
        with pytest.raises(LoadError, match="corrupt"):
            await reload
        (status,) = shelf.statuses()
        assert (status.state, status.devices) == ("aside", ("cpu",))
        with pytest.raises(OutOfMemoryError):
            await shelf.ask("a")
        assert shelf.state("a") == "aside"
        shelf.toys.room = 15
        assert await shelf.ask("a") == "1"
        assert shelf.versions() == {"a": old}


@pytest.mark.parametrize("why", ["leased", "cannot park", "host"])
@virtual_time
async def test_a_model_that_cannot_be_moved_and_does_not_fit_twice_answers_as_before(why: str) -> None:
    loader = ToyLoader(room=15)
    async with shelf_of(loader) as shelf:
        await shelf.bring("a")
        old = shelf.versions()["a"]
        loader.can_park, loader.is_host = why != "cannot park", why == "host"
        async with shelf.lease("a") as leased:
            if why != "leased":
                leased.leases -= 1
            with pytest.raises((OutOfMemoryError, LoadError)):
                await shelf.renew("a")
            if why != "leased":
                leased.leases += 1
            assert leased.value.place == "device"
        assert shelf.versions() == {"a": old}
        assert await shelf.ask("a") == "1"


@virtual_time
async def test_what_was_set_aside_goes_once_its_new_files_work() -> None:
    async with shelf_of() as shelf:
        await shelf.bring("a")
        await shelf.set_aside("a")
        shelf.toys.files["a"] = "corrupt"
        with pytest.raises(LoadError):
            await shelf.renew("a")
        assert shelf.state("a") == "aside"
        shelf.toys.files["a"] = "2"
        await shelf.renew("a")
        assert await shelf.ask("a") == "2"
        await settled()
        assert (shelf.toys.device_bytes, shelf.toys.host_bytes) == (SIZE, 0)


@virtual_time
async def test_a_model_that_is_not_there_is_loaded() -> None:
    async with shelf_of() as shelf:
        await shelf.renew("a")
        assert shelf.state("a") == "ready"


@virtual_time
async def test_answers_of_the_old_model_are_ended_at_once_where_that_is_wanted() -> None:
    async with shelf_of() as shelf:
        using = Using(shelf)
        old = await using.__aenter__()
        await shelf.renew("a", drain_s=0)
        await using.task
        assert old.value.interrupts == 1
        await settled()
        assert old.is_closed


@virtual_time
async def test_an_old_base_stays_until_nothing_stands_on_it() -> None:
    async with shelf_of(ToyLoader(bases=ADAPTED)) as shelf:
        await shelf.bring("another")
        async with Using(shelf, "adapter") as adapter:
            assert adapter.base is not None
            await shelf.renew("base", drain_s=300)
            assert shelf.versions()["adapter"].base is shelf.versions()["base"]
            assert shelf.versions()["another"].base is shelf.versions()["base"]
            await asyncio.sleep(10)
            assert shelf.toys.device_bytes == 2 * SIZE + 3
        await settled()
        assert adapter.base.is_closed
        assert shelf.toys.device_bytes == SIZE + 2


@virtual_time
async def test_an_adapter_that_does_not_fit_its_new_base_goes_on_with_the_old_one() -> None:
    async with shelf_of(ToyLoader(bases=ADAPTED)) as shelf:
        await shelf.bring("adapter")
        await shelf.bring("another")
        old = shelf.versions()
        shelf.toys.files["adapter"] = "corrupt"
        with pytest.raises(LoadError, match="adapter is corrupt"):
            await shelf.renew("base")
        await settled()
        new = shelf.versions()
        assert new["base"] is not old["base"]
        assert new["adapter"] is old["adapter"]
        assert new["another"].base is new["base"]
        assert await shelf.ask("adapter") == "1"
        await shelf.put_away("adapter")
        await settled()
        assert old["base"].is_closed


@virtual_time
async def test_an_adapter_that_came_to_the_new_base_by_itself_is_not_loaded_twice() -> None:
    async with shelf_of(ToyLoader(bases=ADAPTED)) as shelf:
        await shelf.bring("adapter")
        await shelf.bring("another")
        await shelf.put_away("another")
        shelf.toys.gates["adapter"] = asyncio.Event()
        reload = asyncio.create_task(shelf.renew("base"))
        await turns()
        await shelf.bring("another")
        shelf.toys.gates["adapter"].set()
        await reload
        assert shelf.toys.loads == {"base": 2, "adapter": 2, "another": 2}


@virtual_time
async def test_an_adapter_that_is_not_in_memory_is_not_brought_there_by_its_base() -> None:
    async with shelf_of(ToyLoader(bases=ADAPTED)) as shelf:
        await shelf.bring("adapter")
        await shelf.put_away("adapter")
        await shelf.renew("base")
        assert shelf.toys.loads == {"base": 2, "adapter": 1}


@virtual_time
async def test_where_a_base_does_not_fit_twice_what_stands_on_it_goes_and_comes_when_asked_for() -> None:
    async with shelf_of(ToyLoader(room=15, bases=ADAPTED)) as shelf:
        await shelf.bring("adapter")
        await shelf.renew("base")
        assert list(shelf.versions()) == ["base"]
        assert await shelf.ask("adapter") == "1"


@virtual_time
async def test_who_has_an_adapter_in_hand_keeps_its_base_from_being_moved() -> None:
    async with shelf_of(ToyLoader(room=15, bases=ADAPTED)) as shelf, shelf.lease("adapter"):
        with pytest.raises(OutOfMemoryError):
            await shelf.renew("base")
        with pytest.raises(InvalidRequestError, match="toy:base cannot be moved: it is leased 1 times"):
            await shelf.set_aside("base")
        with pytest.raises(InvalidRequestError, match="toy:adapter cannot be moved"):
            await shelf.set_aside("adapter")
        assert sorted(shelf.versions()) == ["adapter", "base"]


@virtual_time
async def test_two_reloads_of_one_model_come_one_after_the_other() -> None:
    async with shelf_of() as shelf:
        await shelf.bring("a")
        await asyncio.gather(*(shelf.renew("a") for _ in range(3)))
        assert shelf.toys.loads == {"a": 4}


@virtual_time
async def test_a_model_whose_process_dies_is_started_again_once_and_then_reported() -> None:
    async with shelf_of(ToyLoader(has_processes=True)) as shelf:
        await shelf.bring("a")
        shelf.toys.kill(shelf.toys.toys[-1])
        await settled()
        assert shelf.state("a") == "ready"
        assert shelf.toys.loads == {"a": 2}
        assert [event.detail for event in shelf.lifecycle.journal.events() if event.state == "failed"] == [
            "The process of a died (signal 9, SIGKILL). It is started again."
        ]
        shelf.toys.kill(shelf.toys.toys[-1])
        await settled()
        (status,) = shelf.statuses()
        assert status.state == "failed"
        assert status.detail.endswith("That was just after it was started again; the next request does.")
        assert shelf.toys.loads == {"a": 2}
        assert shelf.toys.device_bytes == 0  # what was left of them was cleared away
        assert await shelf.ask("a") == "1"


@virtual_time
async def test_a_model_that_answered_since_is_started_again_every_time() -> None:
    async with shelf_of(ToyLoader(has_processes=True)) as shelf:
        for loads in range(1, 5):
            assert await shelf.ask("a") == "1"
            assert shelf.toys.loads == {"a": loads}
            shelf.toys.kill(shelf.toys.toys[-1])
            await settled()
            assert shelf.state("a") == "ready"


@virtual_time
async def test_who_was_being_answered_by_a_process_that_died_is_told_and_the_next_is_answered() -> None:
    async with shelf_of(ToyLoader(has_processes=True)) as shelf:
        await shelf.bring("a")
        asking = asyncio.create_task(shelf.ask("a", words=50))
        await turns(5)
        shelf.toys.kill(shelf.toys.toys[-1])
        with pytest.raises(ProviderError, match="interrupted"):
            await asking
        assert await shelf.ask("a") == "1"
        assert shelf.toys.loads == {"a": 2}


@virtual_time
async def test_a_process_that_dies_while_its_model_is_on_its_way_out_does_not_bring_it_back() -> None:
    async with shelf_of(ToyLoader(has_processes=True)) as shelf:
        async with Using(shelf) as version:
            leaving = asyncio.create_task(shelf.put_away("a"))
            await turns()
            shelf.toys.kill(version.value)
            await turns()
        assert await leaving
        await settled()
        assert shelf.state("a") == "absent"
        assert shelf.toys.loads == {"a": 1}


@virtual_time
async def test_a_process_that_died_is_not_put_back_where_its_going_was_stopped() -> None:
    async with shelf_of(ToyLoader(has_processes=True)) as shelf:
        async with Using(shelf) as version:
            leaving = asyncio.create_task(shelf.put_away("a"))
            await turns()
            shelf.toys.kill(version.value)
            await turns()
            leaving.cancel()
            await asyncio.wait([leaving])
            assert shelf.state("a") == "failed"
        assert await shelf.ask("a") == "1"
        await settled()
        assert version.is_closed


@virtual_time
async def test_a_model_that_cannot_be_started_again_is_reported() -> None:
    async with shelf_of(ToyLoader(has_processes=True)) as shelf:
        await shelf.bring("a")
        shelf.toys.files["a"] = "corrupt"
        shelf.toys.kill(shelf.toys.toys[-1])
        await settled()
        (status,) = shelf.statuses()
        assert (status.state, status.detail) == ("failed", "a is corrupt.")
