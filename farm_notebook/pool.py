"""What farms of equal settings share: providers, with their connections and loaded models, and kept answers.

Everything in it lives on the farm's event loop. A pool is made with the first farm of its settings and closed
when the interpreter exits, or by ``aclose``, after which it makes its providers anew.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
import threading
from collections.abc import AsyncGenerator, Set
from contextlib import aclosing
from typing import Any

from farm_notebook import loop
from farm_notebook.config import FarmConfig
from farm_notebook.errors import FarmError, IncompleteStreamError
from farm_notebook.pipeline import Handler, Middleware, compose
from farm_notebook.pipeline.cache import cache
from farm_notebook.pipeline.meter import meter
from farm_notebook.pipeline.retry import retry
from farm_notebook.pipeline.single_flight import SingleFlight
from farm_notebook.pipeline.timers import timers
from farm_notebook.providers import is_replaced, make_provider, provider_names, unused_providers
from farm_notebook.providers.base import AIProvider
from farm_notebook.router import explaining
from farm_notebook.stores.sqlite import SQLiteStore
from farm_notebook.types import ChatRequest, Event, Finished, ModelRef, ProviderStatus

__all__ = ["Pool", "shared_pool"]


class Pool:
    """The providers of one configuration, made when first asked for, and what is kept of their answers.

    Args:
        config: The settings.
    """

    def __init__(self, config: FarmConfig) -> None:
        self._config = config
        keeping = config.cache
        self.answers = SQLiteStore(config.answers_path, ttl_s=keeping.ttl_s, max_bytes=keeping.max_bytes)
        self._flights = SingleFlight[Event]()
        self._hashes: dict[tuple[str, type[AIProvider]], str] = {}
        self._made: dict[str, AIProvider] = {}
        self._replaced: list[AIProvider] = []  # by a class of the same name; they may still be answering

    def get(self, name: str) -> AIProvider:
        """The provider of a name."""
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
        """The file digest or revision of a model, where its provider knows one."""
        return await self.get(ref.provider).digest(ref.model)

    def handler(self, *, in_pieces: bool) -> Handler:
        """The whole way of a request, from the caller to its provider.

        Args:
            in_pieces: Whether the caller shows pieces as they come, or waits for the end anyway.
        """
        policies = (
            meter(),
            self._cache(in_pieces=in_pieces),
            retry(self._config.retry),
            timers(self._config.timeouts),
        )
        return compose(*policies)(self._dispatch)

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
        """Close every provider, and write what is still to be kept."""
        made = [*self._made.values(), *self._replaced]
        self._made.clear()
        self._replaced.clear()
        closing = [self.answers.aclose(), *(provider.aclose() for provider in made)]
        outcomes = await asyncio.gather(*closing, return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    def _cache(self, *, in_pieces: bool) -> Middleware:
        """Keeps and gives answers, where that is not switched off."""
        if not self._config.cache.enabled:
            return compose()
        return cache(
            self.answers, self.digest, settings=self._settings, in_pieces=in_pieces, flights=self._flights
        )

    async def _dispatch(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """Ask the provider; a stream that ends without its finish mark did not succeed."""
        event: Event | None = None
        with explaining(request.ref, self._config):
            async with aclosing(self.get(request.ref.provider).answer(request)) as events:
                async for event in events:
                    yield event
        if not isinstance(event, Finished):
            raise IncompleteStreamError(
                f"The answer of {request.ref} ended without its finish mark.", provider=request.ref.provider
            )


_lock = threading.Lock()
_pools: list[tuple[FarmConfig, Pool]] = []  # few, and a configuration has no hash


def shared_pool(config: FarmConfig) -> Pool:
    """The pool of a configuration; equal ones have the same."""
    with _lock:
        for known, pool in _pools:
            if known == config:
                return pool
        pool = Pool(config)
        _pools.append((config, pool))
        loop.at_shutdown(pool.aclose)
        return pool


def _plain(value: object) -> Any:
    """A setting that is no JSON value as one: a set, a path."""
    return sorted(value) if isinstance(value, Set) else str(value)


def _forget_after_fork() -> None:
    """A forked child must not use its parent's connections and child processes."""
    global _lock
    _lock = threading.Lock()
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
