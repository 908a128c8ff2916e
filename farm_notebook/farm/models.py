"""Models by hand, of a farm: loaded, replaced, watched, moved and given up; for coroutines, and blocking.

Nobody needs this to ask a question, which loads what it needs.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from farm_notebook import loop
from farm_notebook.cassettes import Ask, ask
from farm_notebook.devices import device_stats
from farm_notebook.farm import caller
from farm_notebook.farm.freeing import FreeReport, HeldModel
from farm_notebook.holders.ghosts import Ghosts
from farm_notebook.holders.names import Namespace, names_of_sys
from farm_notebook.pool import Pool
from farm_notebook.router import resolve
from farm_notebook.types import LoadOptions, LoadProgress, ModelEvent, ModelRef, ModelShare, ModelStatus

if TYPE_CHECKING:
    from farm_notebook.farm.core import AsyncFarm

__all__ = ["AsyncModels", "Models"]

T = TypeVar("T")


class AsyncModels:
    """The models of one farm: ``farm.models``. A model is named as in a request; ``None`` is the default one.

    Args:
        farm: The farm.
        pool: What it shares with others of its settings.
    """

    def __init__(self, farm: AsyncFarm, pool: Pool) -> None:
        self._farm = farm
        self._pool = pool
        self._models = pool.providers.models

    def load(
        self,
        model: str | None = None,
        *,
        device: str | None = None,
        dtype: str | None = None,
        pin: bool | None = None,
    ) -> AsyncGenerator[LoadProgress, None]:
        """Fetch a model if need be and bring it into memory; to close the iterator stops that.

        Args:
            model: Which one.
            device: Where to: ``cpu``, ``cuda:1``, ``auto``; ``None`` is as before, or as the settings say.
            dtype: In which number format, as torch names it.
            pin: Whether it is never to be given up for another; ``None`` leaves that as it is.

        Yields:
            How far it is; before the first byte also where it goes, and what is free there.

        Raises:
            OutOfMemoryError: It does not fit; says what could be unloaded.
            InvalidRequestError: There is no such device, or the provider decides that itself.
        """
        options = LoadOptions(device, dtype) if device or dtype else None
        return self._progress(
            model,
            lambda ref: self._models.load(ref, options, pin=pin),
            ask("load", model=self._named(model), device=device, dtype=dtype, pin=pin),
        )

    def reload(
        self, model: str | None = None, *, drain_s: float | None = None
    ) -> AsyncGenerator[LoadProgress, None]:
        """Have a model answer from its files as they are now; until and unless it can, the old one does.

        Args:
            model: Which one.
            drain_s: How long answers of the old one may take to end; 0 ends them, ``None`` is
                ``models.drain_s``.

        Raises:
            LoadError: The files are not whole, or do not work.
        """
        return self._progress(
            model,
            lambda ref: self._models.reload(ref, drain_s=drain_s),
            ask("reload", model=self._named(model), drain_s=drain_s),
        )

    def swap(self, leaving: str, coming: str) -> AsyncGenerator[LoadProgress, None]:
        """Have one model take the place of another, in the memory that one of them needs.

        Where that fails or is stopped, the first is back when the error is raised.

        Args:
            leaving: Waits in host memory, while there is room, and comes back from there by a copy.
            coming: Takes its place.
        """
        asked = ask("swap", leaving=self._named(leaving), model=self._named(coming))
        return loop.iterate(self._farm.tape.stream(asked, lambda: self._swap(leaving, coming)))

    async def unload(self, model: str | None = None, *, interrupt: bool = False) -> bool:
        """Give a model's memory back; whether it was loaded.

        Args:
            model: Which one.
            interrupt: End the answers under way, rather than wait for them.
        """
        return await loop.run(
            self._farm.tape.value(
                ask("unload", model=self._named(model)),
                lambda: self._with(model, lambda ref: self._models.unload(ref, interrupt=interrupt)),
                bool,
            )
        )

    async def unload_all(self, *, interrupt: bool = False) -> tuple[ModelRef, ...]:
        """Give the memory of every model back; which they were."""
        return await loop.run(
            self._farm.tape.value(
                ask("unload_all"),
                lambda: self._models.unload_all(interrupt=interrupt),
                tuple[ModelRef, ...],
            )
        )

    async def free(self, namespaces: Sequence[Namespace] | None = None) -> FreeReport:
        """Unload all idle models, give back what nobody uses, and tell what still holds memory.

        Pinned models stay, as do those that answer or are leased. Looking for holders takes a second or more.

        Args:
            namespaces: Where the user's names are; ``None`` is ``__main__``, as in a notebook.
        """
        names = _main() if namespaces is None else namespaces

        def held() -> tuple[HeldModel, ...]:
            return tuple(
                HeldModel(ghost.ref, ghost.generation, ghost.held_bytes(), holders)
                for ghost, holders in self._ghosts.explain(names)
            )

        async def freed() -> FreeReport:
            before = device_stats()
            unloaded, kept = await self._models.free_idle()
            return FreeReport(unloaded, kept, await caller.in_caller(held), before, device_stats())

        return await caller.run(self._farm.tape.value(ask("free"), freed, FreeReport))

    def leftovers(self) -> Callable[[object], bool]:
        """Tells whether an object is of a model that was given up; to be used at once."""
        return self._ghosts.leftovers()

    async def loaded(self) -> list[ModelStatus]:
        """The models that are in memory, on their way there, or failed to get there."""
        return await loop.run(self._farm.tape.value(ask("loaded"), self._models.statuses, list[ModelStatus]))

    async def watch(self, model: str | None = None) -> bool:
        """Load a model anew whenever its files change, or its version on a server; whether that is new."""
        asked = ask("watch", model=self._named(model))
        return await loop.run(
            self._farm.tape.value(asked, lambda: self._with(model, self._models.watch), bool)
        )

    async def unwatch(self, model: str | None = None) -> bool:
        """Leave a model as it is loaded; whether it was watched."""
        asked = ask("unwatch", model=self._named(model))
        return await loop.run(
            self._farm.tape.value(asked, lambda: self._with(model, self._models.unwatch), bool)
        )

    async def watched(self) -> tuple[ModelRef, ...]:
        """The models that are watched, also those that are not in memory."""

        async def told() -> tuple[ModelRef, ...]:
            return self._models.watched()

        return await loop.run(told())

    def held(self) -> dict[str, int]:
        """Models that were given up and that something still holds, with how many bytes of each are not free;
        ``free`` tells who does.
        """
        held: dict[str, int] = {}
        for ghost in self._ghosts.alive():
            held[ghost.ref] = held.get(ghost.ref, 0) + ghost.held_bytes()
        return held

    def shares(self) -> dict[str, list[ModelShare]]:
        """What the models of this process and of those it started take of each device, by its id."""
        return self._pool.providers.lifecycle.shares()

    def events(self) -> tuple[ModelEvent, ...]:
        """What happened to the models of this process: the last 500 steps, oldest first."""
        return self._pool.providers.lifecycle.journal.events()

    def listen(self, listener: Callable[[ModelEvent], object]) -> Callable[[], None]:
        """Have each further step told; what is returned ends that.

        Args:
            listener: Called on the farm's loop, which waits for it: it should be quick.
        """
        return self._pool.providers.lifecycle.journal.listen(listener)

    @asynccontextmanager
    async def lease(self, model: str | None = None) -> AsyncGenerator[Any, None]:
        """A model in this process: ``async with farm.models.lease("huggingface:./ckpt") as m``.

        Yields:
            What its provider gives of it; of ``huggingface`` a ``LeasedModel`` with ``module`` and
            ``tokenizer``. After the block it must not be used.

        Raises:
            InvalidRequestError: The provider's models run in another process.
        """
        ref = await loop.run(self._concrete(model))
        held = self._pool.providers.get(ref.provider).lease(ref.model)
        leased = await loop.run(entered(held))
        try:
            yield leased
        finally:
            await loop.run(left(held))

    @property
    def _ghosts(self) -> Ghosts:
        return self._pool.providers.lifecycle.ghosts

    async def _concrete(self, model: str | None) -> ModelRef:
        return (await self._pool.chooser.concrete(self._named(model), needs=frozenset()))[0]

    async def _with(self, model: str | None, act: Callable[[ModelRef], Any]) -> Any:
        ref = await self._concrete(model)
        with self._pool.providers.telling(ref, self._farm.config):
            return await act(ref)

    def _named(self, model: str | None) -> ModelRef:
        return resolve(model, self._farm.config)

    def _progress(
        self, model: str | None, bring: Callable[[ModelRef], AsyncGenerator[LoadProgress, None]], asked: Ask
    ) -> AsyncGenerator[LoadProgress, None]:
        return loop.iterate(self._farm.tape.stream(asked, lambda: self._brought(model, bring)))

    async def _brought(
        self, model: str | None, bring: Callable[[ModelRef], AsyncGenerator[LoadProgress, None]]
    ) -> AsyncGenerator[LoadProgress, None]:
        ref = await self._concrete(model)
        with self._pool.providers.telling(ref, self._farm.config):
            async with aclosing(bring(ref)) as events:
                async for event in events:
                    yield event

    async def _swap(self, leaving: str, coming: str) -> AsyncGenerator[LoadProgress, None]:
        leaves = await self._concrete(leaving)
        async with aclosing(self._brought(coming, lambda comes: self._models.swap(leaves, comes))) as events:
            async for event in events:
                yield event


class Models:
    """The same, blocking.

    Args:
        core: Tells the asynchronous ones, which change when a farm reads its settings anew.
    """

    def __init__(self, core: Callable[[], AsyncModels]) -> None:
        self._core = core

    def load(
        self,
        model: str | None = None,
        *,
        device: str | None = None,
        dtype: str | None = None,
        pin: bool | None = None,
    ) -> Generator[LoadProgress, None, None]:
        """See ``AsyncModels.load``."""
        return loop.iterate_blocking(self._core().load(model, device=device, dtype=dtype, pin=pin))

    def reload(
        self, model: str | None = None, *, drain_s: float | None = None
    ) -> Generator[LoadProgress, None, None]:
        """See ``AsyncModels.reload``."""
        return loop.iterate_blocking(self._core().reload(model, drain_s=drain_s))

    def swap(self, leaving: str, coming: str) -> Generator[LoadProgress, None, None]:
        """See ``AsyncModels.swap``."""
        return loop.iterate_blocking(self._core().swap(leaving, coming))

    def unload(self, model: str | None = None, *, interrupt: bool = False) -> bool:
        """See ``AsyncModels.unload``."""
        return loop.run_blocking(self._core().unload(model, interrupt=interrupt))

    def unload_all(self, *, interrupt: bool = False) -> tuple[ModelRef, ...]:
        """See ``AsyncModels.unload_all``."""
        return loop.run_blocking(self._core().unload_all(interrupt=interrupt))

    def free(self, namespaces: Sequence[Namespace] | None = None) -> FreeReport:
        """See ``AsyncModels.free``."""
        return caller.run_blocking(self._core().free(namespaces))

    def leftovers(self) -> Callable[[object], bool]:
        """See ``AsyncModels.leftovers``."""
        return self._core().leftovers()

    def loaded(self) -> list[ModelStatus]:
        """See ``AsyncModels.loaded``."""
        return loop.run_blocking(self._core().loaded())

    def watch(self, model: str | None = None) -> bool:
        """See ``AsyncModels.watch``."""
        return loop.run_blocking(self._core().watch(model))

    def unwatch(self, model: str | None = None) -> bool:
        """See ``AsyncModels.unwatch``."""
        return loop.run_blocking(self._core().unwatch(model))

    def watched(self) -> tuple[ModelRef, ...]:
        """See ``AsyncModels.watched``."""
        return loop.run_blocking(self._core().watched())

    def held(self) -> dict[str, int]:
        """See ``AsyncModels.held``."""
        return self._core().held()

    def shares(self) -> dict[str, list[ModelShare]]:
        """See ``AsyncModels.shares``."""
        return self._core().shares()

    def events(self) -> tuple[ModelEvent, ...]:
        """See ``AsyncModels.events``."""
        return self._core().events()

    def listen(self, listener: Callable[[ModelEvent], object]) -> Callable[[], None]:
        """See ``AsyncModels.listen``."""
        return self._core().listen(listener)

    @contextmanager
    def lease(self, model: str | None = None) -> Generator[Any, None, None]:
        """See ``AsyncModels.lease``."""
        held = self._core().lease(model)
        leased = loop.run_blocking(entered(held))
        try:
            yield leased
        finally:
            loop.run_blocking(left(held))


def _main() -> tuple[Namespace, ...]:
    """Where the names of a notebook or a script are, and what the interpreter keeps of the last error."""
    return Namespace(vars(sys.modules["__main__"])), names_of_sys()


async def entered(held: AbstractAsyncContextManager[T]) -> T:
    """Enter a block from outside of it."""
    return await held.__aenter__()


async def left(held: AbstractAsyncContextManager[object]) -> None:
    """Leave it again."""
    await held.__aexit__(None, None, None)
