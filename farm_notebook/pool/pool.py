"""The policies of one configuration, composed, with what they share between requests."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Coroutine, Sequence
from typing import Any

from farm_notebook import loop
from farm_notebook.config import FarmConfig
from farm_notebook.config.secrets import find_secret
from farm_notebook.monitor import HealthMonitor
from farm_notebook.pipeline import Handler, Middleware, compose
from farm_notebook.pipeline.allowance import allowance
from farm_notebook.pipeline.breaker import Breakers, breaker
from farm_notebook.pipeline.cache import cache
from farm_notebook.pipeline.default_seed import default_seed
from farm_notebook.pipeline.embedding_stream import under
from farm_notebook.pipeline.embeddings import EmbeddingCache
from farm_notebook.pipeline.fallback import fallback
from farm_notebook.pipeline.meter import Record, meter, meter_embeddings
from farm_notebook.pipeline.retry import retry
from farm_notebook.pipeline.route import route
from farm_notebook.pipeline.single_flight import SingleFlight
from farm_notebook.pipeline.timers import timers
from farm_notebook.pipeline.trace import trace, trace_embeddings
from farm_notebook.pool.notebook import notebook_name
from farm_notebook.pool.providers import (
    ProviderPool,
    SealedProviders,
    forget_providers,
    shared_providers,
)
from farm_notebook.prices import Prices
from farm_notebook.router import Chooser
from farm_notebook.stores import Store
from farm_notebook.stores.history import History
from farm_notebook.stores.ledger import Ledger
from farm_notebook.stores.ledger_redis import RedisLedger
from farm_notebook.stores.ledger_sqlite import SQLiteLedger
from farm_notebook.stores.redaction import Redaction, secrets_of
from farm_notebook.stores.redis import RedisStore
from farm_notebook.stores.redis_client import RedisClient
from farm_notebook.stores.sqlite import SQLiteStore
from farm_notebook.types import Embeddings, Event, ModelInfo, ModelRef

__all__ = ["Pool", "shared_pool"]


class Pool:
    """What farms of one configuration share. Nothing is opened, and nobody asked, until it is used.

    Args:
        config: The settings.
    """

    def __init__(self, config: FarmConfig) -> None:
        self.users = weakref.WeakSet[object]()  # the farms that have it
        self._config = config
        self._redact = Redaction(lambda: secrets_of(config))
        self.live_providers = shared_providers(
            config
        )  # also while calls are replayed: what is loaded stays so
        is_replayed = config.cassette.mode == "replay"
        self.providers = SealedProviders(config) if is_replayed else self.live_providers
        self.providers.models.set_policies(config.models)
        self.breakers = Breakers(config.breaker)
        self.health = HealthMonitor(self.providers.listed, config.health, redact=self._redact)
        self.chooser = Chooser(
            config, self._models_of, ailment=self.ailment, in_flight=self.providers.in_flight
        )
        self.prices = Prices(config, self.providers.runs_here)
        self.history = History(
            config.history_path,
            keep_days=config.history.keep_days,
            max_bytes=config.history.max_bytes,
            texts=config.history.texts,
            redact=self._redact,
        )
        self._redis = _redis(config)
        self.answers = self._store()
        self.ledger = self._ledger()
        self._flights = SingleFlight[Event]()
        self.told = set[tuple[ModelRef, str]]()  # which models were chosen, and why
        self._embeddings = EmbeddingCache(self.answers, self.providers.digest, self.providers.identity)
        self._asked_embeddings = under(compose(*self._attempt()), self.providers.embed)
        self._embed = meter_embeddings(
            trace_embeddings(self._kept_embeddings, config.telemetry, redact=self._redact),
            prices=self.prices,
            record=self._record,
            notebook=notebook_name,
            environment=config.environment,
        )

    def handler(self, *, in_pieces: bool) -> Handler:
        """The whole way of a request, from the caller to its provider.

        Args:
            in_pieces: Whether the caller shows pieces as they come, or waits for the end anyway.
        """
        config = self._config
        policies = (
            meter(
                prices=self.prices,
                record=self._record,
                notebook=notebook_name,
                environment=config.environment,
            ),
            trace(config.telemetry, redact=self._redact),
            route(self.chooser.settle, forget=self.chooser.forget, known=self.told),
            self._cache(in_pieces=in_pieces),
            fallback(
                context_tokens=self.chooser.context_tokens,
                ailment=self.ailment,
                enabled=config.fallback.enabled,
            ),
            *self._attempt(),
            timers(config.timeouts),
            default_seed(config.seed, self.providers.take_seed),
        )
        return compose(*policies)(self.providers.dispatch)

    async def embed(self, texts: tuple[str, ...], ref: ModelRef) -> Embeddings:
        """One vector a text; those that were kept are not asked for again."""
        return await self._embed(texts, ref)

    async def aclose(self) -> None:
        """Close every provider, and write what is still to be kept.

        Raises:
            Exception: The first that anything raised, when all was asked to close.
        """
        await self._close(self.live_providers.aclose())

    async def let_go(self, successor: Pool) -> None:
        """Give back what only this pool has: its farm has another one now.

        The providers stay where the successor has the same ones, or another pool, or an answer is under way.

        Args:
            successor: The pool in its place.
        """
        successor.told |= self.told
        if forget_pool(self):
            live = self.live_providers
            is_idle = not live.is_busy and forget_providers(live, _in_use())
            await self._close(*([live.aclose()] if is_idle else []))

    async def _close(self, *more: Coroutine[Any, Any, None]) -> None:
        await self.health.aclose()
        closing = (self.answers.aclose(), self.history.aclose(), self.ledger.aclose(), *more)
        outcomes = await asyncio.gather(*closing, return_exceptions=True)
        if self._redis is not None:
            await self._redis.aclose()
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    @property
    def _record(self) -> Record | None:
        return self.history.record if self._config.history.enabled else None

    def ailment(self, ref: ModelRef) -> str | None:
        """What is known to be wrong with a model's provider, in a line."""
        return self.breakers.ailment(ref.provider) or self.health.ailment(ref.provider)

    async def _models_of(self, provider: str) -> list[ModelInfo]:
        return await self.providers.get(provider).list_models()

    async def _kept_embeddings(self, texts: Sequence[str], ref: ModelRef) -> Embeddings:
        if not self._config.cache.enabled:
            return await self._asked_embeddings(texts, ref)
        return await self._embeddings.embed(texts, ref, lambda missing: self._asked_embeddings(missing, ref))

    def _attempt(self) -> tuple[Middleware, ...]:
        """What stands before each attempt to ask a provider, whatever it is asked."""
        config = self._config
        return (
            breaker(self.breakers),
            retry(config.retry),
            allowance(
                config.budget,
                config.limits,
                self.ledger,
                self.prices.cost,
                notebook=lambda: notebook_name() or "",
            ),
        )

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
            may_keep=lambda text: self._redact(text) == text,
        )

    def _store(self) -> Store:
        config = self._config
        if self._redis is not None:
            return RedisStore(self._redis, ttl_s=config.cache.ttl_s)
        return SQLiteStore(config.answers_path, ttl_s=config.cache.ttl_s, max_bytes=config.cache.max_bytes)

    def _ledger(self) -> Ledger:
        return SQLiteLedger(self._config.ledger_path) if self._redis is None else RedisLedger(self._redis)


def _redis(config: FarmConfig) -> RedisClient | None:
    if config.redis.url is None:
        return None
    return RedisClient(config.redis, lambda: find_secret(config.redis.password_env, config))


_lock = threading.Lock()
_pools: list[tuple[FarmConfig, Pool]] = []  # few, and a configuration has no hash


def shared_pool(config: FarmConfig, user: object) -> Pool:
    """The pool of a configuration; equal ones have the same.

    Args:
        config: The settings.
        user: Who uses it, for as long as it lives.
    """
    with _lock:
        pool = next((pool for known, pool in _pools if known == config), None)
        if pool is None:
            pool = Pool(config)
            _pools.append((config, pool))
            loop.at_shutdown(pool.aclose)
        pool.users.add(user)
        return pool


def forget_pool(pool: Pool) -> bool:
    """Make a pool anew when it is next asked for; whether nobody uses this one any more."""
    with _lock:
        if pool.users:
            return False
        _pools[:] = [(known, each) for known, each in _pools if each is not pool]
    loop.not_at_shutdown(pool.aclose)
    return True


def _in_use() -> list[ProviderPool]:
    with _lock:
        return [pool.live_providers for _, pool in _pools]


def _forget_after_fork() -> None:
    """A forked child must not use what its parent has open."""
    global _lock
    _lock = threading.Lock()
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
