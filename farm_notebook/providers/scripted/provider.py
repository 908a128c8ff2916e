"""The scripted provider: it plays the script that the model's name spells."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import AsyncGenerator, Sequence
from typing import ClassVar

from farm_notebook.errors import ProviderConnectionError
from farm_notebook.providers.base import AIProvider
from farm_notebook.providers.scripted.failures import failure
from farm_notebook.providers.scripted.script import SCRIPTS, answer, delay_s, logprobs, parse, usage
from farm_notebook.types import (
    Capability,
    ChatRequest,
    Embeddings,
    Event,
    Finished,
    LoadProgress,
    ModelInfo,
    ModelRef,
    ProviderStatus,
    Started,
    Usage,
)

__all__ = ["EMBEDDING_WIDTH", "ScriptedProvider"]

EMBEDDING_WIDTH = 8
_CAN: frozenset[Capability] = frozenset({"chat", "completion", "embedding", "tools", "vision", "reasoning"})


class ScriptedProvider(AIProvider):
    """Answers from the script that the model's name spells; ``open_streams`` counts those not yet ended."""

    name = "scripted"
    is_listed: ClassVar[bool] = False
    is_real: ClassVar[bool] = False
    open_streams: ClassVar[int] = 0

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        script = parse(request.ref.model)
        pause_s = delay_s(script, request)
        deltas, reason = answer(script, request)
        ScriptedProvider.open_streams += 1
        try:
            yield Started(request.ref)
            if script.name == "error":
                raise failure(script.kind, request.ref, script.retry_after_s)
            for delta in deltas:
                if pause_s:
                    await asyncio.sleep(pause_s)
                yield delta
            match script.name:
                case "fail":
                    raise ProviderConnectionError(
                        f"{request.ref} broke on cue after {len(deltas)} words.", provider=self.name
                    )
                case "stall":
                    await asyncio.sleep(math.inf)
                case "truncate":
                    return
            yield Finished(reason, usage(request, deltas), logprobs=logprobs(script, request, deltas))
        finally:
            ScriptedProvider.open_streams -= 1

    async def embed(self, texts: Sequence[str], model: str) -> Embeddings:
        parse(model)
        usage = Usage(input_tokens=sum(len(text.split()) for text in texts))
        return Embeddings(tuple(_hash_vector(text) for text in texts), ModelRef(self.name, model), usage)

    async def list_models(self) -> list[ModelInfo]:
        return [
            ModelInfo(ModelRef(self.name, script), available=True, loaded=True, capabilities=_CAN)
            for script in SCRIPTS
        ]

    async def load_model(self, model: str) -> AsyncGenerator[LoadProgress, None]:
        parse(model)
        ready: tuple[LoadProgress, ...] = ()  # nothing to load, and so nothing to report
        for progress in ready:
            yield progress

    async def unload_model(self, model: str) -> bool:
        parse(model)
        return False

    def runs_here(self, model: str) -> bool:
        return True

    async def health_check(self) -> ProviderStatus:
        return ProviderStatus(self.name, healthy=True, detail="always ready")


def _hash_vector(text: str) -> tuple[float, ...]:
    """A unit vector that depends on the text alone."""
    raw = [byte - 127.5 for byte in hashlib.sha256(text.encode()).digest()[:EMBEDDING_WIDTH]]
    norm = math.hypot(*raw)
    return tuple(value / norm for value in raw)
