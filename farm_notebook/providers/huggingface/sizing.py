"""What a model will take in memory, told by its files before any weight is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from farm_notebook.config import HuggingFaceConfig
from farm_notebook.providers.huggingface.checkpoint import Checkpoint

__all__ = ["need_bytes"]

PLAIN = re.compile(r"B?F\d+(_\w+)?")  # number formats that loading brings to another
WHOLE = ("F32", "F16", "BF16")  # of a GGUF file that holds no packed weights
DEFAULT_BITS = 32
SCALES = 1.125  # what comes with packed weights: a scale of 16 bits for each 32 or more of them


def need_bytes(checkpoint: Checkpoint, settings: HuggingFaceConfig, *, dtype: str | None = None) -> int:
    """Bytes of a model's weights in memory.

    Args:
        checkpoint: Its files.
        settings: Number format and quantisation.
        dtype: Another number format than that of the settings.
    """
    if not checkpoint.tensors:  # pickled: nothing tells what is inside
        return checkpoint.size_bytes
    if checkpoint.is_quantized:
        return sum(tensor.size_bytes for tensor in checkpoint.tensors.values())
    bits = _bits(checkpoint, dtype or settings.dtype)
    packed = _packed_bits(settings.quantization) if checkpoint.gguf is None else None
    need = 0.0
    for name, tensor in checkpoint.tensors.items():
        if packed is not None and name.endswith("proj.weight"):  # not norms, embeddings and heads
            need += tensor.elements * packed * SCALES / 8
        elif bits is not None and (checkpoint.gguf or PLAIN.fullmatch(tensor.dtype)):
            need += tensor.elements * bits / 8
        else:
            need += tensor.size_bytes
    return round(need)


def _bits(checkpoint: Checkpoint, dtype: str) -> int | None:
    """Of a number; ``None`` where each has those it has in the file."""
    if dtype == "auto":
        if checkpoint.gguf is None:
            return _width(checkpoint.dtype)
        kinds = {tensor.dtype for tensor in checkpoint.tensors.values()}
        return 16 if kinds <= {*WHOLE} and kinds != {"F32"} else DEFAULT_BITS
    return _width(dtype)


def _width(dtype: str | None) -> int | None:
    """Of a format as torch names it, such as ``bfloat16`` and ``float8_e4m3fn``."""
    found = re.fullmatch(r"b?float(\d+)(_\w+)?", dtype or "")
    return int(found[1]) if found else None


def _packed_bits(quantization: Mapping[str, Any] | None) -> int | None:
    if quantization is None:
        return None
    if quantization.get("load_in_4bit"):
        return 4
    return 8 if quantization.get("load_in_8bit") else int(quantization.get("bits") or 8)
