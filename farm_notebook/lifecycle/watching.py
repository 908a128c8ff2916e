"""Has models loaded anew when their files change, or their version on a server.

Files are looked at, and not subscribed to: what a subscription tells differs between systems, and on network
drives and mounted folders, where checkpoints often are, it tells nothing. A look is some calls of ``stat``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from farm_notebook.config import ModelsConfig
from farm_notebook.errors import FarmError
from farm_notebook.types import ModelRef

__all__ = ["Watcher"]

_log = logging.getLogger("farm_notebook.models")

Fingerprint = Callable[[ModelRef], Awaitable[str | None]]


class Watcher:
    """Looks at models in turn, each in a task of its own.

    Args:
        look: What tells a model's present files from others; ``None`` where they are surely not whole.
        loaded: The same of the files that it was loaded from; ``None`` where it is not in memory.
        reload: Loads it anew.
        settings: Of this moment.
        clock: Seconds that never go back.
        sleep: Waits.
    """

    def __init__(
        self,
        look: Fingerprint,
        loaded: Fingerprint,
        reload: Callable[[ModelRef], Awaitable[None]],
        settings: Callable[[], ModelsConfig],
        *,
        clock: Callable[[], float] = lambda: asyncio.get_running_loop().time(),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._look = look
        self._loaded = loaded
        self._reload = reload
        self._settings = settings
        self._clock = clock
        self._sleep = sleep
        self._tasks: dict[ModelRef, asyncio.Task[None]] = {}
        self._running = set[asyncio.Task[None]]()  # also those that were told to stop, and have not yet

    def watch(self, ref: ModelRef) -> bool:
        """Look at a model from now on; whether it was not looked at before."""
        if ref in self._tasks and not self._tasks[ref].done():
            return False
        self._tasks[ref] = task = asyncio.create_task(self._keep_looking(ref))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return True

    def unwatch(self, ref: ModelRef) -> bool:
        """Look at it no more; whether it was."""
        task = self._tasks.pop(ref, None)
        return task is not None and task.cancel()

    async def aclose(self) -> None:
        """Look at nothing any more."""
        self._tasks.clear()
        running = tuple(self._running)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)

    async def _keep_looking(self, ref: ModelRef) -> None:
        tried: str | None = None  # files that are not tried again, whether they could be loaded or not
        told = ""  # of what nobody had thought of, and what would be told at every look
        while True:
            await self._sleep(self._settings().watch_interval_s)
            try:
                now, known = await self._look(ref), await self._loaded(ref)
                if now == known:
                    tried = None
                if now is None or known is None or now in (known, tried):
                    continue
                if not await self._is_settled(ref, now) or await self._loaded(ref) != known:
                    continue  # a saver is at work, or somebody has loaded them by hand
            except (FarmError, OSError) as error:  # its folder is away for a moment
                _log.debug("%s cannot be looked at: %s", ref, error)
                continue
            except Exception as error:  # noqa: BLE001 - whatever it is, the looking goes on
                if told != (told := repr(error)):
                    _log.exception("%s cannot be looked at", ref)
                continue
            tried = now
            await self._try(ref)

    async def _try(self, ref: ModelRef) -> None:
        try:
            await self._reload(ref)
        except FarmError as error:  # the model that is there goes on, and its journal says why
            _log.warning("%s was not loaded anew: %s", ref, error)
        except Exception:  # noqa: BLE001 - as above
            _log.exception("%s was not loaded anew", ref)

    async def _is_settled(self, ref: ModelRef, now: str) -> bool:
        """Whether the files stay the same for a while; a saver that is at work is given time."""
        settings = self._settings()
        since = self._clock()
        while self._clock() - since < settings.settle_s:
            await self._sleep(min(settings.watch_interval_s, settings.settle_s))
            if await self._look(ref) != now:
                return False
        return True
