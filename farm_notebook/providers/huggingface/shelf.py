"""The models in memory: loaded once however many ask, and put away when nobody works on them."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from farm_notebook.errors import ProviderError
from farm_notebook.providers.huggingface.engine import Engine
from farm_notebook.providers.huggingface.job import Job, Tell
from farm_notebook.providers.huggingface.loaded import LoadedModel
from farm_notebook.providers.huggingface.source import Source
from farm_notebook.providers.huggingface.work import Halt, HaltedError
from farm_notebook.types import LoadProgress

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Resident", "Shelf"]


@dataclass(eq=False, slots=True)
class Resident:
    """A model in memory, and who works on it."""

    loaded: LoadedModel
    engine: Engine | None
    users: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)


class Shelf:
    """Loads, keeps and gives back models.

    Args:
        load: Brings a model into memory, an adapter onto the base that it is given. It runs in a thread,
            and tells how far it is.
        engine: Makes what answers; ``None`` for a model that only embeds.
    """

    def __init__(
        self,
        load: Callable[[Source, LoadedModel | None, Halt, Tell], LoadedModel],
        engine: Callable[[LoadedModel], Engine | None],
    ) -> None:
        self._load = load
        self._engine = engine
        self._residents: dict[Source, Resident] = {}
        self._jobs: dict[Source, Job[LoadedModel]] = {}
        self._is_closed = False

    def residents(self) -> dict[Source, Resident]:
        """What is in memory now."""
        return dict(self._residents)

    async def load(self, source: Source) -> AsyncGenerator[LoadProgress, None]:
        """Bring a model into memory, or wait until another's load of it has; nothing where it is there.

        Closing the iterator stops the load, unless others wait for it too.

        Raises:
            Exception: Whatever the load raised.
        """
        before = 0  # bytes of the base
        while source not in self._residents:
            if (job := self._jobs.get(source)) is None:
                if source.base is not None and source.base not in self._residents:
                    async with aclosing(self.load(source.base)) as loading:
                        async for progress in loading:
                            before = progress.completed_bytes if progress.stage == "load" else 0
                            yield progress
                    continue
                base = self._residents[source.base].loaded if source.base is not None else None
                job = self._jobs[source] = Job(partial(self._load, source, base))
                job.work.done.add_done_callback(lambda done: self._settle(source, done))
            try:
                async with aclosing(job.follow()) as following:
                    async for progress in following:
                        yield _behind(before, progress)
            except HaltedError:
                if self._is_closed:
                    raise ProviderError(
                        f"The farm was closed while {source.name!r} was loading.", provider="huggingface"
                    ) from None
            # Either all who had waited before us left, or it is there; ``_settle`` may be about to tell.
            await asyncio.sleep(0)

    @asynccontextmanager
    async def hold(self, source: Source) -> AsyncIterator[Resident]:
        """Work on a model: it is loaded if need be, and not put away until this is left."""
        while (resident := self._residents.get(source)) is None:
            async with aclosing(self.load(source)) as loading:
                async for _ in loading:
                    pass
        resident.users += 1
        resident.idle.clear()
        try:
            yield resident
        finally:
            resident.users -= 1
            if not resident.users:
                resident.idle.set()

    async def put_away(self, source: Source) -> bool:
        """Give a model's memory back once nobody works on it; whether it was there.

        A load that is under way is waited for. From now on who asks for the model loads it anew.
        """
        for adapted in [known for known in (*self._jobs, *self._residents) if known.base == source]:
            await self.put_away(adapted)  # it holds the same memory
        if (job := self._jobs.get(source)) is not None:
            await asyncio.wait([job.work.done])
            await asyncio.sleep(0)  # for what happens at its end
        resident = self._residents.pop(source, None)
        if resident is None:
            return False
        await resident.idle.wait()
        if resident.engine is not None:
            await resident.engine.aclose()
        left = [weakref.ref(resident.loaded.module)]
        del resident
        _give_back(left)
        return True

    async def clear(self) -> None:
        """Stop everything and put everything away."""
        self._is_closed = True
        for job in list(self._jobs.values()):
            job.work.halt.ask()
            await asyncio.wait([job.work.done])
        await asyncio.sleep(0)  # for those that came to their end all the same
        for resident in list(self._residents.values()):
            if resident.engine is not None:
                await resident.engine.aclose()
            del resident
        left = [weakref.ref(resident.loaded.module) for resident in self._residents.values()]
        self._residents.clear()
        _give_back(left)

    def _settle(self, source: Source, done: asyncio.Future[LoadedModel]) -> None:
        del self._jobs[source]
        if not done.cancelled() and done.exception() is None:
            resident = Resident(done.result(), self._engine(done.result()))
            resident.idle.set()
            self._residents[source] = resident


def _behind(before: int, progress: LoadProgress) -> LoadProgress:
    """Progress of an adapter, counted on from where its base's ended."""
    if progress.stage != "load" or progress.total_bytes is None:
        return progress
    return LoadProgress("load", before + progress.completed_bytes, before + progress.total_bytes)


def _give_back(left: list[weakref.ref[PreTrainedModel]]) -> None:
    """Have modules that nobody refers to freed now, and the device's share returned to its driver.

    Nearly all are gone already. Only what refers to itself needs a collection, which holds everything up.
    """
    if not left:
        return
    if any(module() is not None for module in left):
        gc.collect()
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
