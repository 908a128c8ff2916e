"""Models of random weights, made on the spot: a benchmark of loading needs the size of one, and no sense."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from farm_notebook.devices import device_stats
from farm_notebook.types import DeviceStats

__all__ = ["SHAPES", "SMALL", "TINY", "Shape", "best_device", "fitting", "write_checkpoint"]

SHARD = "4GB"
DEVICE_PART = 2.5  # of the device's memory, a model may take one part in so many
HOST_PART = 4  # of free host memory: its files are cached there, and two of it set aside
DISK_PART = 1.2
TEMPLATE = "{% for message in messages %}{{ message.content + ' ' }}{% endfor %}"


@dataclass(frozen=True, slots=True)
class Shape:
    """A Llama whose input and output embeddings are two.

    Args:
        name: In tables.
        config: What ``LlamaConfig`` is told.
        dtype: As torch names it.
    """

    name: str
    config: Mapping[str, int]
    dtype: str

    @property
    def size_bytes(self) -> int:
        """Of its weights."""
        config, width = self.config, self.config["hidden_size"]
        shared = width * config["num_key_value_heads"] // config["num_attention_heads"]
        attention = 2 * width * (width + shared)
        layer = attention + 3 * width * config["intermediate_size"] + 2 * width
        elements = config["num_hidden_layers"] * layer + 2 * config["vocab_size"] * width + width
        return elements * (4 if self.dtype == "float32" else 2)


def _shape(name: str, dtype: str, vocabulary: int, width: int, inner: int, layers: int, heads: int) -> Shape:
    config = {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads // (3 if heads % 4 else 4),
    }
    return Shape(name, config, dtype)


TINY = _shape("tiny", "float32", 1024, 64, 128, 2, 4)
SMALL = _shape("135M", "float32", 49152, 576, 1536, 30, 9)  # of the embedded model
SHAPES = {
    "cuda": (
        _shape("8B", "bfloat16", 128256, 4096, 14336, 32, 32),
        _shape("1B", "bfloat16", 128256, 2048, 8192, 16, 32),
    ),
    "cpu": (_shape("0.2B", "float32", 32000, 1024, 2816, 12, 16),),
}
"""By the kind of device, the largest first."""


def best_device() -> DeviceStats:
    """The first GPU that torch can copy to by itself, else the CPU."""
    devices = device_stats()
    return next((device for device in devices if device.kind == "cuda"), devices[-1])


def fitting(device: DeviceStats, folder: Path) -> Shape:
    """The largest shape for a device that host memory and a folder's disk have room for.

    Raises:
        RuntimeError: There is none.
    """
    host, disk = device_stats()[-1].free_bytes, shutil.disk_usage(folder).free
    shapes = SHAPES[device.kind]
    for shape in shapes:
        size = shape.size_bytes
        if size * DEVICE_PART < device.free_bytes and size * HOST_PART < host and size * DISK_PART < disk:
            return shape
    raise RuntimeError(
        f"A model of {shapes[-1].size_bytes:,} bytes is too large here: free are {device.free_bytes:,} bytes "
        f"of {device.id}, {host:,} of host memory, {disk:,} in {str(folder)!r}."
    )


def write_checkpoint(shape: Shape, device: str, folder: Path) -> None:
    """Save a model with random weights, and a tokenizer with a word for each of its embeddings.

    Args:
        shape: Of the model.
        device: Where its weights are thrown; a GPU takes seconds for what a processor takes minutes for.
        folder: For its files.
    """
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

    options: dict[str, Any] = {**shape.config, "bos_token_id": None, "eos_token_id": None}
    with torch.device(device):
        module = AutoModelForCausalLM.from_config(LlamaConfig(**options), dtype=getattr(torch, shape.dtype))
    module.save_pretrained(folder, max_shard_size=SHARD)
    words = {f"w{number}": number for number in range(shape.config["vocab_size"])}
    raw = Tokenizer(models.WordLevel(words, unk_token="w0"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="w0")
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
