"""The providers' lists of models, remembered for a while and asked for once by all who want one now."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from farm_notebook.errors import FarmError, ProviderTimeoutError
from farm_notebook.types import ModelInfo

__all__ = ["ModelLists", "ModelsOf"]

TTL_S = 300.0
FAILED_TTL_S = 30.0
SLICES = 5  # of a deadline; a loop that is kept busy, as by a first import, uses up no more than one of them

ModelsOf: TypeAlias = Callable[[str], Awaitable[list[ModelInfo]]]
"""The models of a provider, by its name."""


@dataclass(frozen=True, slots=True)
class _Kept:
    found: list[ModelInfo] | FarmError
    asked_at: float


@dataclass(slots=True)
class _Asking:
    task: asyncio.Task[list[ModelInfo]]
    waiting: int = 0


class ModelLists:
    """What the providers list.

    Args:
        models_of: Asks a provider.
        clock: Seconds from any fixed moment.
    """

    def __init__(self, models_of: ModelsOf, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._models_of = models_of
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        self._asking: dict[str, _Asking] = {}

    async def get(
        self, provider: str, *, deadline_s: float, max_age_s: float = TTL_S, anew_after_failure: bool = False
    ) -> list[ModelInfo]:
        """The models of a provider.

        Args:
            provider: Its name.
            deadline_s: How long to wait for it.
            max_age_s: How old a list may be.
            anew_after_failure: Ask again also where it failed a moment ago.

        Raises:
            FarmError: The provider cannot tell, or could not a moment ago.
        """
        kept = self._kept.get(provider)
        if kept is not None:
            age_s = self._clock() - kept.asked_at
            if not isinstance(kept.found, FarmError):
                if age_s < max_age_s:
                    return kept.found
            elif age_s < FAILED_TTL_S and not anew_after_failure:
                raise copy.copy(kept.found)  # one that is raised again would grow its traceback
        try:
            found = await self._shared(provider, deadline_s)
        except FarmError as error:
            self._keep(provider, error)
            raise
        except TimeoutError:  # our own
            late = ProviderTimeoutError(
                f"{provider} did not list its models within {deadline_s:g} s.",
                timer="first event",
                provider=provider,
            )
            self._keep(provider, late)
            raise late from None
        self._keep(provider, found)
        return found

    def forget(self, provider: str) -> None:
        """What a provider has may have changed."""
        self._kept.pop(provider, None)

    def _keep(self, provider: str, found: list[ModelInfo] | FarmError) -> None:
        kept = copy.copy(found) if isinstance(found, FarmError) else found
        self._kept[provider] = _Kept(kept, self._clock())

    async def _shared(self, provider: str, deadline_s: float) -> list[ModelInfo]:
        """Ask, together with whoever else waits for it; when the last one leaves, the question is dropped.

        Raises:
            TimeoutError: There is no answer yet.
        """
        asking = self._asking.get(provider)
        if asking is None:
            asking = self._asking[provider] = _Asking(asyncio.create_task(self._ask(provider)))
        asking.waiting += 1
        try:
            for _ in range(SLICES):
                await asyncio.wait((asking.task,), timeout=deadline_s / SLICES)
                if asking.task.done():
                    return asking.task.result()
            raise TimeoutError
        finally:
            asking.waiting -= 1
            if not asking.waiting:
                asking.task.cancel()
                if self._asking.get(provider) is asking:
                    del self._asking[provider]

    async def _ask(self, provider: str) -> list[ModelInfo]:
        return await self._models_of(provider)
