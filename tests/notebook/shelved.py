"""A provider whose models are names on a real shelf: they are loaded, replaced and given up in no time.

The model ``slow`` loads for ever; what is in ``ShelvedProvider.broken`` cannot be loaded, and
``ShelvedProvider.files`` says what version of a model its files are.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing, asynccontextmanager
from functools import cached_property
from typing import Any, ClassVar

from farm_notebook.errors import LoadError
from farm_notebook.holders.ghosts import Ghost
from farm_notebook.lifecycle.job import Tell
from farm_notebook.lifecycle.shelf import Shelf
from farm_notebook.lifecycle.version import Facts, next_generation
from farm_notebook.providers.scripted import ScriptedProvider
from farm_notebook.types import (
    ChatRequest,
    Event,
    Finished,
    LoadOptions,
    LoadProgress,
    ModelRef,
    ModelStatus,
    Started,
    TextDelta,
)

__all__ = ["ShelvedProvider"]

SIZE = 270_000_000
FREE = 3_100_000_000


class Weights:
    """What is loaded: the version of its files."""

    def __init__(self, name: str, version: str) -> None:
        self.name = name
        self.version = version
        self.generation = next_generation()


class Loader:
    """Loads names."""

    def __init__(self, provider: ShelvedProvider) -> None:
        self._provider = provider

    def ref(self, key: str) -> ModelRef:
        return ModelRef("shelved", key)

    def base(self, key: str) -> None:
        return None

    def facts(self, value: Weights) -> Facts:
        return Facts(value.generation, SIZE, ("cuda:0",))

    async def load(self, key: str, base: Weights | None, options: LoadOptions, tell: Tell) -> Weights:
        tell(LoadProgress("load", 0, SIZE, options.device or "cuda:0", FREE))
        if key in self._provider.broken:
            raise LoadError(f"The files of {key!r} are torn.")
        if key in self._provider.endless:
            await asyncio.Event().wait()
        return Weights(key, self._provider.files.get(key, "first"))

    async def interrupt(self, value: Weights) -> None:
        return

    async def close(self, value: Weights) -> None:
        ghost = Ghost(value, ref=f"shelved:{value.name}", generation=value.generation, size_bytes=SIZE)
        self._provider.lifecycle.ghosts.add(ghost)

    async def park(self, value: Weights) -> bool:
        return True

    async def unpark(self, value: Weights) -> None:
        return

    def death(self, value: Weights) -> Coroutine[Any, Any, str] | None:
        return None


class ShelvedProvider(ScriptedProvider):
    """Answers with the version of a model's files."""

    name = "shelved"
    broken: ClassVar[set[str]] = set()
    endless: ClassVar[set[str]] = {"slow"}
    files: ClassVar[dict[str, str]] = {}

    @cached_property
    def _shelf(self) -> Shelf[str, Weights]:
        return Shelf(Loader(self), self.lifecycle)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        async with aclosing(self._shelf.load(request.ref.model)) as loading:
            async for progress in loading:
                yield progress
        async with self._shelf.hold(request.ref.model) as version:
            yield Started(request.ref)
            yield TextDelta(version.value.version)
            yield Finished("stop")

    def load_model(self, model: str) -> AsyncGenerator[LoadProgress, None]:
        return self._shelf.load(model)

    def place_model(self, model: str, options: LoadOptions) -> AsyncGenerator[LoadProgress, None]:
        return self._shelf.load(model, options)

    async def reload_model(
        self, model: str, *, drain_s: float | None = None
    ) -> AsyncGenerator[LoadProgress, None]:
        async with aclosing(self._shelf.reload(model, drain_s=drain_s)) as reloading:
            async for progress in reloading:
                yield progress

    async def unload_model(self, model: str) -> bool:
        return await self._shelf.put_away(model)

    async def set_aside_model(self, model: str) -> bool:
        return await self._shelf.set_aside(model)

    async def interrupt_model(self, model: str) -> None:
        await self._shelf.interrupt(model)

    @asynccontextmanager
    async def lease(self, model: str) -> AsyncIterator[Weights]:
        async with self._shelf.lease(model) as version:
            yield version.value

    async def model_statuses(self) -> list[ModelStatus]:
        return self._shelf.statuses()

    async def fingerprint(self, model: str) -> str | None:
        return self.files.get(model, "first")

    async def loaded_fingerprint(self, model: str) -> str | None:
        version = self._shelf.versions().get(model)
        return version.value.version if version else None

    async def aclose(self) -> None:
        await self._shelf.clear()
