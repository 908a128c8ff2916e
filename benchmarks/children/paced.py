"""A provider that a benchmark registers in a kernel: a long answer at 1,000 deltas a second.

It notes when each delta arrived; ``time.perf_counter`` is one clock for all processes of a Linux machine.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from typing import ClassVar

from benchmarks.texts import TEXTS, deltas
from farm_notebook import AsyncFarm, register_provider
from farm_notebook.providers.base import AIProvider
from farm_notebook.types import (
    ChatRequest,
    Embeddings,
    Event,
    Finished,
    LoadProgress,
    ModelInfo,
    ModelRef,
    ProviderStatus,
    Started,
    TextDelta,
    Usage,
)

__all__ = ["PacedProvider", "consume", "request"]

INTERVAL_S = 0.001
_ANSWERS = {name: deltas(text()) for name, text in TEXTS.items()}


@register_provider
class PacedProvider(AIProvider):
    """Its model's name is the text; ``arrivals`` are those of the last stream."""

    name = "paced"
    is_listed: ClassVar[bool] = False
    arrivals: ClassVar[list[float]] = []

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        answer, arrivals = _ANSWERS[request.ref.model], PacedProvider.arrivals
        arrivals.clear()
        yield Started(request.ref)
        begun = time.perf_counter()
        for number, text in enumerate(answer):
            ahead_s = begun + number * INTERVAL_S - time.perf_counter()
            if ahead_s > 0:
                await asyncio.sleep(ahead_s)
            arrivals.append(time.perf_counter())
            yield TextDelta(text)
        yield Finished("stop", Usage(1, len(answer)))

    async def embed(self, texts: Sequence[str], model: str) -> Embeddings:
        return Embeddings((), ModelRef(self.name, model))

    async def list_models(self) -> list[ModelInfo]:
        return []

    async def load_model(self, model: str) -> AsyncGenerator[LoadProgress, None]:
        ready: tuple[LoadProgress, ...] = ()
        for progress in ready:
            yield progress

    async def unload_model(self, model: str) -> bool:
        return False

    async def health_check(self) -> ProviderStatus:
        return ProviderStatus(self.name, healthy=True, detail="always ready")


def request(name: str) -> ChatRequest:
    """The request for one of the texts."""
    return AsyncFarm().request("go", model=f"{PacedProvider.name}:{name}")


async def consume(name: str) -> None:
    """The answer, taken and dropped."""
    async for _ in AsyncFarm().events(request(name)):
        pass
