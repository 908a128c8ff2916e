"""The models in a server's memory: told of, and loaded anew when their version on the server changes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from contract import drain, on_farm_loop
from ollama_double import OllamaDouble
from ollama_mind import REGISTRY

from farm_notebook.errors import FarmError
from farm_notebook.farm import AsyncFarm
from farm_notebook.providers.ollama.provider import OllamaProvider
from farm_notebook.types import ModelEvent, ModelRef, ModelState

PATIENCE_S = 30.0


def publish(monkeypatch: pytest.MonkeyPatch, double: OllamaDouble, name: str) -> None:
    """Have another version of a model on the server's disk, as ``ollama create`` and ``ollama pull`` do."""
    model = REGISTRY[name]
    monkeypatch.setitem(REGISTRY, name, replace(model, sizes=(*model.sizes, 7)))
    double.install(name)


@contextmanager
def states_of(farm: AsyncFarm) -> Iterator[asyncio.Queue[ModelState]]:
    """The states that are told of, from now on."""
    queue: asyncio.Queue[ModelState] = asyncio.Queue()

    def hear(event: ModelEvent) -> None:
        queue.put_nowait(event.state)

    stop = farm.models.listen(hear)
    try:
        yield queue
    finally:
        stop()


@on_farm_loop
async def test_what_the_server_has_in_memory_is_told_with_its_size(
    ollama_provider: OllamaProvider, ollama_double: OllamaDouble
) -> None:
    assert await ollama_provider.model_statuses() == []
    await drain(ollama_provider.load_model("parrot"))
    (status,) = await ollama_provider.model_statuses()
    assert (status.ref, status.state, status.devices) == (ModelRef("ollama", "parrot"), "ready", ("cpu",))
    assert status.size_bytes == sum(REGISTRY["parrot:latest"].sizes)


@on_farm_loop
async def test_what_this_process_does_to_models_is_told(ollama_provider: OllamaProvider) -> None:
    await drain(ollama_provider.load_model("parrot"))
    await drain(ollama_provider.load_model("parrot:latest"))
    await ollama_provider.unload_model("parrot")
    told = [event.state for event in ollama_provider.lifecycle.journal.events()]
    assert told == ["loading", "ready", "unloading", "absent"]


@on_farm_loop
async def test_a_load_that_fails_is_told_with_the_reason(
    ollama_provider: OllamaProvider, ollama_double: OllamaDouble
) -> None:
    ollama_double.scripted["/api/generate"] = (500, '{"error": "the file is damaged"}', {})
    with pytest.raises(FarmError):
        await drain(ollama_provider.load_model("parrot"))
    *_, last = ollama_provider.lifecycle.journal.events()
    assert last.state == "failed"
    assert "the file is damaged" in last.detail


@on_farm_loop
async def test_a_watched_model_is_loaded_anew_when_its_digest_changes(
    ollama_double: OllamaDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    farm = AsyncFarm(
        ollama={"url": ollama_double.url},
        cache_dir=tmp_path,
        models={"watch_interval_s": 0.01, "settle_s": 0.0},
    )
    try:
        await farm.chat("hello", model="ollama:parrot")
        assert await farm.models.watch("ollama:parrot")
        with states_of(farm) as states:
            publish(monkeypatch, ollama_double, "parrot:latest")
            async with asyncio.timeout(PATIENCE_S):
                while await states.get() != "ready":
                    pass
        assert ollama_double.loaded["parrot:latest"].model.digest == REGISTRY["parrot:latest"].digest
        assert (await farm.chat("hello", model="ollama:parrot")).digest == REGISTRY["parrot:latest"].digest
    finally:
        await farm.aclose()
