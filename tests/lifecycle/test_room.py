"""Room in memory: places for loads, and idle models that make some."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from toy_loop import virtual_time

from farm_notebook.config import ModelsConfig
from farm_notebook.devices import ledger
from farm_notebook.devices.placement import SPARE_BYTES
from farm_notebook.errors import InvalidRequestError, OutOfMemoryError
from farm_notebook.lifecycle.room import Idle, Room
from farm_notebook.lifecycle.version import Facts
from farm_notebook.types import DeviceStats, ModelRef

GIB = 1 << 30


def ref(name: str) -> ModelRef:
    return ModelRef("toy", name)


class Machine:
    """Devices with models in them.

    Args:
        devices: Ids and bytes of memory.
        settings: Of models.
        pinned: Names of models.
    """

    def __init__(
        self, devices: dict[str, int], settings: ModelsConfig | None = None, pinned: Iterable[str] = ()
    ) -> None:
        self.devices = {name: size + SPARE_BYTES for name, size in devices.items()}
        self.models: dict[str, Idle] = {}
        self.gone: list[str] = []
        self.busy = set[str]()
        self.settings = settings or ModelsConfig()
        self.room = Room(lambda: self.settings, lambda each: each.model in set(pinned), self.stats)
        self.leave = self.room.add(lambda: list(self.models.values()))

    def put(
        self,
        name: str,
        size: int | None,
        device: str = "cuda:0",
        *,
        idle_s: float = 1.0,
        is_aside: bool = False,
    ) -> None:
        async def give_up() -> bool:
            await asyncio.sleep(0)
            if name in self.busy or name not in self.models:
                return False
            del self.models[name]
            self.gone.append(name)
            return True

        self.models[name] = Idle(ref(name), Facts(1, size, (device,)), idle_s, is_aside, give_up)

    def stats(self) -> tuple[DeviceStats, ...]:
        used = dict.fromkeys(self.devices, 0)
        for model in self.models.values():
            for device in model.devices:
                used[device] = used.get(device, 0) + (model.facts.size_bytes or GIB)
        return tuple(
            DeviceStats(
                name, "cpu" if name == "cpu" else "cuda", name, size, used[name], max(0, size - used[name])
            )
            for name, size in self.devices.items()
        )

    async def load(self, size: int, wanted: str = "auto") -> tuple[str, int]:
        async with self.room.berth(ref("new"), size, wanted=wanted) as berth:
            return berth.devices, berth.free_bytes


def gpu(settings: ModelsConfig | None = None, *, pinned: Iterable[str] = ()) -> Machine:
    return Machine({"cuda:0": 10 * GIB, "cpu": 40 * GIB}, settings, pinned)


EVICT = ModelsConfig(evict=True)


@virtual_time
async def test_a_load_is_told_where_it_goes_and_what_is_free_there() -> None:
    assert await gpu().load(4 * GIB) == ("cuda:0", 10 * GIB)
    assert await gpu().load(4 * GIB, "cpu") == ("cpu", 40 * GIB)


@virtual_time
async def test_a_place_is_kept_from_other_loads_until_the_load_has_ended() -> None:
    machine = gpu()
    async with machine.room.berth(ref("a"), 6 * GIB) as berth:
        with pytest.raises(OutOfMemoryError, match="reserved for other loads"):
            await machine.load(6 * GIB)
        berth.booking.placed(3 * GIB)
        assert ledger.reserved("cuda:0") == 3 * GIB
    assert ledger.reserved("cuda:0") == 0
    await machine.load(6 * GIB)


@virtual_time
async def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="moon"):
        await gpu(EVICT).load(1, "moon")


@virtual_time
async def test_where_nothing_may_be_given_up_the_error_says_what_could_be() -> None:
    machine = gpu()
    for number in range(5):
        machine.put(f"m{number}", 2 * GIB, idle_s=number)
    with pytest.raises(OutOfMemoryError) as caught:
        await machine.load(4 * GIB)
    text = str(caught.value)
    assert text.startswith("toy:new does not fit. ")
    assert "Idle now: toy:m4 (2.1 GB), toy:m3 (2.1 GB), toy:m2 (2.1 GB) and 2 more; `%farm unload`" in text
    assert machine.gone == []


@virtual_time
async def test_where_nobody_is_idle_the_error_names_none() -> None:
    machine = gpu()
    with pytest.raises(OutOfMemoryError) as caught:
        await machine.load(11 * GIB)
    assert "Idle now" not in str(caught.value)


@virtual_time
async def test_the_longest_idle_goes_first_and_no_more_go_than_are_needed() -> None:
    machine = gpu(EVICT)
    for name, idle_s in (("a", 5.0), ("b", 50.0), ("c", 20.0), ("d", 1.0)):
        machine.put(name, 2 * GIB, idle_s=idle_s)
    await machine.load(5 * GIB)
    assert machine.gone == ["b", "c"]


@virtual_time
async def test_what_is_pinned_is_never_given_up() -> None:
    machine = gpu(EVICT, pinned=["a"])
    machine.put("a", 8 * GIB, idle_s=50)
    machine.put("b", 1 * GIB)
    with pytest.raises(OutOfMemoryError) as caught:
        await machine.load(5 * GIB)
    assert "toy:a" not in str(caught.value)
    assert machine.gone == []


@virtual_time
async def test_nobody_is_given_up_for_what_would_not_fit_all_the_same() -> None:
    machine = gpu(EVICT)
    machine.put("a", 2 * GIB)
    machine.put("b", 2 * GIB)
    with pytest.raises(OutOfMemoryError):
        await machine.load(11 * GIB)
    assert machine.gone == []


@virtual_time
async def test_what_loads_under_way_will_take_counts_there_too() -> None:
    machine = gpu(EVICT)
    machine.put("a", 2 * GIB)
    async with machine.room.berth(ref("other"), 5 * GIB):
        with pytest.raises(OutOfMemoryError):
            await machine.load(6 * GIB)
        assert machine.gone == []
        await machine.load(5 * GIB)
    assert machine.gone == ["a"]


@virtual_time
async def test_a_model_of_unknown_size_may_be_worth_it() -> None:
    machine = gpu(EVICT)
    machine.put("a", None)
    await machine.load(10 * GIB)
    assert machine.gone == ["a"]


@virtual_time
async def test_who_is_in_use_by_now_is_passed_over() -> None:
    machine = gpu(EVICT)
    machine.put("a", 5 * GIB, idle_s=50)
    machine.put("b", 5 * GIB)
    machine.busy.add("a")
    await machine.load(5 * GIB)
    assert machine.gone == ["b"]
    with pytest.raises(OutOfMemoryError):
        await machine.load(6 * GIB)


@virtual_time
async def test_only_those_on_the_device_that_is_wanted_go() -> None:
    machine = Machine({"cuda:0": 4 * GIB, "cuda:1": 4 * GIB, "cpu": 4 * GIB}, EVICT)
    machine.put("zero", 3 * GIB, "cuda:0", idle_s=50)
    machine.put("one", 3 * GIB, "cuda:1", idle_s=40)
    machine.put("host", 3 * GIB, "cpu", idle_s=60)
    await machine.load(2 * GIB, "cuda:1")
    assert machine.gone == ["one"]
    await machine.load(4 * GIB, "cpu")
    assert machine.gone == ["one", "host"]
    await machine.load(8 * GIB, "cuda")  # spread over both
    assert machine.gone == ["one", "host", "zero"]


@virtual_time
async def test_what_is_aside_makes_room_in_host_memory_first_and_whatever_the_settings() -> None:
    machine = Machine({"cpu": 10 * GIB})
    machine.put("a", 5 * GIB, "cpu", idle_s=50)
    machine.put("b", 5 * GIB, "cpu", idle_s=1, is_aside=True)
    await machine.load(4 * GIB)
    assert machine.gone == ["b"]
    with pytest.raises(OutOfMemoryError, match="Idle now: toy:a"):
        await machine.load(6 * GIB)
    machine.settings = EVICT
    await machine.load(6 * GIB)
    assert machine.gone == ["b", "a"]


@virtual_time
async def test_what_is_aside_does_not_go_for_a_load_to_a_gpu() -> None:
    machine = gpu(EVICT)
    machine.put("a", 5 * GIB, is_aside=True)
    with pytest.raises(OutOfMemoryError):
        await machine.load(11 * GIB)
    assert machine.gone == []


@virtual_time
async def test_two_loads_give_up_one_model_between_them_where_that_is_enough() -> None:
    machine = gpu(EVICT)
    machine.put("a", 4 * GIB, idle_s=50)
    machine.put("b", 4 * GIB)
    loaded = asyncio.Event()

    async def load() -> None:
        async with machine.room.berth(ref("new"), 3 * GIB):
            await loaded.wait()

    loads = [asyncio.create_task(load()) for _ in range(2)]
    for _ in range(20):
        await asyncio.sleep(0)
    assert machine.gone == ["a"]
    loaded.set()
    await asyncio.gather(*loads)


@virtual_time
async def test_who_stops_waiting_for_his_turn_keeps_nobody_else_waiting() -> None:
    machine = gpu(EVICT)
    machine.put("a", 10 * GIB)
    first, second = (asyncio.create_task(machine.load(8 * GIB)) for _ in range(2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    assert await second == ("cuda:0", 10 * GIB)
    assert ledger.reserved("cuda:0") == 0


@virtual_time
async def test_a_shelf_that_left_is_not_asked() -> None:
    machine = gpu(EVICT)
    machine.put("a", 10 * GIB)
    machine.leave()
    machine.leave()
    with pytest.raises(OutOfMemoryError):
        await machine.load(8 * GIB)


@pytest.mark.parametrize(
    ("bound", "gone"),
    [
        (10, []),
        (9, ["old"]),
        (6, ["old"]),
        (5, ["old", "middle"]),
        (0, ["old", "middle", "new"]),
    ],
)
@virtual_time
async def test_what_was_set_aside_beyond_the_bound_goes_the_longest_idle_first(
    bound: int, gone: list[str]
) -> None:
    machine = gpu(ModelsConfig(warm_bytes=bound * GIB))
    machine.put("ready", 9 * GIB, idle_s=99)
    for name, size, idle_s in (("new", 2, 1), ("old", 4, 30), ("middle", 4, 20)):
        machine.put(name, size * GIB, idle_s=idle_s, is_aside=True)
    await machine.room.trim()
    assert machine.gone == gone


@virtual_time
async def test_the_bound_is_a_quarter_of_host_memory_if_nothing_else_is_said() -> None:
    machine = gpu()
    machine.put("old", 6 * GIB, idle_s=30, is_aside=True)
    machine.put("new", 4 * GIB, is_aside=True)
    await machine.room.trim()
    assert machine.gone == []
    machine.put("more", 1 * GIB, is_aside=True)
    await machine.room.trim()
    assert machine.gone == ["old"]


@virtual_time
async def test_what_is_pinned_or_in_use_stays_aside_and_others_go_for_it() -> None:
    machine = gpu(ModelsConfig(warm_bytes=5 * GIB), pinned=["pinned"])
    machine.put("pinned", 4 * GIB, idle_s=30, is_aside=True)
    machine.put("busy", 1 * GIB, idle_s=20, is_aside=True)
    machine.put("other", 3 * GIB, idle_s=10, is_aside=True)
    machine.busy.add("busy")
    await machine.room.trim()
    assert machine.gone == ["other"]
