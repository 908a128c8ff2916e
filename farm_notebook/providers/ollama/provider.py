"""An Ollama server as a provider: its models, brought, loaded, asked and unloaded over HTTP."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import urlsplit

from farm_notebook.config import FarmConfig
from farm_notebook.errors import (
    FarmError,
    FetchError,
    ModelNotFoundError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
    UnsupportedParameterError,
)
from farm_notebook.providers.base import AIProvider
from farm_notebook.providers.ollama.body import keep_alive, request_body, runner_options
from farm_notebook.providers.ollama.client import OllamaClient, is_refused
from farm_notebook.providers.ollama.index import Index
from farm_notebook.providers.ollama.names import is_cloud
from farm_notebook.providers.ollama.pull import Pulls
from farm_notebook.providers.ollama.residents import Residents
from farm_notebook.providers.ollama.service import Service
from farm_notebook.providers.ollama.stream import decode_stream
from farm_notebook.types import (
    ChatRequest,
    Embeddings,
    Event,
    LoadProgress,
    ModelInfo,
    ModelRef,
    ModelStatus,
    ProviderStatus,
    Started,
    Usage,
)

__all__ = ["OllamaProvider"]

T = TypeVar("T")

EMBEDDING_BATCH_TEXTS = 32  # texts a request, so that a cancel is noticed between two
HEALTH_S = 4.0  # a little less than health.deadline_s, which has fewer words
UNLOAD_S = 60.0  # a model that still answers someone is unloaded when it has
POLL_S = 0.05
CLOUD_HOST = "ollama.com"  # which serves the protocol too, for a fee


class OllamaProvider(AIProvider):
    """Models of an Ollama server: ``ollama:llama3.2``, ``ollama:hf.co/user/model:Q4_K_M``."""

    name = "ollama"

    def __init__(self, config: FarmConfig) -> None:
        super().__init__(config)
        self._client = OllamaClient(config)
        self._index = Index(self._client)
        self._pulls = Pulls(self._client)
        self._service = Service(config, self._client)
        self._background: dict[str, asyncio.Task[None]] = {}

    @cached_property
    def _residents(self) -> Residents:
        return Residents(self.lifecycle.journal)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        body = request_body(request, self.config.ollama)
        async with aclosing(self._load(request.ref.model, runner_options(body))) as loading:
            async for progress in loading:
                yield progress
        path = "/api/generate" if request.kind == "completion" else "/api/chat"
        yield Started(request.ref)
        with self._index.used(request.ref.model):
            async with (
                self._client.opened(path, body) as chunks,
                aclosing(decode_stream(chunks, request, self._client.explain)) as events,
            ):
                async for event in events:
                    yield event

    async def embed(self, texts: Sequence[str], model: str) -> Embeddings:
        ref = ModelRef(self.name, model)
        async with aclosing(self.load_model(model)) as loading:
            async for _ in loading:
                pass
        vectors: list[tuple[float, ...]] = []
        tokens: int | None = 0
        for start in range(0, len(texts), EMBEDDING_BATCH_TEXTS):
            batch = list(texts[start : start + EMBEDDING_BATCH_TEXTS])
            body = self._settings(model) | {"input": batch, "truncate": False}
            with self._index.used(model):
                answer = await self._client.post(
                    "/api/embed", body, timeout_s=self.config.timeouts.first_event_s
                )
            try:
                found = [_unit(row) for row in answer["embeddings"]]
            except (KeyError, TypeError):
                found = []
            if len(found) != len(batch):
                raise ProviderError(
                    f"{ref} was given {len(batch)} texts and sent no list of as many vectors.",
                    provider=self.name,
                )
            vectors += found
            count = answer.get("prompt_eval_count")
            tokens = tokens + count if tokens is not None and isinstance(count, int) else None
        return Embeddings(tuple(vectors), ref, Usage(input_tokens=tokens or None))

    async def list_models(self) -> list[ModelInfo]:
        return await self._index.infos()

    def load_model(self, model: str) -> AsyncGenerator[LoadProgress, None]:
        return self._load(model, self._settings(model)["options"])

    async def pull_model(self, model: str) -> AsyncGenerator[LoadProgress, None]:
        """Bring a model to the server, or a newer version of it than is there.

        Raises:
            ModelNotFoundError: The registry has no model of that name.
            FetchError: Offline, or the server could not fetch it.
        """
        listed = await self._with_server(lambda: self._index.find(model))
        if self.config.offline:
            if listed is not None:
                return
            raise FetchError(
                f"The model {model!r} is not on the Ollama server and FARM_OFFLINE is set. Unset it and run "
                f"`farm pull {self.name}:{model}`."
            )
        self._index.forget(model)
        async with aclosing(self._pulls.pull(model, is_here=listed is not None)) as pulling:
            async for progress in pulling:
                yield progress

    async def delete_model(self, model: str) -> bool:
        self._index.forget(model)
        try:
            await self._client.delete("/api/delete", {"model": model})
        except ModelNotFoundError:
            return False
        return True

    async def unload_model(self, model: str) -> bool:
        self._index.forget(model)
        was_loaded = await self._index.is_loaded(model)
        await self._client.post("/api/generate", {"model": model, "keep_alive": 0, "stream": False})
        if was_loaded:
            self._residents.tell(model, "unloading")
            await self._unloaded(model)
        self._residents.tell(model, "absent")
        return was_loaded

    async def model_statuses(self) -> list[ModelStatus]:
        return self._residents.statuses(await self._index.running())

    async def fingerprint(self, model: str) -> str | None:
        return await self._index.digest_on_disk(model)

    async def loaded_fingerprint(self, model: str) -> str | None:
        return await self._index.digest_in_memory(model)

    def runs_here(self, model: str) -> bool:
        return not is_cloud(model) and urlsplit(self._client.address.url).hostname != CLOUD_HOST

    async def health_check(self) -> ProviderStatus:
        try:
            address = self._client.address
            version = await self._client.version(HEALTH_S)
        except FarmError as error:
            if not is_refused(error):
                fix = "set OLLAMA_URL to where a server is"
                return ProviderStatus(self.name, healthy=False, detail=str(error), fix=fix)
            detail = f"nothing answers at {address.url}"
            return ProviderStatus(self.name, healthy=False, detail=detail, fix=self._service.remedy)
        detail = "; ".join((f"Ollama {version} at {address.url}", *self._background_news()))
        return ProviderStatus(self.name, healthy=True, detail=detail)

    async def digest(self, model: str) -> str | None:
        try:
            return await self._index.digest(model)
        except ProviderError:  # an answer that was given is not lost for that
            return None

    async def aclose(self) -> None:
        tasks = list(self._background.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._pulls.aclose()
        await self._client.aclose()

    async def _load(self, model: str, options: Mapping[str, Any]) -> AsyncGenerator[LoadProgress, None]:
        """Have a model in the server's memory, with those options that loading depends on.

        Source: docs/api.md, "Load a model": a request with an empty prompt.
        """
        if is_cloud(model) or self._index.is_surely_loaded(model):
            return
        if await self._with_server(lambda: self._index.is_loaded(model)):
            return
        entry = await self._index.find(model)
        if entry is None and self.config.ollama.auto_pull and not self.config.offline:
            async with aclosing(self.pull_model(model)) as pulling:
                async for progress in pulling:
                    yield progress
            entry = await self._index.find(model)
        size = entry.get("size") if entry else None
        if size is not None:
            yield LoadProgress("load", 0, size)
        body = self._settings(model) | {"options": dict(options), "stream": False}
        if _is_zero(body.get("keep_alive")):  # with an empty prompt that is unloading
            del body["keep_alive"]
        self._residents.tell(model, "loading")
        try:
            await self._bring(body)
        except BaseException as error:
            is_failure = isinstance(error, Exception)
            self._residents.tell(model, "failed" if is_failure else "absent", str(error))
            raise
        self._index.note_loaded(model, entry.get("digest") if entry else None)
        self._residents.tell(model, "ready")
        if size is not None:
            yield LoadProgress("load", size, size)

    async def _bring(self, body: Mapping[str, Any]) -> None:
        """Load what a request with an empty prompt names."""
        try:
            await self._client.post("/api/generate", dict(body), timeout_s=None)
        except UnsupportedParameterError:  # a model that only embeds
            await self._client.post("/api/embed", {**body, "input": []}, timeout_s=None)

    async def _unloaded(self, model: str) -> None:
        """Wait until the server's memory is free of a model."""
        give_up_at = time.monotonic() + UNLOAD_S
        while await self._index.is_loaded(model):
            self._index.forget(model)
            if time.monotonic() > give_up_at:
                raise ProviderTimeoutError(
                    f"{self.name}:{model} is still in memory after {UNLOAD_S:g} s; it may be answering "
                    "someone else. It goes when it has.",
                    timer="total",
                    provider=self.name,
                )
            await asyncio.sleep(POLL_S)

    def _settings(self, model: str) -> dict[str, Any]:
        """What every request says of a model besides what is asked of it."""
        settings = self.config.ollama
        body: dict[str, Any] = {"model": model, "options": {}}
        if (duration := keep_alive(settings)) is not None:
            body["keep_alive"] = duration
        if settings.context_tokens is not None:
            body["options"]["num_ctx"] = settings.context_tokens
        return body

    async def _with_server(self, ask: Callable[[], Awaitable[T]]) -> T:
        """The first question of a request; where nothing listens, a server is started if so configured."""
        try:
            return await ask()
        except ProviderConnectionError as error:
            if not (self.config.ollama.auto_start and self._service.is_startable and is_refused(error)):
                raise
        await self._service.start()
        self._pull_configured()
        return await ask()

    def _pull_configured(self) -> None:
        """Bring the configured models while others are answering; ``health_check`` tells how far they are."""
        for model in self.config.ollama.pull:
            task = self._background.get(model)
            if task is None or task.done():
                self._background[model] = asyncio.create_task(self._pull_quietly(model))

    async def _pull_quietly(self, model: str) -> None:
        async with aclosing(self.pull_model(model)) as pulling:
            async for _ in pulling:
                pass

    def _background_news(self) -> list[str]:
        news = []
        for name, progress in self._pulls.progress.items():
            share = ""
            if progress is not None and progress.total_bytes:
                share = f" ({progress.completed_bytes / progress.total_bytes:.0%})"
            news.append(f"pulling {name}{share}")
        for model, task in self._background.items():
            if task.done() and not task.cancelled() and (error := task.exception()):
                news.append(f"could not pull {model}: {error}")
        return news


def _is_zero(duration: float | str | None) -> bool:
    """Whether a time to keep a model is none at all, as 0, ``0s`` or ``0m``."""
    return duration == 0 or (isinstance(duration, str) and not duration.strip("0.hmsun"))


def _unit(row: Any) -> tuple[float, ...]:
    """A vector of unit length; the server's already are, up to the precision it sends."""
    norm = math.hypot(*row) or 1.0
    return tuple(row) if abs(norm - 1.0) < 1e-6 else tuple(value / norm for value in row)
