"""One generation of a model: who works on it, who has it in hand, and what stands on it."""

from __future__ import annotations

import pytest

from farm_notebook.errors import ProviderError
from farm_notebook.lifecycle.version import Facts, Version, next_generation


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def made(clock: Clock | None = None, base: Version[str] | None = None) -> Version[str]:
    return Version("weights", Facts(next_generation(), 10, ("cpu",)), base, clock=clock or Clock())


def idle_s(version: Version[str]) -> float | None:
    return version.idle_s


def is_idle(version: Version[str]) -> bool:
    return version.is_idle


def has_been_left(version: Version[str]) -> bool:
    return version.idle.is_set()


def test_generations_grow() -> None:
    first, second = next_generation(), next_generation()
    assert first < second


def test_it_is_idle_once_the_last_who_works_on_it_has_left() -> None:
    version = made()
    assert is_idle(version)
    assert has_been_left(version)
    with version.used():
        with version.used():
            assert version.users == 2
        assert not is_idle(version)
        assert not has_been_left(version)
    assert is_idle(version)
    assert has_been_left(version)
    assert version.served == 2


def test_an_answer_that_failed_was_not_served() -> None:
    version = made()
    with pytest.raises(KeyError), version.used():
        raise KeyError
    assert (version.users, version.served, version.is_idle) == (0, 0, True)


def test_it_counts_how_long_nobody_has_worked_on_it() -> None:
    clock = Clock()
    version = made(clock)
    clock.now += 5
    assert idle_s(version) == 5
    with version.used():
        assert idle_s(version) is None
    assert idle_s(version) == 0
    clock.now += 2
    with version.leased():
        assert idle_s(version) is None
    assert idle_s(version) == 0


def test_a_lease_does_not_keep_it_from_being_given_up_but_it_is_not_idle() -> None:
    version = made()
    with version.leased():
        assert version.leases == 1
        assert has_been_left(version)
        assert not is_idle(version)
    assert is_idle(version)


def test_who_has_an_adapter_in_hand_has_its_base_in_hand() -> None:
    base = made()
    adapter = made(base=base)
    with adapter.leased():
        assert (adapter.leases, base.leases) == (1, 1)
    assert (adapter.leases, base.leases) == (0, 0)


def test_a_base_carries_what_stands_on_it_until_that_is_closed() -> None:
    base = made()
    adapter = made(base=base)
    assert base.carried == 1
    assert not base.bare.is_set()
    assert not is_idle(base)
    with base.carrying():
        adapter.close()
        assert adapter.is_closed
        assert base.carried == 1
    assert base.bare.is_set()
    assert is_idle(base)
    adapter.close()
    assert base.carried == 0


def test_who_works_on_an_adapter_has_worked_on_its_base() -> None:
    clock = Clock()
    base = made(clock)
    adapter = made(clock, base)
    clock.now += 50
    with adapter.used():
        pass
    clock.now += 1
    assert base.idle_s == adapter.idle_s == 1


def test_nobody_waits_for_those_on_a_generation_that_was_dismissed() -> None:
    base = made()
    made(base=base)
    with base.used():
        base.dismiss()
        assert base.idle.is_set()
        assert base.bare.is_set()
        assert base.users == 1


def test_who_still_knows_of_a_closed_one_has_nothing_of_it() -> None:
    version = made()
    assert version.value == "weights"
    version.close()
    with pytest.raises(ProviderError, match="unloaded while it was in use"):
        _ = version.value
