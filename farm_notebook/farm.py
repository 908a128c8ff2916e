"""The farm: every model behind one set of calls. ``AsyncFarm`` is the core, ``Farm`` the same, blocking.

A farm is a cheap handle. Farms with equal settings share providers, and so connections and loaded
models; these live on the farm's own event loop, so that any thread and any other loop may call.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
import threading
from collections.abc import AsyncGenerator, Generator, Sequence, Set
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, contextmanager
from typing import Any, TypeVar

from typing_extensions import Unpack

from farm_notebook import loop
from farm_notebook.config import FarmConfig, load_config
from farm_notebook.errors import FarmError, IncompleteStreamError, ProviderError
from farm_notebook.pipeline import Handler, Middleware, compose
from farm_notebook.pipeline.cache import cache
from farm_notebook.pipeline.meter import meter
from farm_notebook.pipeline.single_flight import SingleFlight
from farm_notebook.pipeline.timers import timers
from farm_notebook.providers import is_replaced, make_provider, provider_names, unused_providers
from farm_notebook.providers.base import AIProvider
from farm_notebook.reply import Reply, ReplyBuilder
from farm_notebook.request import Options, Prompt, build_request
from farm_notebook.router import explaining, resolve
from farm_notebook.stores import StoreStats
from farm_notebook.stores.sqlite import SQLiteStore
from farm_notebook.types import (
    ChatRequest,
    Embeddings,
    Event,
    Finished,
    LoadProgress,
    ModelInfo,
    ModelRef,
    ProviderStatus,
    RequestKind,
    TextDelta,
)

__all__ = ["AsyncFarm", "Farm", "default_farm"]

T = TypeVar("T")


class _Providers:
    """The providers of one configuration, made when first asked for, and what is kept of their answers."""

    def __init__(self, config: FarmConfig) -> None:
        self._config = config
        keeping = config.cache
        self.answers = SQLiteStore(config.answers_path, ttl_s=keeping.ttl_s, max_bytes=keeping.max_bytes)
        self.flights = SingleFlight[Event]()
        self._hashes: dict[tuple[str, type[AIProvider]], str] = {}
        self._made: dict[str, AIProvider] = {}
        self._replaced: list[AIProvider] = []  # by a class of the same name; they may still be answering

    def get(self, name: str) -> AIProvider:
        if name in self._made and is_replaced(self._made[name]):
            self._replaced.append(self._made.pop(name))
        if name not in self._made:
            self._made[name] = make_provider(name, self._config)
        return self._made[name]

    def listed(self) -> tuple[list[AIProvider], list[ProviderStatus]]:
        """Those that users are shown, and what is wrong with those that cannot be made."""
        made: list[AIProvider] = []
        broken = unused_providers(self._config)
        for name in provider_names(self._config):
            try:
                made.append(self.get(name))
            except FarmError as error:
                broken.append(ProviderStatus(name, healthy=False, detail=str(error)))
        return [provider for provider in made if provider.is_listed], broken

    async def digest(self, ref: ModelRef) -> str | None:
        return await self.get(ref.provider).digest(ref.model)

    def cache(self, *, in_pieces: bool) -> Middleware:
        """Keeps and gives answers, where that is not switched off."""
        if not self._config.cache.enabled:
            return compose()
        return cache(
            self.answers, self.digest, settings=self._settings, in_pieces=in_pieces, flights=self.flights
        )

    def _settings(self, name: str) -> str:
        """What tells a provider and its settings from others; the same in every process."""
        try:
            kind = type(self.get(name))
        except FarmError:  # the request itself will say why
            return ""
        if (name, kind) not in self._hashes:
            section = self._config.section(name)
            told = [name, kind.__module__, kind.__qualname__, section and section.model_dump()]
            if kind.__module__ == "__main__":  # a notebook's own: when its cell runs again it is another one
                told.append(secrets.token_hex())
            plain = json.dumps(told, sort_keys=True, default=_plain)
            self._hashes[name, kind] = hashlib.sha256(plain.encode()).hexdigest()[:16]
        return self._hashes[name, kind]

    async def aclose(self) -> None:
        made = [*self._made.values(), *self._replaced]
        self._made.clear()
        self._replaced.clear()
        closing = [self.answers.aclose(), *(provider.aclose() for provider in made)]
        outcomes = await asyncio.gather(*closing, return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome


class AsyncFarm:
    """Every model, for coroutines.

    Args:
        config: The settings; without it they are read from the environment.
        settings: Single settings by name, stronger than the environment, e.g. ``model="scripted:echo"``.

    Raises:
        ConfigError: A setting is not valid.
    """

    def __init__(self, config: FarmConfig | None = None, **settings: Any) -> None:
        self.config = config if config is not None else load_config(settings)
        self._providers = _shared_providers(self.config)
        self._handler = self._composed(in_pieces=True)
        self._whole_handler = self._composed(in_pieces=False)  # for those who wait for the end anyway

    def _composed(self, *, in_pieces: bool) -> Handler:
        policies = (meter(), self._providers.cache(in_pieces=in_pieces), timers(self.config.timeouts))
        return compose(*policies)(self._dispatch)

    def request(
        self, prompt: Prompt, *, kind: RequestKind = "chat", **options: Unpack[Options]
    ) -> ChatRequest:
        """The validated request that the other calls would send.

        Raises:
            InvalidRequestError: An option or the prompt is wrong.
        """
        return build_request(prompt, self.config, options, kind=kind)

    async def chat(self, prompt: Prompt, **options: Unpack[Options]) -> Reply:
        """The whole answer.

        Raises:
            FarmError: See ``farm_notebook.errors``; what had arrived is in ``partial_text``.
        """
        return await loop.run(self._collect(self.request(prompt, **options)))

    async def generate(self, prompt: str, **options: Unpack[Options]) -> Reply:
        """The continuation of a raw prompt, with no chat template."""
        return await loop.run(self._collect(self.request(prompt, kind="completion", **options)))

    async def stream(self, prompt: Prompt, **options: Unpack[Options]) -> AsyncGenerator[str, None]:
        """The answer's text, piece by piece; leaving the loop early stops the model."""
        async with aclosing(self.events(self.request(prompt, **options))) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    yield event.text

    def events(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """All events of an answer, progress and finish mark included."""
        return loop.iterate(self._handler(request))

    async def embed(self, texts: str | Sequence[str], *, model: str | None = None) -> Embeddings:
        """One unit vector a text."""
        ref = resolve(model, self.config)
        texts = (texts,) if isinstance(texts, str) else tuple(texts)
        with explaining(ref, self.config):
            return await loop.run(self._providers.get(ref.provider).embed(texts, ref.model))

    async def list_models(self) -> list[ModelInfo]:
        """The models of every provider that can be reached; ``health`` tells of the others."""
        return await loop.run(self._list_models())

    def load(self, model: str | None = None) -> AsyncGenerator[LoadProgress, None]:
        """Fetch a model if need be and bring it into memory."""
        ref = resolve(model, self.config)
        return loop.iterate(self._progress(ref, self._providers.get(ref.provider).load_model(ref.model)))

    def pull(self, model: str | None = None) -> AsyncGenerator[LoadProgress, None]:
        """Bring a model's files to this machine without loading them."""
        ref = resolve(model, self.config)
        return loop.iterate(self._progress(ref, self._providers.get(ref.provider).pull_model(ref.model)))

    async def unload(self, model: str | None = None) -> bool:
        """Give a model's memory back; whether it was loaded."""
        ref = resolve(model, self.config)
        with explaining(ref, self.config):
            return await loop.run(self._providers.get(ref.provider).unload_model(ref.model))

    @asynccontextmanager
    async def lease(self, model: str | None = None) -> AsyncGenerator[Any, None]:
        """A model in this process, loaded if need be: ``async with farm.lease("huggingface:./ckpt") as m``.

        Yields:
            What its provider gives of it; of ``huggingface`` a ``LoadedModel`` with ``module`` and
            ``tokenizer``. After the block it must not be used.

        Raises:
            InvalidRequestError: The provider's models run in another process.
        """
        ref = resolve(model, self.config)
        held = self._providers.get(ref.provider).lease(ref.model)
        leased = await loop.run(_entered(held))
        try:
            yield leased
        finally:
            await loop.run(_left(held))

    async def digest(self, request: ChatRequest) -> str | None:
        """The file digest or revision of the model a request names."""
        return await loop.run(self._providers.digest(request.ref))

    async def cache_stats(self) -> StoreStats:
        """What is kept of answers, by all farms of this user.

        Raises:
            OSError: The file cannot be read.
        """
        return await loop.run(self._providers.answers.stats())

    async def cache_clear(self) -> int:
        """Forget all answers that were kept; how many there were.

        Raises:
            OSError: The file cannot be written.
        """
        return await loop.run(self._providers.answers.clear())

    async def health(self) -> list[ProviderStatus]:
        """The state of every provider, asked at once; nothing is loaded for it."""
        return await loop.run(self._health())

    async def aclose(self) -> None:
        """Unload every model and close every connection of farms with these settings."""
        await loop.run(self._providers.aclose())

    async def _list_models(self) -> list[ModelInfo]:
        asked = (provider.list_models() for provider in self._providers.listed()[0])
        found = await asyncio.gather(*asked, return_exceptions=True)
        infos: list[ModelInfo] = []
        for outcome in found:
            if isinstance(outcome, list):
                infos += outcome
            elif not isinstance(outcome, FarmError):
                raise outcome
        return infos

    async def _health(self) -> list[ProviderStatus]:
        listed, broken = self._providers.listed()
        return [*await asyncio.gather(*(provider.health_check() for provider in listed)), *broken]

    async def _collect(self, request: ChatRequest) -> Reply:
        builder = ReplyBuilder(request)
        try:
            async with aclosing(self._whole_handler(request)) as events:
                async for event in events:
                    builder.add(event)
        except ProviderError as error:
            error.partial_text = error.partial_text or builder.text
            raise
        builder.digest = await self.digest(request)
        return builder.build()

    async def _progress(
        self, ref: ModelRef, events: AsyncGenerator[LoadProgress, None]
    ) -> AsyncGenerator[LoadProgress, None]:
        with explaining(ref, self.config):
            async with aclosing(events):
                async for event in events:
                    yield event

    async def _dispatch(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """Ask the provider; a stream that ends without its finish mark did not succeed."""
        event: Event | None = None
        with explaining(request.ref, self.config):
            async with aclosing(self._providers.get(request.ref.provider).answer(request)) as events:
                async for event in events:
                    yield event
        if not isinstance(event, Finished):
            raise IncompleteStreamError(
                f"The answer of {request.ref} ended without its finish mark.", provider=request.ref.provider
            )


class Farm:
    """Every model, blocking: for scripts, threads and cells, also where an event loop is running.

    Args:
        config: As for ``AsyncFarm``.
        settings: As for ``AsyncFarm``.
    """

    def __init__(self, config: FarmConfig | None = None, **settings: Any) -> None:
        self.core = AsyncFarm(config, **settings)

    @property
    def config(self) -> FarmConfig:
        """The settings."""
        return self.core.config

    def chat(self, prompt: Prompt, **options: Unpack[Options]) -> Reply:
        """See ``AsyncFarm.chat``."""
        return loop.run_blocking(self.core.chat(prompt, **options))

    def generate(self, prompt: str, **options: Unpack[Options]) -> Reply:
        """See ``AsyncFarm.generate``."""
        return loop.run_blocking(self.core.generate(prompt, **options))

    def stream(self, prompt: Prompt, **options: Unpack[Options]) -> Generator[str, None, None]:
        """See ``AsyncFarm.stream``."""
        return loop.iterate_blocking(self.core.stream(prompt, **options))

    def events(self, request: ChatRequest) -> Generator[Event, None, None]:
        """See ``AsyncFarm.events``."""
        return loop.iterate_blocking(self.core.events(request))

    def embed(self, texts: str | Sequence[str], *, model: str | None = None) -> Embeddings:
        """See ``AsyncFarm.embed``."""
        return loop.run_blocking(self.core.embed(texts, model=model))

    def list_models(self) -> list[ModelInfo]:
        """See ``AsyncFarm.list_models``."""
        return loop.run_blocking(self.core.list_models())

    def load(self, model: str | None = None) -> Generator[LoadProgress, None, None]:
        """See ``AsyncFarm.load``."""
        return loop.iterate_blocking(self.core.load(model))

    def pull(self, model: str | None = None) -> Generator[LoadProgress, None, None]:
        """See ``AsyncFarm.pull``."""
        return loop.iterate_blocking(self.core.pull(model))

    @contextmanager
    def lease(self, model: str | None = None) -> Generator[Any, None, None]:
        """See ``AsyncFarm.lease``."""
        held = self.core.lease(model)
        leased = loop.run_blocking(_entered(held))
        try:
            yield leased
        finally:
            loop.run_blocking(_left(held))

    def unload(self, model: str | None = None) -> bool:
        """See ``AsyncFarm.unload``."""
        return loop.run_blocking(self.core.unload(model))

    def health(self) -> list[ProviderStatus]:
        """See ``AsyncFarm.health``."""
        return loop.run_blocking(self.core.health())

    def cache_stats(self) -> StoreStats:
        """See ``AsyncFarm.cache_stats``."""
        return loop.run_blocking(self.core.cache_stats())

    def cache_clear(self) -> int:
        """See ``AsyncFarm.cache_clear``."""
        return loop.run_blocking(self.core.cache_clear())

    def close(self) -> None:
        """See ``AsyncFarm.aclose``."""
        loop.run_blocking(self.core.aclose())


_lock = threading.Lock()
_pools: list[tuple[FarmConfig, _Providers]] = []  # few, and a configuration has no hash
_default: Farm | None = None


def _plain(value: object) -> Any:
    """A setting that is no JSON value as one: a set, a path."""
    return sorted(value) if isinstance(value, Set) else str(value)


async def _entered(held: AbstractAsyncContextManager[T]) -> T:
    return await held.__aenter__()


async def _left(held: AbstractAsyncContextManager[object]) -> None:
    await held.__aexit__(None, None, None)


def default_farm() -> Farm:
    """The farm behind ``farm_notebook.chat`` and the magics, with the settings of the environment."""
    global _default
    with _lock:
        farm = _default
    if farm is None:
        farm = Farm()
        with _lock:
            farm = _default = _default or farm
    return farm


def _shared_providers(config: FarmConfig) -> _Providers:
    with _lock:
        for known, providers in _pools:
            if known == config:
                return providers
        providers = _Providers(config)
        _pools.append((config, providers))
        loop.at_shutdown(providers.aclose)
        return providers


def _forget_after_fork() -> None:
    """A forked child must not use its parent's connections and child processes."""
    global _default, _lock
    _default, _lock = None, threading.Lock()
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
