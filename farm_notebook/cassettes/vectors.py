"""Vectors as JSON and back, exactly: the bytes of their numbers as Base64, 4 a number where that holds them.

A text of 384 numbers would take 8 kB as digits, which nobody reads in a diff either.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from farm_notebook.cassettes.values import build, plain
from farm_notebook.types import Embeddings, ModelRef, Usage

__all__ = ["read_embeddings", "write_embeddings"]

_CODES = {"f32": "f", "f64": "d"}  # little-endian, as IEEE 754 has them


def write_embeddings(embeddings: Embeddings) -> dict[str, Any]:
    """Vectors, their model and their usage as JSON values."""
    vectors = embeddings.vectors
    kind = "f32" if all(map(_fits, vectors)) else "f64"
    return {
        "ref": plain(embeddings.ref),
        "usage": plain(embeddings.usage),
        "numbers": kind,
        "vectors": [base64.b64encode(_packed(kind, vector)).decode() for vector in vectors],
    }


def read_embeddings(told: Mapping[str, Any]) -> Embeddings:
    """What was written.

    Raises:
        ValueError: This is none.
    """
    try:
        code = _CODES[told["numbers"]]
        rows = [base64.b64decode(text, validate=True) for text in told["vectors"]]
        vectors = tuple(struct.unpack(f"<{len(row) // struct.calcsize(code)}{code}", row) for row in rows)
        return Embeddings(vectors, build(ModelRef, told["ref"]), build(Usage, told["usage"]))
    except (LookupError, TypeError, struct.error) as error:
        raise ValueError(f"{told!r:.60} are no vectors ({type(error).__name__}: {error})") from None


def _packed(kind: str, vector: Sequence[float]) -> bytes:
    return struct.pack(f"<{len(vector)}{_CODES[kind]}", *vector)


def _fits(vector: Sequence[float]) -> bool:
    try:
        return struct.unpack(f"<{len(vector)}f", _packed("f32", vector)) == tuple(vector)
    except OverflowError:
        return False
