"""A provider that shouts back what it is told: ``shout:loud`` once, ``shout:forever`` until it is stopped."""

from __future__ import annotations

import asyncio
import itertools
import math
import re
from collections.abc import AsyncGenerator, Sequence
from typing import ClassVar

from farm_notebook.errors import ModelNotFoundError
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

__all__ = ["ShoutProvider"]

MODELS = ("loud", "forever")
PAUSE_S = 0.01


class ShoutProvider(AIProvider):
    """The last message in capitals, word by word; nothing is drawn, so that any seed gives the same."""

    name = "shout"
    honours = frozenset({"temperature", "top_p", "seed", "max_tokens", "stop", "completion"})
    shouting: ClassVar[int] = 0  # how many answers are on their way

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        model = _known(request.ref.model)
        shout = request.messages[-1].content.upper()
        stops = [at for at in map(shout.find, request.stop) if at >= 0]
        words = re.findall(r"\s*\S+", shout[: min(stops, default=None)])
        is_endless = model == "forever" and not stops
        said = 0
        ShoutProvider.shouting += 1
        try:  # an error, a cancel, and a caller who has heard enough all pass `finally`
            yield Started(request.ref)
            for word in itertools.cycle(words) if is_endless else words:
                if said == request.max_tokens:
                    yield Finished("length", Usage(len(words), said))
                    return
                await asyncio.sleep(PAUSE_S)
                yield TextDelta(word)
                said += 1
            yield Finished("stop", Usage(len(words), said))
        finally:
            ShoutProvider.shouting -= 1

    async def embed(self, texts: Sequence[str], model: str) -> Embeddings:
        return Embeddings(tuple(map(_letters, texts)), ModelRef(self.name, _known(model)))

    async def list_models(self) -> list[ModelInfo]:
        return [ModelInfo(ModelRef(self.name, model), available=True, loaded=True) for model in MODELS]

    async def load_model(self, model: str) -> AsyncGenerator[LoadProgress, None]:
        _known(model)
        nothing: tuple[LoadProgress, ...] = ()
        for progress in nothing:
            yield progress

    async def unload_model(self, model: str) -> bool:
        _known(model)
        return False

    async def health_check(self) -> ProviderStatus:
        return ProviderStatus(self.name, healthy=True, detail="in good voice")


def _known(model: str) -> str:
    if model not in MODELS:
        raise ModelNotFoundError(f"Nobody shouts as {model!r}. Valid: {', '.join(MODELS)}.")
    return model


def _letters(text: str) -> tuple[float, ...]:
    """How often each of 64 groups of letters stands in a text, as a vector of length 1."""
    counts = [1e-6] * 64  # so that no text is without a direction
    for letter in text:
        counts[ord(letter) % 64] += 1
    length = math.hypot(*counts)
    return tuple(count / length for count in counts)
