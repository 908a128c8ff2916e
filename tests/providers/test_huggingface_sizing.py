"""What a model will take in memory is known before a weight is read, and is what it takes then."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers", reason="the extra huggingface is not installed")

import torch
from checkpoints import loaded_from, one_thread
from gguf_files import write_model

from farm_notebook.config import load_config
from farm_notebook.errors import LoadError
from farm_notebook.providers.huggingface.checkpoint import Checkpoint, read_checkpoint
from farm_notebook.providers.huggingface.sizing import need_bytes
from farm_notebook.providers.huggingface.source import locate
from farm_notebook.providers.huggingface.stored import StoredTensor

MATRIX, NORM = "model.layers.0.mlp.up_proj.weight", "model.norm.weight"


@pytest.fixture(scope="module", autouse=True)
def on_one_thread() -> Iterator[None]:
    with one_thread():
        yield


def need(place: Path, *, dtype: str | None = None, **settings: Any) -> int:
    source, config = locate(str(place)), load_config({"huggingface": settings}).huggingface
    assert source.folder is not None
    return need_bytes(read_checkpoint(source, source.folder, config), config, dtype=dtype)


def made(dtype: str | None = "bfloat16", **options: Any) -> Checkpoint:
    """A matrix and a norm of 16 bits a number, and one whole number of 64."""
    tensors = {
        MATRIX: StoredTensor("BF16", 1_000_000, 0, 2_000_000),
        NORM: StoredTensor("BF16", 1_000, 2_000_000, 2_002_000),
        "step": StoredTensor("I64", 1, 2_002_000, 2_002_008),
    }
    return Checkpoint(Path(), None, (Path("w"),), 2_002_100, tensors, dtype=dtype, **options)


def size_of(
    checkpoint: Checkpoint, settings: dict[str, Any] | None = None, *, dtype: str | None = None
) -> int:
    return need_bytes(checkpoint, load_config({"huggingface": settings or {}}).huggingface, dtype=dtype)


@pytest.mark.parametrize("dtype", [None, "bfloat16", "float64"])
def test_it_is_what_a_load_takes(dtype: str | None, tiny_model: Path) -> None:
    loaded = loaded_from(tiny_model, dtype=dtype)
    buffers = sum(buffer.nbytes for buffer in loaded.module.buffers())  # made anew, not loaded
    assert need(tiny_model, dtype=dtype) == loaded.size_bytes - buffers


@pytest.mark.parametrize("dtype", [None, "bfloat16"])
def test_of_a_gguf_file_it_is_what_its_weights_take_unpacked(dtype: str | None, tmp_path: Path) -> None:
    file = write_model(tmp_path / "model.gguf")
    loaded = loaded_from(file, dtype=dtype)
    buffers = sum(buffer.nbytes for buffer in loaded.module.buffers())
    assert loaded.dtype == (dtype or "float32")
    assert need(file, dtype=dtype) == loaded.size_bytes - buffers
    assert loaded.size_bytes > 2 * file.stat().st_size


def test_settings_and_the_call_choose_the_format() -> None:
    assert size_of(made()) == 2_002_008
    assert size_of(made(), dtype="float32") == 4_004_008
    assert size_of(made("float32")) == 4_004_008, "what its configuration says is what it is loaded in"
    assert size_of(made(None)) == 2_002_008
    assert size_of(made(), {"dtype": "float32"}) == 4_004_008
    assert size_of(made(), {"dtype": "float32"}, dtype="bfloat16") == 2_002_008


def test_packed_weights_are_taken_as_they_are() -> None:
    assert size_of(made(is_quantized=True), dtype="float32") == 2_002_008


@pytest.mark.parametrize(
    ("quantization", "low", "high"),
    [
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, 500_000, 600_000),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, 1_000_000, 1_200_000),
        ({"quant_method": "gptq", "bits": 3}, 375_000, 450_000),
    ],
)
def test_what_is_packed_while_it_is_loaded_takes_less(
    quantization: dict[str, Any], low: int, high: int
) -> None:
    assert low < size_of(made(), {"quantization": quantization}) < high


def test_of_pickled_weights_their_size_is_all_that_is_known(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path, None, (tmp_path / "w.bin",), 1234, {}, is_pickled=True)
    assert size_of(checkpoint, dtype="float64") == 1234


@pytest.mark.parametrize("where", ["dtype", "torch_dtype", "text_config"])
def test_the_format_is_found_where_configurations_have_it(
    where: str, tiny_model: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "checkpoint")
    config = json.loads((folder / "config.json").read_text())
    config.pop("dtype", None)
    before = need(tiny_model)
    config |= {"text_config": {"dtype": "bfloat16"}} if where == "text_config" else {where: "torch.bfloat16"}
    (folder / "config.json").write_text(json.dumps(config))
    assert need(folder) * 2 == before


@pytest.mark.parametrize("left", [3, 20, 1_000, 100_000, -1])
def test_a_gguf_file_that_is_cut_off_is_refused(left: int, embedded_file: Path, tmp_path: Path) -> None:
    content = embedded_file.read_bytes()
    file = tmp_path / "model.gguf"
    file.write_bytes(content[:left])
    with pytest.raises(LoadError, match=r"'.*model\.gguf' is no whole GGUF file"):
        need(file)


def test_something_else_is_no_gguf_file(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_text("<html>404 Not Found</html>")
    with pytest.raises(LoadError, match="is no whole GGUF file: it does not begin as one"):
        need(file)
    file.write_bytes(b"GGUF\x09\0\0\0" + b"\0" * 16)
    with pytest.raises(LoadError, match="its version is 9; valid are 2, 3"):
        need(file)


def test_formats_of_torch_and_of_files_agree() -> None:
    for name in ("float16", "bfloat16", "float32", "float64"):
        width = getattr(torch, name).itemsize
        assert size_of(made(), dtype=name) == 1_001_000 * width + 8
