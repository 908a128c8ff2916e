"""What the server has: models on its disk and in its memory, and what they can do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from farm_notebook.errors import FarmError
from farm_notebook.providers.ollama.client import PROVIDER, OllamaClient
from farm_notebook.providers.ollama.names import full_name, is_cloud, same_model, short_name
from farm_notebook.types import Capability, ModelInfo, ModelRef

__all__ = ["Index"]

SURE_S = 5.0  # a model that was in memory a moment ago is taken to be there, as is its digest
SHOWN_AT_ONCE = 4  # models whose details are asked for at the same time
_CAPABILITIES: dict[str, tuple[Capability, ...]] = {
    "completion": ("chat", "completion"),
    "embedding": ("embedding",),
    "tools": ("tools",),
    "vision": ("vision",),
    "thinking": ("reasoning",),
}


@dataclass(frozen=True, slots=True)
class _Sighting:
    """A model that was seen in memory."""

    seen_at: float
    digest: str | None


class Index:
    """Asks one server for its models, and remembers for a moment which are loaded.

    Without the memory each request of a run of short ones would ask twice more than it has to.
    """

    def __init__(self, client: OllamaClient) -> None:
        self._client = client
        self._sightings: dict[str, _Sighting] = {}
        self._details: dict[str, Mapping[str, Any]] = {}  # of /api/show, by digest: they do not change

    async def find(self, model: str) -> Mapping[str, Any] | None:
        """A model's entry in the list of what is on disk."""
        return _entry(model, (await self._client.get("/api/tags")).get("models"))

    async def digest(self, model: str) -> str | None:
        """SHA-256 of a model's manifest, which changes when anything of it does."""
        if (sighting := self._sure(model)) and sighting.digest:
            return sighting.digest
        return await self.digest_on_disk(model)

    async def digest_on_disk(self, model: str) -> str | None:
        """The same, asked anew: of what the next load would load."""
        entry = await self.find(model)
        return entry.get("digest") if entry else None

    async def digest_in_memory(self, model: str) -> str | None:
        """The same of what is loaded; ``None`` where it is not."""
        entry = _entry(model, await self.running())
        return entry.get("digest") if entry else None

    async def running(self) -> list[Mapping[str, Any]]:
        """The entries of what the server has in memory."""
        return _entries((await self._client.get("/api/ps")).get("models"))

    async def is_loaded(self, model: str) -> bool:
        """Whether the server has a model in memory; asks it."""
        entry = _entry(model, await self.running())
        if entry is not None:
            self._remember(model, entry.get("digest"))
        return entry is not None

    def is_surely_loaded(self, model: str) -> bool:
        """Whether a model was in memory a moment ago; asks nobody."""
        return self._sure(model) is not None

    def note_loaded(self, model: str, digest: str | None) -> None:
        """The server said that it has loaded a model."""
        self._remember(model, digest)

    def forget(self, model: str) -> None:
        """A model may have changed."""
        self._sightings.pop(_key(model), None)

    @contextmanager
    def used(self, model: str) -> Iterator[None]:
        """A loaded model is asked inside; where that fails, nothing is taken for granted afterwards."""
        try:
            yield
        except FarmError:
            self.forget(model)
            raise

    async def infos(self) -> list[ModelInfo]:
        """All models on the server's disk.

        Raises:
            ProviderConnectionError: Nothing answers.
        """
        listed, running = await asyncio.gather(self._client.get("/api/tags"), self._client.get("/api/ps"))
        entries = _entries(listed.get("models"))
        loaded = running.get("models")
        limit = asyncio.Semaphore(SHOWN_AT_ONCE)

        async def info(entry: Mapping[str, Any]) -> ModelInfo:
            name = _name(entry)
            async with limit:
                shown = await self._show(name, entry)
            is_ready = is_cloud(name) or _entry(name, loaded) is not None
            return _info(name, entry, shown, is_loaded=is_ready)

        return list(await asyncio.gather(*(info(entry) for entry in entries)))

    async def _show(self, name: str, entry: Mapping[str, Any]) -> Mapping[str, Any]:
        """A model's details, as far as the server has any."""
        digest = entry.get("digest") or name
        if digest not in self._details:
            try:
                shown = await self._client.post("/api/show", {"model": name})
            except FarmError:  # deleted meanwhile, or its file is damaged: it is listed all the same
                return {}
            # The licence's text and the tensors are long, and nobody asks for them.
            self._details[digest] = {key: shown.get(key) for key in ("model_info", "capabilities")}
        return self._details[digest]

    def _sure(self, model: str) -> _Sighting | None:
        sighting = self._sightings.get(_key(model))
        return sighting if sighting and time.monotonic() - sighting.seen_at < SURE_S else None

    def _remember(self, model: str, digest: str | None) -> None:
        self._sightings[_key(model)] = _Sighting(time.monotonic(), digest)


def _key(model: str) -> str:
    return full_name(model).casefold()


def _name(entry: Mapping[str, Any]) -> str:
    return str(entry.get("model") or entry.get("name"))


def _entry(model: str, entries: Any) -> Mapping[str, Any] | None:
    return next((entry for entry in _entries(entries) if same_model(_name(entry), model)), None)


def _entries(listed: Any) -> list[Mapping[str, Any]]:
    """What is listed, if it is a list of objects, as it should be."""
    return [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _info(name: str, entry: Mapping[str, Any], shown: Mapping[str, Any], *, is_loaded: bool) -> ModelInfo:
    facts, details = _mapping(shown.get("model_info")), _mapping(entry.get("details"))
    words = entry.get("capabilities") or shown.get("capabilities")
    kind = (details.get("family"), details.get("parameter_size"), details.get("quantization_level"))
    lengths = (value for key, value in facts.items() if key.endswith(".context_length"))
    return ModelInfo(
        ModelRef(PROVIDER, short_name(name)),
        size_bytes=entry.get("size"),
        context_tokens=details.get("context_length") or next(lengths, None),
        digest=entry.get("digest"),
        license=facts.get("general.license"),
        available=True,
        loaded=is_loaded,
        description=" ".join(str(word) for word in kind if word),
        capabilities=None
        if not isinstance(words, list)
        else frozenset(capability for word in words for capability in _CAPABILITIES.get(str(word), ())),
    )
