"""Which texts are nearest to another one, by the vectors that a model makes of them."""

from __future__ import annotations

import heapq
import operator
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from farm_notebook.errors import InvalidRequestError

__all__ = ["Items", "Match", "labelled", "nearest"]

Items: TypeAlias = Iterable[str] | Mapping[Hashable, str]
Vector: TypeAlias = Sequence[float]


@dataclass(frozen=True, slots=True)
class Match:
    """One of the texts that were searched.

    Args:
        score: The cosine of the angle between both texts' vectors: 1 for equal ones, near 0 for strangers.
        index: Where it stands among them, 0 and up, or its key.
        text: Itself.
    """

    score: float
    index: Hashable
    text: str


def nearest(query: Vector, vectors: Sequence[Vector], k: int) -> list[tuple[float, int]]:
    """The highest scores, each with the place of its vector, best first; of equals the first.

    Args:
        query: A unit vector.
        vectors: Unit vectors of the same width.
        k: How many, at least 1.

    Raises:
        InvalidRequestError: ``k`` is below 1.
    """
    if k < 1:
        raise InvalidRequestError(f"k={k} is out of range. Valid: 1 and up.")
    scores = ((sum(map(operator.mul, query, vector)), -place) for place, vector in enumerate(vectors))
    return [(score, -place) for score, place in heapq.nlargest(k, scores)]


def labelled(items: Items) -> list[tuple[Hashable, str]]:
    """Texts with their places or keys, without those that are blank.

    Raises:
        InvalidRequestError: One of them is no text, or all are blank.
    """
    if isinstance(items, str):
        raise InvalidRequestError("items is one text; give a list of texts.")
    pairs = list(items.items() if isinstance(items, Mapping) else enumerate(items))
    for label, text in pairs:
        if not isinstance(text, str):
            raise InvalidRequestError(f"items[{label!r}] is {text!r}, and no text.")
    if not (found := [(label, text) for label, text in pairs if text.strip()]):
        raise InvalidRequestError("There are no texts to search: items is empty.")
    return found
