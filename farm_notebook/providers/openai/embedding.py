"""The vectors in the answer of ``/embeddings``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json

from farm_notebook.errors import ProviderError
from farm_notebook.providers.openai_wire import usage_of, wire_error
from farm_notebook.types import ModelRef

__all__ = ["unit_vectors"]

_QUOTED_BYTES = 200


def unit_vectors(content: bytes, count: int, ref: ModelRef) -> tuple[list[tuple[float, ...]], int | None]:
    """One vector a text in their order, each of unit L2 norm, and the tokens that were read.

    Args:
        content: The JSON that came.
        count: How many texts were sent.
        ref: The model, for errors.

    Raises:
        ProviderError: It is not the protocol, or of another number of vectors.
    """
    try:
        body = from_json(content)
        if isinstance(body, dict) and body.get("error"):
            raise wire_error(body, ref)
        rows = sorted(body["data"], key=lambda row: row["index"])
        vectors = [_unit(row) for row in rows]
        usage = usage_of(body.get("usage"))
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ProviderError(
            f"{ref} sent what are no embeddings: {content[:_QUOTED_BYTES]!r}.", provider=ref.provider
        ) from None
    if len(vectors) != count:
        raise ProviderError(f"{ref} sent {len(vectors)} vectors for {count} texts.", provider=ref.provider)
    return vectors, usage.input_tokens if usage else None


def _unit(row: Mapping[str, Any]) -> tuple[float, ...]:
    vector = row["embedding"]
    norm = math.hypot(*vector)
    return tuple(value / norm for value in vector) if norm else tuple(vector)
