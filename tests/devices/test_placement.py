"""Where models are put, and that loads that are under way never promise the same memory twice."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Barrier, Thread

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from farm_notebook.devices import SPARE_BYTES, Ledger, Placement, place
from farm_notebook.errors import InvalidRequestError, OutOfMemoryError
from farm_notebook.types import DeviceKind, DeviceStats

GB = 10**9


def device(device_id: str, free: int, total: int = 1000, kind: DeviceKind | None = None) -> DeviceStats:
    found: DeviceKind = kind or ("cuda" if device_id.startswith("cuda") else "cpu")
    return DeviceStats(device_id, found, "a device", max(free, total), max(free, total) - free, free)


CPU = device("cpu", 500)


@st.composite
def machines(draw: st.DrawFn) -> tuple[DeviceStats, ...]:
    gpus = draw(st.lists(st.integers(0, 100), max_size=4))
    return (*(device(f"cuda:{number}", free, 100) for number, free in enumerate(gpus)), CPU)


def test_the_accelerator_with_the_most_free_memory_is_taken() -> None:
    devices = (device("cuda:0", 60), device("cuda:1", 90), device("cuda:2", 80), CPU)
    assert place(50, devices, spare_bytes=10) == Placement((("cuda:1", 50),), (("cuda:1", 80),))


def test_of_equal_devices_the_first_is_taken() -> None:
    assert place(5, (device("cuda:0", 60), device("cuda:1", 60)), spare_bytes=0).device_ids == ("cuda:0",)


def test_what_is_reserved_is_not_free() -> None:
    devices = (device("cuda:0", 60), device("cuda:1", 90))
    found = place(50, devices, spare_bytes=0, reserved={"cuda:0": 0, "cuda:1": 40}.__getitem__)
    assert found.device_ids == ("cuda:0",)


def test_a_model_that_is_too_large_for_one_is_spread_over_as_few_as_will_do() -> None:
    devices = (device("cuda:0", 40), device("cuda:1", 10), device("cuda:2", 60))
    found = place(85, devices, spare_bytes=5)
    assert found.shares == (("cuda:0", 35), ("cuda:2", 50)), "filled in the order of their numbers"
    assert found.rooms == (("cuda:0", 35), ("cuda:2", 55))


def test_a_model_may_fill_its_devices_to_the_last_byte() -> None:
    devices = (device("cuda:0", 40), device("cuda:1", 30))
    assert place(35, devices, spare_bytes=5).shares == (("cuda:0", 35),)
    assert place(60, devices, spare_bytes=5).shares == (("cuda:0", 35), ("cuda:1", 25))
    with pytest.raises(OutOfMemoryError):
        place(61, devices, spare_bytes=5)


def test_what_accelerate_is_given_are_the_rooms() -> None:
    spread = place(85, (device("cuda:0", 40), device("cuda:1", 10), device("cuda:2", 60)), spare_bytes=5)
    assert spread.max_memory == {0: 35, 2: 55}
    assert spread.device_map == "sequential"
    alone = place(5, (CPU,), spare_bytes=0)
    assert (alone.max_memory, alone.device_map) == ({"cpu": 500}, {"": "cpu"})


def test_without_an_accelerator_the_cpu_is_taken() -> None:
    assert place(5, (CPU,), spare_bytes=0).device_ids == ("cpu",)
    lost = DeviceStats("cuda:0", "cuda", "a device", 0, 0, 0, detail="GPU is lost")
    assert place(5, (lost, CPU), spare_bytes=0).device_ids == ("cpu",)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("cuda:0", ("cuda:0",)),
        ("cuda:1", ("cuda:1",)),
        ("cuda", ("cuda:1",)),
        ("cpu", ("cpu",)),
        ("auto", ("cuda:1",)),
    ],
)
def test_only_a_device_that_is_wanted_is_taken(wanted: str, found: tuple[str, ...]) -> None:
    devices = (device("cuda:0", 60), device("cuda:1", 90), CPU)
    assert place(50, devices, wanted=wanted, spare_bytes=0).device_ids == found


@pytest.mark.parametrize("wanted", ["rocm", "cuda"])
def test_a_rocm_device_goes_by_both_names(wanted: str) -> None:
    assert place(5, (device("cuda:0", 60, kind="rocm"), CPU), wanted=wanted, spare_bytes=0).device_ids == (
        "cuda:0",
    )


def test_a_device_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(InvalidRequestError, match=r"no device 'cuda:7'\. Valid: auto, cuda:0, cpu\."):
        place(5, (device("cuda:0", 60), CPU), wanted="cuda:7")
    with pytest.raises(InvalidRequestError, match="no device 'rocm'"):
        place(5, (device("cuda:0", 60), CPU), wanted="rocm")


def test_what_does_not_fit_is_refused_with_what_is_free_and_where_it_would_fit() -> None:
    devices = (device("cuda:0", 3 * GB, 24 * GB), device("cuda:1", 2 * GB, 24 * GB), device("cpu", 64 * GB))
    with pytest.raises(OutOfMemoryError) as refused:
        place(16 * GB, devices, reserved=lambda each: GB if each == "cuda:1" else 0)
    assert str(refused.value) == (
        "The model needs 16.0 GB and 268.4 MB to spare, and cuda:0 has 3.0 GB of 24.0 GB free; cuda:1 has "
        "2.0 GB of 24.0 GB free, 1.0 GB of them reserved for other loads. Unload another model, take a "
        "smaller one or a smaller number format, or put it on 'cpu', where it fits."
    )


def test_the_cpus_memory_is_not_spread_with_a_gpus() -> None:
    with pytest.raises(OutOfMemoryError):
        place(550, (device("cuda:0", 100), CPU), spare_bytes=0)
    with pytest.raises(OutOfMemoryError):
        place(SPARE_BYTES, (device("cpu", SPARE_BYTES),))


@given(machines(), st.integers(0, 300), st.integers(0, 20), st.data())
def test_a_placement_holds_the_whole_model_and_no_device_more_than_its_room(
    devices: tuple[DeviceStats, ...], size: int, spare: int, data: st.DataObject
) -> None:
    promised = {each.id: data.draw(st.integers(0, 50)) for each in devices}
    room = {each.id: max(0, each.free_bytes - promised[each.id] - spare) for each in devices}
    gpus = sorted((room[each.id] for each in devices if each.kind == "cuda"), reverse=True)
    candidates = gpus or [room["cpu"]]
    try:
        found = place(size, devices, reserved=promised.__getitem__, spare_bytes=spare)
    except OutOfMemoryError:
        assert size > sum(candidates)
        return
    assert sum(share for _, share in found.shares) == size
    assert all(share <= room[device_id] for device_id, share in found.shares)
    fewest = next(count for count in range(1, len(candidates) + 1) if size <= sum(candidates[:count]))
    assert len(found.shares) == len(set(found.device_ids)) == fewest
    if fewest == 1:
        assert room[found.device_ids[0]] == candidates[0], "the most room"


@given(machines(), st.lists(st.tuples(st.integers(0, 120), st.integers(0, 130)), max_size=8))
def test_loads_that_are_booked_never_promise_more_than_is_free(
    devices: tuple[DeviceStats, ...], loads: list[tuple[int, int]]
) -> None:
    assume(any(each.free_bytes for each in devices))
    ledger = Ledger()
    bookings = []
    placed = dict.fromkeys((each.id for each in devices), 0)
    for size, arrived in loads:
        now = tuple(device(each.id, each.free_bytes - placed[each.id], 500) for each in devices)
        try:
            booking = ledger.book(lambda reserved: place(size, now, reserved=reserved, spare_bytes=0))  # noqa: B023
        except OutOfMemoryError:
            continue
        bookings.append(booking)
        booking.placed(arrived)
        rest = min(arrived, size)
        for device_id, share in booking.placement.shares:
            placed[device_id] += min(rest, share)
            rest -= min(rest, share)
        for each in devices:
            assert placed[each.id] + ledger.reserved(each.id) <= each.free_bytes
    for booking in bookings:
        booking.release()
    assert all(ledger.reserved(each.id) == 0 for each in devices)


def test_a_reservation_shrinks_by_what_has_arrived_and_never_grows() -> None:
    ledger = Ledger()
    with ledger.reserve("cuda:0", 100) as reservation, ledger.reserve("cuda:1", 7):
        assert ledger.reserved("cuda:0") == 100
        for arrived, outstanding in ((30, 70), (20, 70), (150, 0)):
            reservation.placed(arrived)
            assert ledger.reserved("cuda:0") == reservation.outstanding_bytes == outstanding
        assert ledger.reserved("cuda:1") == 7
    assert ledger.reserved("cuda:1") == 0


def test_what_has_arrived_of_a_spread_model_fills_its_devices_in_turn() -> None:
    ledger = Ledger()
    devices = (device("cuda:0", 40), device("cuda:1", 30))
    with ledger.book(lambda reserved: place(60, devices, reserved=reserved, spare_bytes=0)) as booking:
        for arrived, outstanding in ((0, (40, 20)), (30, (10, 20)), (50, (0, 10)), (99, (0, 0))):
            booking.placed(arrived)
            assert (ledger.reserved("cuda:0"), ledger.reserved("cuda:1")) == outstanding
    assert (ledger.reserved("cuda:0"), ledger.reserved("cuda:1")) == (0, 0)


def test_nobody_reserves_or_reports_while_another_chooses() -> None:
    ledger = Ledger()
    first = ledger.reserve("cpu", 100)
    others = [Thread(target=ledger.reserve, args=("cpu", 40)), Thread(target=first.placed, args=(70,))]

    def choose(reserved: Callable[[str], int]) -> Placement:
        for each in others:
            each.start()
            each.join(0.05)
            assert each.is_alive(), "it waits"
        assert reserved("cpu") == 100
        return place(300, (CPU,), reserved=reserved, spare_bytes=0)

    ledger.book(choose)
    for each in others:
        each.join()
    assert ledger.reserved("cpu") == 30 + 40 + 300


def test_a_load_that_fails_gives_back_what_it_reserved_once() -> None:
    ledger = Ledger()
    with pytest.raises(RuntimeError), ledger.reserve("cpu", 100) as reservation:
        raise RuntimeError
    reservation.release()
    assert ledger.reserved("cpu") == 0


def test_what_chooses_may_refuse_and_leaves_nothing_reserved() -> None:
    ledger = Ledger()
    with pytest.raises(OutOfMemoryError):
        ledger.book(lambda reserved: place(600, (CPU,), reserved=reserved, spare_bytes=0))
    assert ledger.reserved("cpu") == 0


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(ValueError, match="-1 bytes"):
        Ledger().reserve("cpu", -1)


def test_loads_that_begin_at_once_in_many_threads_share_what_there_is() -> None:
    ledger, count = Ledger(), 16
    barrier, fitted = Barrier(count), []
    devices = (device("cuda:0", 50), device("cuda:1", 30))

    def begin() -> None:
        barrier.wait()
        with suppress(OutOfMemoryError):
            fitted.append(ledger.book(lambda reserved: place(10, devices, reserved=reserved, spare_bytes=0)))

    threads = [Thread(target=begin) for _ in range(count)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(fitted) == 8
    assert (ledger.reserved("cuda:0"), ledger.reserved("cuda:1")) == (50, 30)
