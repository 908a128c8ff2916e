"""Whether providers are well: asked all at once, within a deadline, and believed for a while.

What a provider says of itself is its ``health_check``; one that fails or does not come to an end is an answer
too, and never keeps the others from theirs. Everything here lives on the farm's event loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import Context, copy_context
from dataclasses import dataclass, replace
from typing import TypeAlias

from farm_notebook.config import HealthConfig
from farm_notebook.errors import FarmError
from farm_notebook.providers.base import AIProvider
from farm_notebook.types import ProviderStatus

__all__ = ["HealthMonitor", "Listener", "Providers"]

SHORTEST_REFRESH_S = 1.0  # between two looks in the background, however short an answer is believed

Providers: TypeAlias = Callable[[], tuple[Sequence[AIProvider], Sequence[ProviderStatus]]]
"""The providers to ask, and what is wrong with those that cannot be made."""

Listener: TypeAlias = Callable[[ProviderStatus], object]

_log = logging.getLogger("farm_notebook")


class HealthMonitor:
    """What is known of the providers' health.

    Args:
        providers: Who is asked; it is called for each look.
        config: The deadline, and how long an answer is believed.
        redact: Takes secrets out of what is told; it may read files, so it is called in a thread.
        clock: Seconds from any fixed moment.
        sleep: Waits some seconds, between two looks in the background.
    """

    def __init__(
        self,
        providers: Providers,
        config: HealthConfig,
        *,
        redact: Callable[[str], str] = str,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._providers = providers
        self._config = config
        self._redact = redact
        self._clock = clock
        self._sleep = sleep
        self._known: dict[str, tuple[ProviderStatus, float]] = {}
        self._checks: dict[str, _Check] = {}
        self._given_up: set[asyncio.Task[ProviderStatus]] = set()  # kept from the garbage collector
        self._watchers: list[_Watcher] = []
        self._refreshing: asyncio.Task[None] | None = None

    def known(self, provider: str) -> ProviderStatus | None:
        """What a provider last said, as long as that is believed; nobody is asked."""
        status, checked_at = self._known.get(provider, (None, 0.0))
        return status if self._clock() - checked_at < self._config.ttl_s else None

    def ailment(self, provider: str) -> str | None:
        """What is known to be wrong with a provider, in a line; ``None`` where nothing is."""
        status = self.known(provider)
        return None if status is None or status.healthy else _in_one_line(status.detail)

    async def check_all(self, *, refresh: bool = False) -> list[ProviderStatus]:
        """The state of every provider, those last that cannot be made.

        Args:
            refresh: Ask also those whose last answer is still believed. A check that is under way is shared.
        """
        listed, broken = self._providers()
        found = await asyncio.gather(*(self._status(provider, refresh) for provider in listed))
        return [*found, *broken]

    @asynccontextmanager
    async def watching(self, listener: Listener | None = None) -> AsyncGenerator[None, None]:
        """Have the providers asked in the background, as long as anyone is inside.

        Args:
            listener: Gets each status that differs from the one before, on the event loop and in the context
                of who watches.
        """
        watcher = _Watcher(listener, copy_context())
        self._watchers.append(watcher)
        if self._refreshing is None:  # in no one's context, for it outlives who began it
            self._refreshing = asyncio.create_task(self._refresh(), name="farm-health", context=Context())
        try:
            yield
        finally:
            self._watchers.remove(watcher)
            if not self._watchers:
                await self._stop_refreshing()

    async def aclose(self) -> None:
        """Ask no more; who still watches hears of nothing more."""
        await self._stop_refreshing()
        tasks = [*(check.task for check in self._checks.values()), *self._given_up]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=self._config.deadline_s)

    async def _status(self, provider: AIProvider, refresh: bool) -> ProviderStatus:
        """What a provider says, at best from a check that is under way; the last who leaves one ends it."""
        if not refresh and (known := self.known(provider.name)) is not None:
            return known
        check = self._checks.get(provider.name)
        if check is None:
            task = asyncio.create_task(self._checked(provider), name=f"farm-health-{provider.name}")
            check = self._checks[provider.name] = _Check(task)
        check.waiting += 1
        try:
            await asyncio.wait([check.task])
        finally:
            check.waiting -= 1
            if not check.waiting:
                check.task.cancel()
                if self._checks.get(provider.name) is check:
                    del self._checks[provider.name]
        if check.task.cancelled():
            return _unwell(provider.name, "it was closed while it was asked")
        return check.task.result()

    async def _checked(self, provider: AIProvider) -> ProviderStatus:
        asked = asyncio.create_task(_asked(provider))
        try:
            await asyncio.wait([asked], timeout=self._config.deadline_s)
            if asked.done():
                status = asked.result()
            else:
                status = _unwell(
                    provider.name,
                    f"it did not answer within {self._config.deadline_s:g} s",
                    fix="set FARM_HEALTH__DEADLINE_S higher if it is only slow",
                )
        finally:
            if not asked.done():  # and it is not waited for: it may not let itself be cancelled
                asked.cancel()
                self._given_up.add(asked)
                asked.add_done_callback(self._given_up.discard)
        if not status.healthy:
            status = await asyncio.to_thread(self._without_secrets, status)
        self._note(status)
        return status

    def _without_secrets(self, status: ProviderStatus) -> ProviderStatus:
        fix = status.fix and self._redact(status.fix)
        return replace(status, detail=self._redact(status.detail), fix=fix)

    def _note(self, status: ProviderStatus) -> None:
        before, _ = self._known.get(status.name, (None, 0.0))
        self._known[status.name] = status, self._clock()
        if status != before:
            for watcher in tuple(self._watchers):
                watcher.tell(status)

    async def _refresh(self) -> None:
        while True:
            try:
                await self.check_all(refresh=True)
            except Exception:  # noqa: BLE001 - the next look may succeed, and panels go on
                _log.warning("The providers' health could not be asked for.", exc_info=True)
            await self._sleep(max(self._config.ttl_s, SHORTEST_REFRESH_S))

    async def _stop_refreshing(self) -> None:
        task, self._refreshing = self._refreshing, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])


@dataclass(slots=True, eq=False)
class _Check:
    """A check under way, and for how many."""

    task: asyncio.Task[ProviderStatus]
    waiting: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class _Watcher:
    """Who is told of changes, and the context that what it displays belongs to."""

    listener: Listener | None
    context: Context

    def tell(self, status: ProviderStatus) -> None:
        if self.listener is None:
            return
        try:
            self.context.run(self.listener, status)
        except Exception:  # noqa: BLE001 - one panel's fault is not another's
            _log.warning("A listener to the providers' health failed.", exc_info=True)


async def _asked(provider: AIProvider) -> ProviderStatus:
    """What a provider says of itself; whatever goes wrong meanwhile is what it says."""
    try:
        status = await provider.health_check()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return _unwell(provider.name, "its health check was cancelled")
    except FarmError as error:
        return _unwell(provider.name, str(error))
    except Exception as error:  # noqa: BLE001 - of a provider that anyone may have written
        return _unwell(provider.name, f"its health check failed: {type(error).__name__}: {error}")
    if not isinstance(status, ProviderStatus):
        return _unwell(provider.name, f"its health check gave {status!r}, which is no ProviderStatus")  # type: ignore[unreachable]
    return status


def _unwell(name: str, detail: str, *, fix: str | None = None) -> ProviderStatus:
    return ProviderStatus(name, healthy=False, detail=_in_one_line(detail), fix=fix)


def _in_one_line(text: str) -> str:
    return " ".join(text.split())
