"""A provider whose models are loaded step by step, as a test says; and a farm that has it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from farm_notebook import providers
from farm_notebook.errors import LoadError
from farm_notebook.farm import Farm
from farm_notebook.providers.scripted import ScriptedProvider
from farm_notebook.types import Capability, LoadProgress, ModelInfo, ModelRef, ModelState, ModelStatus

__all__ = ["Toy", "toy_farm"]

MB = 1_000_000


class Toy(ScriptedProvider):
    """``toy:slow`` loads as far as ``may_go`` lets it, ``toy:broken`` does not load, ``toy:big`` is large."""

    name = "toy"
    is_listed = True
    there: ClassVar[dict[str, ModelState]] = {}
    may_go: ClassVar[asyncio.Event]
    pulled: ClassVar[list[str]]
    says: ClassVar[str]

    async def list_models(self) -> list[ModelInfo]:
        can: frozenset[Capability] = frozenset({"chat", "tools"})
        return [
            ModelInfo(
                ModelRef(self.name, "slow"),
                100 * MB,
                8192,
                available=True,
                loaded=Toy.there.get("slow") == "ready",
                capabilities=can,
            ),
            ModelInfo(ModelRef(self.name, "broken"), None, None, available=True),
            ModelInfo(ModelRef(self.name, "big"), 10**15, 4096),
        ]

    async def load_model(self, model: str) -> AsyncGenerator[LoadProgress, None]:
        if model == "broken":
            raise LoadError(f"toy:broken is <b>torn</b>{Toy.says}. Run: farm pull toy:broken")
        Toy.there[model] = "loading"
        try:
            yield LoadProgress("fetch", 40 * MB, 100 * MB)
            yield LoadProgress("load", 50 * MB, 100 * MB, device="cpu")
            await Toy.may_go.wait()
            Toy.there[model] = "ready"
        finally:
            if Toy.there[model] == "loading":
                del Toy.there[model]

    async def pull_model(self, model: str) -> AsyncGenerator[LoadProgress, None]:
        yield LoadProgress("fetch", 100 * MB, 100 * MB)
        Toy.pulled.append(model)

    async def unload_model(self, model: str) -> bool:
        return Toy.there.pop(model, None) is not None

    async def model_statuses(self) -> list[ModelStatus]:
        return [
            ModelStatus(ModelRef(self.name, model), state, 1, 100 * MB, ("cpu",))
            for model, state in Toy.there.items()
        ]

    async def digest(self, model: str) -> str | None:
        return "d1"


OFF = {name: {"enabled": False} for name in ("llamacpp", "huggingface", "ollama", "openai")}


@contextmanager
def toy_farm(monkeypatch: pytest.MonkeyPatch, folder: Path, **settings: Any) -> Iterator[Farm]:
    """A farm with this provider and no other."""
    monkeypatch.setattr(providers, "_registered", {"toy": Toy})
    Toy.there, Toy.may_go, Toy.pulled, Toy.says = {}, asyncio.Event(), [], ""
    farm = Farm(**{"model": "toy:slow", "cache_dir": folder, **OFF, **settings})
    yield farm
    farm.close()
