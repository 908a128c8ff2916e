"""What is in a model's folder, read without torch: its configuration, and which of its weights may be loaded.

Weights are safetensors or GGUF. A pickle runs code when it is read, and so does a model that brings its own;
both are refused unless the configuration names the model.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from farm_notebook.config import HuggingFaceConfig
from farm_notebook.errors import LoadError
from farm_notebook.providers.huggingface.gguf_header import gguf_tensors
from farm_notebook.providers.huggingface.source import Source
from farm_notebook.providers.huggingface.stored import StoredTensor

__all__ = [
    "Checkpoint",
    "is_trusted",
    "read_checkpoint",
    "read_config",
    "read_header",
    "tensors_in",
    "variable_for",
    "weight_files",
    "whole_bytes",
    "whole_tensors",
]

PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")
LONGEST_HEADER_BYTES = 100_000_000  # safetensors' own limit


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder that can be loaded.

    Args:
        folder: Of the files.
        gguf: The one file that is all of the model.
        weights: The files of the weights, not empty.
        size_bytes: Of the weights.
        tensors: By their names in the files; empty where these are pickled.
        dtype: The number format that its configuration names, as torch does; ``None`` where it names none.
        is_quantized: The weights are packed, as another method than GGUF's has left them.
        is_pickled: The weights are to be unpickled.
    """

    folder: Path
    gguf: str | None
    weights: tuple[Path, ...]
    size_bytes: int
    tensors: Mapping[str, StoredTensor]
    dtype: str | None = None
    is_quantized: bool = False
    is_pickled: bool = False

    @property
    def tensor_bytes(self) -> dict[str, int]:
        """Of each tensor in the files."""
        return {name: tensor.size_bytes for name, tensor in self.tensors.items()}


def read_checkpoint(source: Source, folder: Path, settings: HuggingFaceConfig) -> Checkpoint:
    """Look through a model's folder.

    Raises:
        LoadError: There are no weights, a file is cut off or no such file, or it is not to be read.
    """
    if source.gguf is not None:
        file = folder / source.gguf
        return Checkpoint(folder, source.gguf, (file,), file.stat().st_size, gguf_tensors(file))
    config = read_config(source.name, folder)
    weights = weight_files(source.name, folder)
    if weights:
        tensors = {name: tensor for file in weights for name, tensor in whole_tensors(file).items()}
        return Checkpoint(
            folder,
            None,
            weights,
            _total(weights),
            tensors,
            dtype=_dtype(config),
            is_quantized=config.get("quantization_config") is not None,
        )
    if not any((folder / name).is_file() for name in PICKLED):
        raise LoadError(f"{source.name!r} has no weights: there is no *.safetensors in {str(folder)!r}.")
    if not is_trusted(source, settings.pickled_weights):
        raise LoadError(
            f"{source.name!r} has pickled weights only, and reading a pickle runs whatever code is in it. "
            f"If you trust where it comes from, allow it: {variable_for('pickled_weights', source.name)}, "
            "or huggingface.pickled_weights in the configuration. Safer is to convert it to safetensors."
        )
    pickles = tuple(sorted(folder.glob("pytorch_model*.bin")))
    return Checkpoint(folder, None, pickles, _total(pickles), {}, is_pickled=True)


def read_config(name: str, folder: Path) -> dict[str, Any]:
    """The model's ``config.json``.

    Raises:
        LoadError: There is none, or it is no JSON object.
    """
    file = folder / "config.json"
    try:
        config = json.loads(file.read_bytes())
    except FileNotFoundError:
        if (folder / "adapter_config.json").is_file():
            raise LoadError(f"{name!r} is an adapter, not a model. Write BASE+{name}.") from None
        raise LoadError(f"{name!r} is no model of transformers: there is no {str(file)!r}.") from None
    except (OSError, ValueError) as error:
        raise LoadError(f"{str(file)!r} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise LoadError(f"{str(file)!r} holds no JSON object.")
    return config


def _dtype(config: Mapping[str, Any]) -> str | None:
    """Its number format by the name of today or of before, of the model or of the part that writes text."""
    for part in (config, config.get("text_config")):
        if isinstance(part, Mapping) and isinstance(found := part.get("dtype", part.get("torch_dtype")), str):
            return found.removeprefix("torch.")
    return None


def is_trusted(source: Source, names: frozenset[str]) -> bool:
    """Whether a model is among those the user allowed something, by the name written or by its place."""
    places = {source.name, source.repository} | ({str(source.folder)} if source.folder else set())
    return not places.isdisjoint(names)


def variable_for(setting: str, name: str) -> str:
    """The environment variable, as a shell takes it, that allows one model something."""
    return f"FARM_HUGGINGFACE__{setting.upper()}='{json.dumps([name])}'"


def weight_files(name: str, folder: Path) -> tuple[Path, ...]:
    """The safetensors that make up a model: those its index names, or the one that needs none.

    Args:
        name: Of the model, for errors.
        folder: Where transformers would look for them, in this order.

    Returns:
        None where there are none.

    Raises:
        LoadError: The index is none, or names a file that is not there.
    """
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return (single,)
    if not index.is_file():
        return ()
    try:
        files = sorted({folder / file for file in json.loads(index.read_bytes())["weight_map"].values()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise LoadError(f"{str(index)!r} is no index of weights: {error!r}") from error
    if missing := [file.name for file in files if not file.is_file()]:
        raise LoadError(f"{name!r} is not whole: {', '.join(missing)} is missing from {str(folder)!r}.")
    return tuple(files)


def read_header(file: Path) -> bytes:
    """What a safetensors file says of itself.

    Source: https://huggingface.co/docs/safetensors, "Format": 8 bytes with the length of a JSON header, the
    header, and the tensors, whose places are given from its end.

    Raises:
        LoadError: This is no such file, or it cannot be read.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if not 2 <= length <= min(size, LONGEST_HEADER_BYTES):
                raise ValueError(f"a header of {length:,} bytes in a file of {size:,}")
            return stream.read(length)
    except (OSError, ValueError) as error:
        raise LoadError(f"{str(file)!r} is no safetensors file: {error}") from error


def tensors_in(header: bytes) -> dict[str, StoredTensor]:
    """The tensors of a safetensors file, by their names.

    Raises:
        ValueError: This is no such header.
    """
    try:
        return {
            name: StoredTensor(tensor["dtype"], math.prod(tensor["shape"]), *tensor["data_offsets"])
            for name, tensor in json.loads(header).items()
            if name != "__metadata__"
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"its header is none: {error!r}") from error


@functools.lru_cache(maxsize=64)  # as a watcher looks at the same headers again and again
def whole_bytes(header: bytes) -> int:
    """How long a file of safetensors with this header is when all of it is there.

    Raises:
        ValueError: It is no such header.
    """
    return 8 + len(header) + max((tensor.end for tensor in tensors_in(header).values()), default=0)


def whole_tensors(file: Path) -> dict[str, StoredTensor]:
    """The tensors of a file that is whole, by their names."""
    header = read_header(file)
    try:
        tensors = tensors_in(header)
        whole = whole_bytes(header)
    except (ValueError, TypeError) as error:
        raise LoadError(f"{str(file)!r} is no safetensors file: {error}") from error
    if (size := file.stat().st_size) != whole:
        raise LoadError(
            f"{str(file)!r} is not whole: it should have {whole:,} bytes and has {size:,}. Fetch it again, "
            "or wait until all of it is written."
        )
    return tensors


def _total(files: tuple[Path, ...]) -> int:
    return sum(file.stat().st_size for file in files)
