"""What the tests of models' lives may use: a farm of its own, and links to versions that differ."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers", reason="the extra huggingface is not installed")

sys.path += [str(Path(__file__).parents[1] / room) for room in ("providers", "notebook")]

from checkpoints import converted_model, one_thread, tiny_model

from farm_notebook import loop
from farm_notebook.farm import AsyncFarm

from .versions import Link, Versions, copy_with_tail, turned, with_cities_swapped

__all__ = ["converted_model", "tiny_model"]


@pytest.fixture(scope="package", autouse=True)
def on_one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture
def make_farm(tmp_path: Path, no_leaks: None) -> Iterator[Callable[..., AsyncFarm]]:
    """A function: a farm with providers, and a record of its models, of its own; settings may be added."""
    farms: list[AsyncFarm] = []

    def make(**settings: Any) -> AsyncFarm:
        own: dict[str, Any] = {
            "cache_dir": tmp_path / "cache",
            "offline": True,
            "huggingface": {"device": "cpu"},
            "llamacpp": {"context_tokens": 1024, "threads": 1},
            "models": {"watch_interval_s": 0.02, "settle_s": 0.1},  # it looks at watched files often
            "retry": {"attempts": 1},
            "breaker": {"enabled": False},
            "fallback": {"enabled": False},
        }
        farms.append(AsyncFarm(**own | settings))
        return farms[-1]

    yield make
    for farm in farms:
        loop.run_blocking(farm.aclose())


@pytest.fixture
def farm(make_farm: Callable[..., AsyncFarm]) -> AsyncFarm:
    return make_farm()


@pytest.fixture(scope="package")
def tiny_versions(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Versions:
    """The tiny model, and one that has the capitals wrong."""
    other = with_cities_swapped(tiny_model, tmp_path_factory.mktemp("tiny") / "b")
    return Versions("huggingface", tiny_model, other)


@pytest.fixture(scope="package")
def real_versions(converted_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Versions:
    """The embedded model as safetensors, and one with a layer turned around."""
    return Versions(
        "huggingface", converted_model, turned(converted_model, tmp_path_factory.mktemp("real") / "b")
    )


@pytest.fixture(scope="package")
def gguf_versions(embedded_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Versions:
    """The embedded model, and one with some weights of its last layer away."""
    other = copy_with_tail(embedded_file, tmp_path_factory.mktemp("gguf") / "b.gguf", b"\0")
    return Versions("llamacpp", embedded_file, other, "The capital of Japan is", "completion")


@pytest.fixture
def tiny(tiny_versions: Versions, tmp_path: Path) -> Link:
    """A link to the first of the tiny versions."""
    return tiny_versions.linked(tmp_path / "latest")


@pytest.fixture
def real(real_versions: Versions, tmp_path: Path) -> Link:
    """A link to the first of the real versions."""
    return real_versions.linked(tmp_path / "latest")


@pytest.fixture
def gguf(gguf_versions: Versions, tmp_path: Path) -> Link:
    """A link to the first of the GGUF files."""
    return gguf_versions.linked(tmp_path / "latest.gguf")


@pytest.fixture
def link(request: pytest.FixtureRequest) -> Link:
    """The one of those that a test is parametrized with."""
    found: Link = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What refers to itself stays: memory that is given back is given back at once."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()
