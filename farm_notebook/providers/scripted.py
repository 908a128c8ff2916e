"""A provider that says what it is told to: deterministic answers and failures on cue, for tests and docs.

Its model's name is the script. ``echo`` repeats the last message word by word; ``count-N`` streams N
numbered words; ``slow-N`` the same with ``DELAY_S`` between two; ``fail-N`` breaks after N words;
``truncate-N`` ends after N words without a finish mark; ``stall-N`` goes silent after N words.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import re
from collections.abc import AsyncGenerator, Sequence
from typing import ClassVar

from farm_notebook.errors import ModelNotFoundError, ProviderConnectionError
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

__all__ = ["ScriptedProvider"]

DELAY_S = 0.05
EMBEDDING_WIDTH = 8
_SCRIPTS = ("echo", "count", "slow", "fail", "truncate", "stall")
_SCRIPT = re.compile(rf"({'|'.join(_SCRIPTS)})(?:-(\d+))?")
_DEFAULT_COUNT = 10


class ScriptedProvider(AIProvider):
    """Answers from the script that the model's name spells; ``open_streams`` counts those not yet ended."""

    name = "scripted"
    honours = frozenset({"temperature", "top_p", "max_tokens", "seed", "stop", "completion"})
    is_listed: ClassVar[bool] = False
    open_streams: ClassVar[int] = 0

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        script, count = _parse(request.ref.model)
        words = _words(script, count, request.messages[-1].content)
        if request.max_tokens is not None and script in ("echo", "count", "slow"):
            limit = min(request.max_tokens, len(words))
        else:
            limit = len(words)
        spoken = _until_stop(words[:limit], request.stop)
        cut = limit < len(words) and "".join(spoken) == "".join(words[:limit])
        said = 0
        ScriptedProvider.open_streams += 1
        try:
            yield Started(request.ref)
            for text in spoken:
                if script == "slow":
                    await asyncio.sleep(DELAY_S)
                said += 1
                yield TextDelta(text)
            match script:
                case "fail":
                    raise ProviderConnectionError(
                        f"{request.ref} broke on cue after {said} words.", provider=self.name
                    )
                case "stall":
                    await asyncio.sleep(math.inf)
                case "truncate":
                    return
                case _:
                    prompt_words = sum(len(message.content.split()) for message in request.messages)
                    yield Finished("length" if cut else "stop", Usage(prompt_words, said))
        finally:
            ScriptedProvider.open_streams -= 1

    async def embed(self, texts: Sequence[str], model: str) -> Embeddings:
        _parse(model)
        return Embeddings(tuple(_hash_vector(text) for text in texts), ModelRef(self.name, model))

    async def list_models(self) -> list[ModelInfo]:
        return [ModelInfo(ModelRef(self.name, script), available=True, loaded=True) for script in _SCRIPTS]

    async def load_model(self, model: str) -> AsyncGenerator[LoadProgress, None]:
        _parse(model)
        ready: tuple[LoadProgress, ...] = ()  # nothing to load, and so nothing to report
        for progress in ready:
            yield progress

    async def unload_model(self, model: str) -> bool:
        _parse(model)
        return False

    async def health_check(self) -> ProviderStatus:
        return ProviderStatus(self.name, healthy=True, detail="always ready")


def _parse(model: str) -> tuple[str, int]:
    match = _SCRIPT.fullmatch(model)
    if not match:
        raise ModelNotFoundError(
            f"No script is called {model!r}. Valid: {', '.join(_SCRIPTS)}, each with a count as in 'count-5'."
        )
    return match[1], int(match[2] or _DEFAULT_COUNT)


def _words(script: str, count: int, prompt: str) -> list[str]:
    """The answer, a word with the space before it a delta."""
    if script == "echo":
        return re.findall(r"\s*\S+", prompt)
    return [f"{' ' if number else ''}word{number}" for number in range(count)]


def _until_stop(words: Sequence[str], stop: Sequence[str]) -> list[str]:
    text = "".join(words)
    ends = [at for at in (text.find(mark) for mark in stop) if at >= 0]
    if not ends:
        return list(words)
    return re.findall(r"\s*\S+", text[: min(ends)])


def _hash_vector(text: str) -> tuple[float, ...]:
    """A unit vector that depends on the text alone."""
    raw = [byte - 127.5 for byte in hashlib.sha256(text.encode()).digest()[:EMBEDDING_WIDTH]]
    norm = math.hypot(*raw)
    return tuple(value / norm for value in raw)
