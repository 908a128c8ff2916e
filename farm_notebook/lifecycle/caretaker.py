"""What is done to one generation: one thing at a time, and each to its end."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Generic, TypeVar

from farm_notebook.lifecycle.finishing import finish
from farm_notebook.lifecycle.job import Tell
from farm_notebook.lifecycle.loader import Loader
from farm_notebook.lifecycle.version import Version
from farm_notebook.types import LoadOptions

__all__ = ["Caretaker"]

K = TypeVar("K")
T = TypeVar("T")

LEAVE_S = 5.0  # from the end of an answer that was interrupted to its asker's leaving


class Caretaker(Generic[K, T]):
    """Has a loader do what is needed, and sees that nothing it does to a value meets something else it does.

    Args:
        loader: Does it.
        drain_s: How long answers may take to end, of this moment.
    """

    def __init__(self, loader: Loader[K, T], drain_s: Callable[[], float]) -> None:
        self._loader = loader
        self._drain_s = drain_s

    async def load(self, key: K, base: Version[T] | None, options: LoadOptions, tell: Tell) -> Version[T]:
        """A new generation; where that fails nothing is kept of it."""
        try:
            value = await self._loader.load(key, None if base is None else base.value, options, tell)
        except BaseException as error:
            _let_go(error)
            raise
        return Version(value, self._loader.facts(value), base)

    def death(self, version: Version[T]) -> Coroutine[Any, Any, str] | None:
        """Waits until its process is gone, see ``Loader.death``."""
        return self._loader.death(version.value)

    async def drain(self, version: Version[T], drain_s: float | None = None) -> None:
        """Wait until nobody works on a generation; who still does after a while is interrupted."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._drain_s() if drain_s is None else drain_s):
                await version.idle.wait()
                return
        await self.interrupt(version)
        with suppress(TimeoutError):  # whoever asked does not look; what he asked for has ended
            async with asyncio.timeout(LEAVE_S):
                await version.idle.wait()

    async def interrupt(self, version: Version[T]) -> None:
        """End what it is answering."""

        async def interrupt() -> None:
            async with version.lock:
                if version.users and not version.is_closed:
                    await self._loader.interrupt(version.value)

        await finish(interrupt())

    async def park(self, version: Version[T]) -> bool:
        """Move it to host memory; whether that freed any."""

        async def park() -> bool:
            async with version.lock:
                return await self._loader.park(version.value)

        return await finish(park())

    async def unpark(self, version: Version[T]) -> None:
        """Move it back. Where that fails or is stopped, it stays where it is."""
        async with version.lock:
            try:
                await self._loader.unpark(version.value)
            except BaseException as error:
                _let_go(error)
                raise

    async def close(self, version: Version[T]) -> None:
        """Give its memory back, once."""

        async def close() -> None:
            async with version.lock:
                if version.is_closed:
                    return
                try:
                    await self._loader.close(version.value)
                finally:
                    version.close()

        await finish(close())


def _let_go(error: BaseException) -> None:
    """Have an error hold nothing of what failed: its traceback would keep half a model for as long as it is
    looked at, which in a notebook is until the next error.
    """
    seen: list[BaseException] = []
    ahead: list[BaseException | None] = [error]
    while ahead:
        if (each := ahead.pop()) is not None and each not in seen:
            seen.append(each)
            traceback.clear_frames(each.__traceback__)
            ahead += [each.__cause__, each.__context__]
