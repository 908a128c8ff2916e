"""Which files make a model, and several models side by side: LoRA adapters, projectors, context sizes."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio
from gguf_files import IMAGE_TOKENS, png, write_adapter, write_projector

from farm_notebook.config import load_config
from farm_notebook.errors import (
    ContextLengthError,
    InvalidRequestError,
    LoadError,
    ModelNotFoundError,
    UnsupportedParameterError,
)
from farm_notebook.farm import AsyncFarm
from farm_notebook.providers.llamacpp.files import ModelFiles, files_of
from farm_notebook.providers.llamacpp.provider import LlamaCppProvider
from farm_notebook.providers.llamacpp.server import ServerSpec
from farm_notebook.types import Image, ModelInfo
from farm_notebook.weights.catalog import CATALOG

BASE = "smollm2:135m"
SEA = "Tell me of the sea."


@pytest_asyncio.fixture
async def farm(embedded_model: str, no_leaks: None) -> AsyncIterator[AsyncFarm]:
    farm = AsyncFarm(model=embedded_model, llamacpp={"context_tokens": 1024})
    yield farm
    await farm.aclose()


def specs_of(farm: AsyncFarm) -> list[ServerSpec]:
    """How the children of a farm are run."""
    provider = farm._pool.providers.get("llamacpp")
    assert isinstance(provider, LlamaCppProvider)
    return list(provider._shelf.versions())


async def answer(farm: AsyncFarm, model: str, **options: Any) -> str:
    reply = await farm.chat(SEA, model=f"llamacpp:{model}", temperature=0, seed=1, max_tokens=20, **options)
    return reply.text


async def loaded(farm: AsyncFarm) -> dict[str, ModelInfo]:
    infos = await farm._pool.providers.get("llamacpp").list_models()
    return {info.ref.model: info for info in infos if info.loaded}


# Names and files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Empty files under names with and without a plus."""
    for name in ("base.gguf", "style.gguf", "tone.gguf", "a+b.gguf", "base.gguf+tone.gguf"):
        (tmp_path / name).touch()
    return tmp_path.resolve()


@pytest.mark.parametrize(
    ("name", "weights", "adapters"),
    [
        ("{}/base.gguf", "base.gguf", []),
        ("{0}/base.gguf+{0}/style.gguf", "base.gguf", ["style.gguf"]),
        ("{0}/base.gguf+{0}/style.gguf+{0}/tone.gguf", "base.gguf", ["style.gguf", "tone.gguf"]),
        ("{}/a+b.gguf", "a+b.gguf", []),
        ("{0}/base.gguf+{0}/a+b.gguf", "base.gguf", ["a+b.gguf"]),
        ("{0}/a+b.gguf+{0}/a+b.gguf", "a+b.gguf", ["a+b.gguf"]),
        ("{0}/base.gguf+tone.gguf", "base.gguf+tone.gguf", []),
    ],
)
def test_a_name_is_split_at_a_plus_unless_a_file_is_called_so(
    folder: Path, name: str, weights: str, adapters: list[str]
) -> None:
    expected = ModelFiles(folder / weights, tuple(folder / adapter for adapter in adapters))
    assert files_of(name.format(folder), load_config()) == expected


def test_a_model_of_the_catalogue_takes_an_adapter(folder: Path) -> None:
    config = load_config()
    files = files_of(f"{BASE}+{folder}/style.gguf", config)
    assert files == ModelFiles(config.models_dir / CATALOG[BASE].filename, (folder / "style.gguf",))


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        ("./no\0thing.gguf", "'./no\\x00thing.gguf'"),
        (f"./{'x' * 5000}.gguf", "xxx.gguf'"),
        ("./nowhere.gguf+./style.gguf", "'./nowhere.gguf'"),
        (f"{BASE}+./nowhere.gguf", "'./nowhere.gguf'"),
        (f"{BASE}+./no\0thing.gguf", "'./no\\x00thing.gguf'"),
        ("no-such+./style.gguf", "'no-such+./style.gguf'"),
        ("no-such", "'no-such'"),
    ],
)
async def test_a_file_that_is_not_there_is_quoted(name: str, quoted: str) -> None:
    farm = AsyncFarm()
    for call in (farm.chat("hello", model=f"llamacpp:{name}"), farm.unload(f"llamacpp:{name}")):
        with pytest.raises(ModelNotFoundError) as caught:
            await call
        assert quoted in str(caught.value)


def test_a_projector_is_the_one_that_was_set_or_the_only_one_beside_the_file(folder: Path) -> None:
    def found(**projectors: Path | None) -> Path | None:
        named = {str(folder / f"{stem}.gguf"): path for stem, path in projectors.items()}
        config = load_config({"llamacpp": {"projectors": named}})
        return files_of(str(folder / "base.gguf"), config).projector

    assert found() is None
    (folder / "mmproj-f16.gguf").touch()
    assert found() == folder / "mmproj-f16.gguf"
    assert found(base=None) is None
    assert found(base=folder / "tone.gguf") == folder / "tone.gguf"
    (folder / "mmproj-q8.gguf").touch()
    assert found() is None, "of two, neither is taken at random"
    with pytest.raises(ModelNotFoundError, match="gone"):
        found(base=folder / "gone.gguf")


def test_the_settings_of_a_child_are_json_values(tmp_path: Path) -> None:
    files = ModelFiles(tmp_path / "w.gguf", (tmp_path / "a.gguf",), tmp_path / "mmproj.gguf")
    settings = ServerSpec(files, 512, 16, 2, gpu_layers=7, parallel=3).as_settings("key")
    assert settings["adapters"] == [str(tmp_path / "a.gguf")]
    assert settings["projector"] == str(tmp_path / "mmproj.gguf")
    assert (settings["gpu_layers"], settings["parallel"], settings["context_tokens"]) == (7, 3, 512)


# LoRA


@pytest.mark.model
async def test_an_adapter_changes_the_answer_and_one_of_zeros_does_not(
    farm: AsyncFarm, tmp_path: Path
) -> None:
    noise = write_adapter(tmp_path / "noise.gguf", strength=0.3)
    zeros = write_adapter(tmp_path / "zeros.gguf", strength=0.0)
    base = await answer(farm, BASE)
    assert await answer(farm, f"{BASE}+{zeros}") == base
    assert await answer(farm, f"{BASE}+{noise}") != base
    assert await answer(farm, f"{BASE}+{zeros}+{noise}") == await answer(farm, f"{BASE}+{noise}")
    assert await answer(farm, BASE) == base


@pytest.mark.model
async def test_a_model_with_an_adapter_is_listed_and_unloaded_by_its_own_name(
    farm: AsyncFarm, tmp_path: Path
) -> None:
    name = f"{BASE}+{write_adapter(tmp_path / 'zeros.gguf', strength=0.0)}"
    await answer(farm, BASE)
    await answer(farm, name)
    assert (await loaded(farm)).keys() == {BASE, name}
    assert await farm.unload(f"llamacpp:{name}")
    assert (await loaded(farm)).keys() == {BASE}


@pytest.mark.model
async def test_the_digest_is_that_of_all_files(farm: AsyncFarm, embedded_file: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "zeros.gguf", strength=0.0)
    provider = farm._pool.providers.get("llamacpp")
    digests = [CATALOG[BASE].sha256, hashlib.sha256(adapter.read_bytes()).hexdigest()]
    assert await provider.digest(BASE) == digests[0]
    both = await provider.digest(f"{BASE}+{adapter}")
    assert both == hashlib.sha256("\n".join(digests).encode()).hexdigest()
    assert both == await provider.digest(f"{embedded_file}+{adapter}")
    write_adapter(adapter, strength=0.1)
    assert await provider.digest(f"{BASE}+{adapter}") != both


@pytest.mark.model
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"width": 512}, "incorrect shape"),
        ({"architecture": "qwen2"}, "arch mismatch"),
        (None, "invalid magic"),
    ],
)
async def test_an_adapter_of_another_model_is_refused_in_llama_cpps_words(
    farm: AsyncFarm, tmp_path: Path, changes: dict[str, Any] | None, words: str
) -> None:
    path = tmp_path / "other.gguf"
    if changes is None:
        path.write_bytes(b"no such thing")
    else:
        write_adapter(path, strength=0.1, **changes)
    with pytest.raises(LoadError, match=words) as caught:
        await answer(farm, f"{BASE}+{path}")
    assert repr(str(path)) in str(caught.value)


# Several at once


@pytest.mark.model
async def test_two_models_answer_at_the_same_time(
    farm: AsyncFarm, embedded_file: Path, tmp_path: Path, llamacpp_children: Callable[[], set[int]]
) -> None:
    other = tmp_path / "other.gguf"
    shutil.copy(embedded_file, other)
    with other.open("r+b") as file:  # another model of the same kind: some weights of its last layer are 0
        file.seek(-1_000_000, 2)
        file.write(bytes(900_000))
    others = llamacpp_children()
    alone = [await answer(farm, BASE), await answer(farm, str(other))]
    children = llamacpp_children() - others
    assert len(children) == 2
    used = {pid: sum(psutil.Process(pid).cpu_times()[:2]) for pid in children}
    together = await asyncio.gather(answer(farm, BASE), answer(farm, str(other)))
    assert all(sum(psutil.Process(pid).cpu_times()[:2]) > used[pid] for pid in children)
    assert list(together) == alone
    assert alone[0] != alone[1]
    assert llamacpp_children() - others == children


@pytest.mark.model
async def test_each_farms_context_size_is_its_own(embedded_model: str, no_leaks: None) -> None:
    small = AsyncFarm(model=embedded_model, llamacpp={"context_tokens": 256})
    large = AsyncFarm(model=embedded_model, llamacpp={"context_tokens": 1024})
    prompt = "word " * 400
    try:
        with pytest.raises(ContextLengthError) as caught:
            await small.chat(prompt)
        assert caught.value.limit == 256
        assert (caught.value.tokens or 0) > 400
        assert (await large.chat(prompt, max_tokens=1)).usage.input_tokens == caught.value.tokens
    finally:
        await small.aclose()
        await large.aclose()


async def test_gpu_layers_and_slots_are_as_they_were_set(embedded_file: Path) -> None:
    settings = {"gpu_layers": 12, "parallel": 2, "context_tokens": 512}
    provider = LlamaCppProvider(load_config({"llamacpp": settings}))
    spec = provider._spec(BASE)
    assert (spec.gpu_layers, spec.parallel, spec.context_tokens) == (12, 2, 512)


async def test_only_fetched_files_are_deleted(tmp_path: Path) -> None:
    path = tmp_path / "mine.gguf"
    path.touch()
    provider = LlamaCppProvider(load_config({"cache_dir": tmp_path}))
    with pytest.raises(InvalidRequestError, match=r"mine\.gguf.*delete it yourself"):
        await provider.delete_model(str(path))
    assert await provider.delete_model(BASE) is False
    fetched = provider.config.models_dir / CATALOG[BASE].filename
    fetched.parent.mkdir()
    fetched.touch()
    assert await provider.delete_model(BASE) is True
    assert not fetched.exists()
    assert path.exists()


# Images


@pytest.fixture
def seeing(embedded_file: Path, tmp_path: Path) -> str:
    """The path of a model with a projector beside it."""
    folder = tmp_path / "seeing"
    folder.mkdir()
    shutil.copy(embedded_file, folder / "model.gguf")
    write_projector(folder / "mmproj.gguf")
    return str(folder / "model.gguf")


@pytest.mark.model
async def test_an_image_changes_the_answer_and_is_counted(farm: AsyncFarm, seeing: str) -> None:
    async def look(*images: bytes) -> tuple[str, int]:
        reply = await farm.chat(
            "What do you see?",
            model=f"llamacpp:{seeing}",
            images=[Image(image, "image/png") for image in images],
            temperature=0,
            seed=1,
            max_tokens=20,
        )
        assert reply.usage.input_tokens is not None
        return reply.text, reply.usage.input_tokens

    nothing, red, blue = await look(), await look(png(255, 0, 0)), await look(png(0, 0, 255))
    assert len({nothing[0], red[0], blue[0]}) == 3
    assert red == await look(png(255, 0, 0))
    assert red[1] == blue[1] == nothing[1] + IMAGE_TOKENS
    info = (await loaded(farm))[seeing]
    assert info.capabilities is not None
    assert "vision" in info.capabilities
    with pytest.raises(InvalidRequestError, match="image"):
        await look(b"\x89PNG\r\n\x1a\n no picture")


@pytest.mark.model
async def test_an_image_without_a_projector_is_refused_and_nothing_is_loaded(farm: AsyncFarm) -> None:
    with pytest.raises(UnsupportedParameterError, match=r"images.*mmproj.*projectors.*smollm2:135m"):
        await farm.chat("What is this?", images=Image(png(0, 0, 0), "image/png"))
    assert await loaded(farm) == {}


@pytest.mark.model
async def test_a_projector_of_another_model_is_named(farm: AsyncFarm, seeing: str) -> None:
    projector = write_projector(Path(seeing).with_name("mmproj.gguf"), width=512)
    with pytest.raises(LoadError, match=r"llama\.cpp says") as caught:
        await answer(farm, seeing)
    assert repr(str(projector)) in str(caught.value)
