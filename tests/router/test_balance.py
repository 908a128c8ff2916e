"""The same question meets the same place, shares follow weights, and few questions move with the places."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farm_notebook.router.balance import ordered, score, shares
from farm_notebook.types import Balance, Deployment, ModelRef

QUESTIONS = [f"question {number}" for number in range(2000)]
WEIGHTS = st.lists(st.floats(0.1, 10.0), min_size=2, max_size=5)


def places(*weights: float) -> list[Deployment]:
    return [Deployment(ModelRef(f"place-{index}", "m"), weight) for index, weight in enumerate(weights)]


def order(
    among: list[Deployment],
    key: str | None,
    *,
    balance: Balance = "weighted",
    ailment: Callable[[ModelRef], str | None] = lambda ref: None,
    in_flight: Callable[[ModelRef], int] = lambda ref: 0,
) -> list[ModelRef]:
    return ordered(among, key, balance=balance, ailment=ailment, in_flight=in_flight)


@settings(max_examples=25, deadline=None)
@given(WEIGHTS)
def test_shares_follow_the_weights(weights: list[float]) -> None:
    among = places(*weights)
    met = Counter(order(among, question)[0] for question in QUESTIONS)
    for ref, share in shares(among).items():
        deviation = math.sqrt(share * (1 - share) / len(QUESTIONS))
        assert abs(met[ref] / len(QUESTIONS) - share) < 6 * deviation, "of a binomial distribution"


@given(WEIGHTS, st.text(max_size=20), st.randoms())
def test_the_order_is_of_the_question_and_not_of_the_list(
    weights: list[float], key: str, random: object
) -> None:
    among = places(*weights)
    shuffled = among.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis types it as object
    assert order(among, key) == order(shuffled, key)
    assert sorted(map(str, order(among, key))) == sorted(str(place.ref) for place in among)


@settings(max_examples=25, deadline=None)
@given(WEIGHTS)
def test_without_a_place_its_questions_go_to_their_second_ones_and_all_others_stay(
    weights: list[float],
) -> None:
    among = places(*weights)
    gone = among[0].ref
    for question in QUESTIONS[:200]:
        with_all, without = order(among, question), order(among[1:], question)
        assert without == [ref for ref in with_all if ref != gone]


def test_more_weight_draws_questions_and_gives_none_away() -> None:
    for question in QUESTIONS[:500]:
        if order(places(1.0, 1.0), question)[0] == ModelRef("place-0", "m"):
            assert order(places(2.0, 1.0), question)[0] == ModelRef("place-0", "m")


@given(st.text(), st.floats(1e-6, 1e6))
def test_a_score_is_a_number_from_zero_up(key: str, weight: float) -> None:
    drawn = score(key, Deployment(ModelRef("p", "m"), weight))
    assert math.isfinite(drawn)
    assert drawn >= 0


def test_half_of_a_surrogate_pair_is_a_key_too() -> None:
    assert score("\udcff", Deployment(ModelRef("p", "\udcff"))) > 0


@pytest.mark.parametrize("balance", ["weighted", "least_busy"])
def test_an_ill_place_comes_last(balance: Balance) -> None:
    among = places(100.0, 1.0, 1.0)
    for question in QUESTIONS[:50]:
        found = order(
            among, question, balance=balance, ailment=lambda ref: "x" if ref == among[0].ref else None
        )
        assert found[-1] == among[0].ref


def test_the_least_busy_place_for_its_weight_comes_first_and_the_question_decides_between_equals() -> None:
    among = places(4.0, 1.0, 1.0)
    busy = {among[0].ref: 3, among[1].ref: 1, among[2].ref: 0}
    for question in QUESTIONS[:50]:
        found = order(among, question, balance="least_busy", in_flight=busy.__getitem__)
        assert found == [among[2].ref, among[0].ref, among[1].ref]
        assert order(among, question, balance="least_busy") == order(among, question)


def test_for_no_question_in_particular_the_largest_share_comes_first() -> None:
    assert [ref.provider for ref in order(places(1.0, 3.0, 2.0), None)] == ["place-1", "place-2", "place-0"]


@given(WEIGHTS)
def test_shares_are_parts_of_one(weights: list[float]) -> None:
    assert math.isclose(sum(shares(places(*weights)).values()), 1.0)


def test_no_places_have_no_shares() -> None:
    assert shares([]) == {}
