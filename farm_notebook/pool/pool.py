"""The policies of one configuration, composed, with what they share between requests."""

from __future__ import annotations

import asyncio
import os
import threading

from farm_notebook import loop
from farm_notebook.config import FarmConfig
from farm_notebook.pipeline import Handler, Middleware, compose
from farm_notebook.pipeline.cache import cache
from farm_notebook.pipeline.meter import meter
from farm_notebook.pipeline.retry import retry
from farm_notebook.pipeline.single_flight import SingleFlight
from farm_notebook.pipeline.timers import timers
from farm_notebook.pool.providers import shared_providers
from farm_notebook.stores.sqlite import SQLiteStore
from farm_notebook.types import Event

__all__ = ["Pool", "shared_pool"]


class Pool:
    """What farms of one configuration share.

    Args:
        config: The settings.
    """

    def __init__(self, config: FarmConfig) -> None:
        self._config = config
        self.providers = shared_providers(config)
        keeping = config.cache
        self.answers = SQLiteStore(config.answers_path, ttl_s=keeping.ttl_s, max_bytes=keeping.max_bytes)
        self._flights = SingleFlight[Event]()

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
        return compose(*policies)(self.providers.dispatch)

    async def aclose(self) -> None:
        """Close every provider, and write what is still to be kept."""
        closing = (self.answers.aclose(), self.providers.aclose())
        for outcome in await asyncio.gather(*closing, return_exceptions=True):
            if outcome is not None:
                raise outcome

    def _cache(self, *, in_pieces: bool) -> Middleware:
        """Keeps and gives answers, where that is not switched off."""
        if not self._config.cache.enabled:
            return compose()
        return cache(
            self.answers,
            self.providers.digest,
            settings=self.providers.identity,
            in_pieces=in_pieces,
            flights=self._flights,
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


def _forget_after_fork() -> None:
    """A forked child must not use what its parent has open."""
    global _lock
    _lock = threading.Lock()
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
