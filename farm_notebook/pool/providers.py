"""The providers of one configuration, and the last step of a request: to the one that is named.

Farms whose settings differ only in policies, such as budgets or aliases, share them, so that to change a
policy loads no model twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Sequence, Set
from contextlib import aclosing, contextmanager
from typing import Any

from farm_notebook import loop
from farm_notebook.config import FarmConfig
from farm_notebook.config.masking import mask_error
from farm_notebook.errors import (
    FarmError,
    IncompleteStreamError,
    NotRecordedError,
    ProviderError,
    RequestBlockedError,
)
from farm_notebook.lifecycle.common import Lifecycle
from farm_notebook.pool.blocked import check_request
from farm_notebook.pool.models import Models
from farm_notebook.providers import is_replaced, make_provider, provider_names, unused_providers
from farm_notebook.providers.base import AIProvider
from farm_notebook.router import explaining
from farm_notebook.stores.redaction import Redaction, secrets_of
from farm_notebook.types import ChatRequest, Embeddings, Event, Finished, ModelRef, ProviderStatus

__all__ = ["ProviderPool", "SealedProviders", "shared_providers"]

_NOT_OF_ANSWERS = {"enabled", "default_model"}  # settings that change who is asked, and not what is answered


class ProviderPool:
    """Providers by name, made when first asked for.

    Args:
        config: The settings.
    """

    def __init__(self, config: FarmConfig) -> None:
        self._config = config
        self._redact = Redaction(lambda: secrets_of(config))
        self.lifecycle = Lifecycle(config.models)
        self.models = Models(self, self.lifecycle)
        self._identities: dict[tuple[str, type[AIProvider]], str] = {}
        self._made: dict[str, AIProvider] = {}
        self._replaced: list[AIProvider] = []  # by a class of the same name; they may still be answering
        self._in_flight: Counter[ModelRef] = Counter()

    def get(self, name: str) -> AIProvider:
        """The provider of a name.

        Raises:
            UnknownProviderError: There is none.
            ConfigError: It cannot be made.
            RequestBlockedError: It would ask for real, and that is blocked.
        """
        if name in self._made and is_replaced(self._made[name]):
            self._replaced.append(self._made.pop(name))
        if name not in self._made:
            self._made[name] = make_provider(name, self._config, self.lifecycle)
        check_request(self._made[name])
        return self._made[name]

    def made(self) -> list[AIProvider]:
        """Those that were asked for so far."""
        return [*self._made.values(), *self._replaced]

    def listed(self) -> tuple[list[AIProvider], list[ProviderStatus]]:
        """Those that users are shown, and what is wrong with those that cannot be made."""
        made: list[AIProvider] = []
        broken = unused_providers(self._config)
        for name in provider_names(self._config):
            try:
                made.append(self.get(name))
            except RequestBlockedError:
                raise
            except FarmError as error:
                broken.append(ProviderStatus(name, healthy=False, detail=str(error)))
        return [provider for provider in made if provider.is_listed], broken

    def identity(self, name: str) -> str:
        """What tells a provider and its settings from others; the same in every process."""
        try:
            kind = type(self.get(name))
        except FarmError:  # the request itself will say why
            return ""
        if (name, kind) not in self._identities:
            section = self._config.section(name)
            told = [
                name,
                kind.__module__,
                kind.__qualname__,
                section and section.model_dump(exclude={"enabled", "default_model"}),
            ]
            if kind.__module__ == "__main__":  # a notebook's own: when its cell runs again it is another one
                told.append(secrets.token_hex())
            plain = json.dumps(told, sort_keys=True, default=_plain)
            self._identities[name, kind] = hashlib.sha256(plain.encode()).hexdigest()[:16]
        return self._identities[name, kind]

    def in_flight(self, ref: ModelRef) -> int:
        """How many answers of a model are under way here."""
        return self._in_flight[ref]

    @property
    def is_busy(self) -> bool:
        """Whether any answer is under way here."""
        return bool(self._in_flight)

    def take_seed(self, name: str) -> bool:
        """Whether a provider honours a seed."""
        try:
            return "seed" in self.get(name).honours
        except FarmError:  # the request itself will say why
            return True

    def runs_here(self, ref: ModelRef) -> bool:
        """Whether a model runs on the user's own hardware."""
        try:
            return self.get(ref.provider).runs_here(ref.model)
        except FarmError:  # the request itself will say why
            return False

    async def digest(self, ref: ModelRef) -> str | None:
        """The file digest or revision of a model, where its provider knows one."""
        return await self.get(ref.provider).digest(ref.model)

    async def dispatch(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """Ask the provider; a stream that ends without its finish mark did not succeed."""
        event: Event | None = None
        ref = request.ref
        self._in_flight[ref] += 1
        try:
            with self.telling(ref, self._config):
                async with aclosing(self.get(ref.provider).answer(request)) as events:
                    async for event in events:
                        yield event
        finally:
            self._in_flight[ref] -= 1
            if not self._in_flight[ref]:
                del self._in_flight[ref]
        if not isinstance(event, Finished):
            raise IncompleteStreamError(
                f"The answer of {ref} ended without its finish mark.", provider=ref.provider
            )

    async def embed(self, texts: Sequence[str], ref: ModelRef) -> Embeddings:
        """Ask the provider for vectors."""
        with self.telling(ref, self._config):
            return await self.get(ref.provider).embed(texts, ref.model)

    @contextmanager
    def telling(self, ref: ModelRef, config: FarmConfig) -> Iterator[None]:
        """Have errors on their way out tell what helps, and no secret, whoever wrote the provider.

        Args:
            ref: The model that something is asked of.
            config: Whose aliases may have been meant.
        """
        try:
            with explaining(ref, config):
                yield
        except Exception as error:
            if mask_error(error, self._redact):
                raise
            message = f"{ref} failed: {self._redact(f'{type(error).__name__}: {error}')}"
            raise ProviderError(message, provider=ref.provider) from None

    async def aclose(self) -> None:
        """Close every provider; the next request makes it anew.

        Raises:
            Exception: The first that a provider raised, when all were asked to close.
        """
        await self.models.aclose()
        made = self.made()
        self._made.clear()
        self._replaced.clear()
        outcomes = await asyncio.gather(*(each.aclose() for each in made), return_exceptions=True)
        await self.models.aclose()  # a load that has ended meanwhile may have begun to be watched
        for outcome in outcomes:
            if outcome is not None:
                raise outcome


class SealedProviders(ProviderPool):
    """Providers of which none is made: while calls are replayed, whoever would ask one is told so."""

    def get(self, name: str) -> AIProvider:
        """None.

        Raises:
            NotRecordedError: Always.
        """
        raise NotRecordedError(
            f"{name!r} was to be asked, but while calls are replayed from a cassette nobody is; this kind of "
            "call is not among those that are recorded. `%farm cassette off` ends that."
        )


_lock = threading.Lock()
_pools: list[tuple[FarmConfig, ProviderPool]] = []  # few, and a configuration has no hash


def shared_providers(config: FarmConfig) -> ProviderPool:
    """The providers of a configuration; those that differ only in what no provider reads have the same."""
    read = config.for_providers()
    with _lock:
        for known, pool in _pools:
            if known == read:
                return pool
        pool = ProviderPool(config)
        _pools.append((read, pool))
        loop.at_shutdown(pool.aclose)
        return pool


def forget_providers(pool: ProviderPool, in_use: Sequence[ProviderPool]) -> bool:
    """Make a pool anew when it is next asked for; whether nobody uses this one any more."""
    with _lock:
        if any(each is pool for each in in_use):
            return False
        _pools[:] = [(known, each) for known, each in _pools if each is not pool]
    loop.not_at_shutdown(pool.aclose)
    return True


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
