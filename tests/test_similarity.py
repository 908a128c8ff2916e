"""Which texts are nearest to another one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm_notebook.errors import InvalidRequestError
from farm_notebook.farm import AsyncFarm, Farm
from farm_notebook.farm.similarity import Match, labelled, nearest
from farm_notebook.types import Embeddings, ModelRef


def test_the_nearest_come_first_and_of_equals_the_first() -> None:
    vectors = [(0.0, 1.0), (1.0, 0.0), (0.6, 0.8), (1.0, 0.0)]
    assert nearest((1.0, 0.0), vectors, 3) == [(1.0, 1), (1.0, 3), (0.6, 2)]
    assert [place for _, place in nearest((1.0, 0.0), vectors, 99)] == [1, 3, 2, 0]


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=20), st.integers(1, 25))
def test_the_scores_are_those_of_numpy(angles: list[float], k: int) -> None:
    vectors = [(math.cos(angle), math.sin(angle)) for angle in angles]
    scores = [score for score, _ in nearest((1.0, 0.0), vectors, k)]
    assert np.allclose(scores, sorted(np.asarray(vectors) @ [1.0, 0.0], reverse=True)[:k])


@pytest.mark.parametrize("k", [0, -1])
def test_no_match_at_all_cannot_be_asked_for(k: int) -> None:
    with pytest.raises(InvalidRequestError, match=f"k={k} is out of range. Valid: 1 and up."):
        nearest((1.0,), [(1.0,)], k)


def test_blank_texts_are_passed_over_and_places_stay() -> None:
    assert labelled(["a", " ", "b"]) == [(0, "a"), (2, "b")]
    assert labelled({"x": "a", "y": ""}) == [("x", "a")]


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([], "There are no texts"),
        (["", " "], "There are no texts"),
        ("one text", "give a list of texts"),
        (["a", None], r"items\[1\] is None, and no text"),
    ],
)
def test_what_is_no_list_of_texts_is_refused(items: object, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        labelled(items)  # type: ignore[arg-type]


def test_a_farm_finds_the_text_itself_first() -> None:
    farm = Farm(model="scripted:echo")
    found = farm.similar("cats purr", ["stocks fell", "cats purr", "", "dogs bark"], k=2)
    assert [type(match) for match in found] == [Match, Match]
    assert (found[0].index, found[0].text, round(found[0].score, 6)) == (1, "cats purr", 1.0)
    assert farm.similar("x", {"k": "y"}, k=9)[0].index == "k"
    with pytest.raises(InvalidRequestError):
        farm.similar("x", ["y"], k=0)


async def test_coroutines_are_given_the_same() -> None:
    farm = AsyncFarm(model="scripted:echo")
    assert (await farm.similar("a", ["b", "a"], k=1))[0].text == "a"


def test_embeddings_are_a_matrix_for_numpy_and_brief_to_read() -> None:
    made = Embeddings(((1.0, 0.0), (0.0, 1.0), (0.6, 0.8)), ModelRef("scripted", "echo"))
    assert len(made) == 3
    assert repr(made) == "<Embeddings: 3 x 2, by scripted:echo>"
    assert np.asarray(made).shape == (3, 2)
    assert np.asarray(made, dtype="float32").dtype == np.float32
    assert repr(Embeddings((), ModelRef("scripted", "echo"))) == "<Embeddings: 0 x 0, by scripted:echo>"


@pytest.mark.model
@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("A cat is sleeping on the couch.", 0),
        ("The interest rate rises this year.", 1),
        ("The capital of France is Paris.", 2),
        ("A recipe for soup of tomatoes.", 3),
    ],
)
def test_the_embedded_model_finds_what_is_worded_alike(embedded_farm: Farm, query: str, place: int) -> None:
    texts = [
        "The cat sleeps on the sofa.",
        "Interest rates rose again this quarter.",
        "Paris is the capital of France.",
        "A recipe for tomato soup with basil.",
    ]
    assert embedded_farm.similar(query, texts, k=1)[0].index == place
