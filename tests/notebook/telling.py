"""A provider that says what a test has it say, and remembers what it was asked."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import ClassVar

from farm_notebook.providers.scripted import ScriptedProvider
from farm_notebook.types import ChatRequest, Event, Finished, ModelInfo, ModelRef, Started, TextDelta

__all__ = ["TellingProvider"]


class TellingProvider(ScriptedProvider):
    """Its one model, ``telling:it``, has a small context window."""

    name = "telling"
    words: ClassVar[str] = ""
    asked: ClassVar[list[ChatRequest]] = []

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        TellingProvider.asked.append(request)
        yield Started(request.ref)
        for line in self.words.splitlines(keepends=True):
            yield TextDelta(line)
        yield Finished("stop")

    async def list_models(self) -> list[ModelInfo]:
        return [ModelInfo(ModelRef(self.name, "it"), context_tokens=3_000, available=True, loaded=True)]
