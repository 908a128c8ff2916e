"""In which order several places that serve the same model are asked.

Weighted rendezvous hashing: every place draws a number out of the request, and the smallest wins. So the same
question meets the same place again, whose caches know it; the shares follow the weights; and when a place
comes or goes, only the questions move that meet it. The places that come next are where the question would
have gone without the first.
Source: Schindelhauer and Schomaker, Weighted Distributed Hash Tables, SPAA 2005, logarithmic method.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence

from farm_notebook.types import Balance, Deployment, ModelRef

__all__ = ["ordered", "score", "shares"]


def score(key: str, place: Deployment) -> float:
    """What a place draws for a request: exponentially distributed, with the place's weight as its rate.

    Args:
        key: Tells requests apart, such as a fingerprint.
        place: Its weight is above 0.

    Returns:
        A number from 0 up; the place with the smallest is asked first.
    """
    drawn = hashlib.blake2b(f"{key} {place.ref}".encode(errors="surrogatepass"), digest_size=8).digest()
    uniform = (int.from_bytes(drawn) + 0.5) / 2**64  # above 0, and nearly always below 1
    return -math.log(uniform) / place.weight


def ordered(
    places: Sequence[Deployment],
    key: str | None,
    *,
    balance: Balance,
    ailment: Callable[[ModelRef], str | None],
    in_flight: Callable[[ModelRef], int],
) -> list[ModelRef]:
    """The places in the order in which they are asked; those that are known to be ill come last.

    Args:
        places: At least one.
        key: Of the request; ``None`` orders by weight, as for no request in particular.
        balance: ``weighted`` goes by the hash alone, ``least_busy`` first by the requests under way, each
            place's divided by its weight.
        ailment: What is known to be wrong with a model; ``None`` where nothing is.
        in_flight: How many requests a model is answering.
    """

    def rank(place: Deployment) -> tuple[bool, float, float]:
        busy = in_flight(place.ref) / place.weight if balance == "least_busy" else 0.0
        return ailment(place.ref) is not None, busy, -place.weight if key is None else score(key, place)

    return [place.ref for place in sorted(places, key=rank)]


def shares(places: Sequence[Deployment]) -> dict[ModelRef, float]:
    """The part of the requests that each place gets by its weight; together 1."""
    whole = sum(place.weight for place in places)
    return {place.ref: place.weight / whole for place in places}
