"""What panels have begun to do to the models of a farm: loads, fetches and the like, and how far each is.

All panels of a farm share them, so that a cell that is run again shows, and can stop, what it began before.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from farm_notebook.errors import InvalidRequestError
from farm_notebook.farm import AsyncFarm, Farm
from farm_notebook.stores.redaction import Redaction, secrets_of
from farm_notebook.types import LoadProgress
from farm_notebook.widgets.models.pace import Pace
from farm_notebook.widgets.problem import problem_of

__all__ = ["WorkKind", "Works", "works_of"]

WorkKind: TypeAlias = Literal["load", "pull", "reload", "unload"]
Listener: TypeAlias = Callable[[bool], object]


@dataclass(slots=True)
class _Work:
    kind: WorkKind
    pace: Pace
    task: asyncio.Task[None] | None = None
    progress: LoadProgress | None = None
    device: str | None = None
    is_stopping: bool = False


class Works:
    """What is under way, one thing a model, and the error that the last one ended with. On the farm's loop.

    Args:
        farm: Whose models; it is not kept alive.
        clock: Seconds from any fixed moment.
    """

    def __init__(self, farm: Farm, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._farm = weakref.ref(farm)
        self._clock = clock
        self._redact = Redaction(lambda: secrets_of(self._core.config))
        self._works: dict[str, _Work] = {}
        self._problems: dict[str, dict[str, Any]] = {}
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> Callable[[], Awaitable[None]]:
        """Have every change told. What is returned ends that; when the last one leaves, all work ends.

        Args:
            listener: Is told whether something has ended, so that models may be in another state.
        """
        self._listeners.append(listener)

        async def leave() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)
            if not self._listeners:
                await self._stop_all()
                self._problems.clear()

        return leave

    def begin(self, kind: WorkKind, name: str) -> None:
        """Begin with something, and come back at once; its error is kept.

        Raises:
            InvalidRequestError: Something else is done to this model.
        """
        if name in self._works:
            raise InvalidRequestError(f"{name} is busy: wait for the {self._works[name].kind}, or cancel it.")
        work = self._works[name] = _Work(kind, Pace(clock=self._clock))
        self._problems.pop(name, None)
        work.task = asyncio.create_task(self._run(name, work), name=f"farm-panel-{kind}")
        work.task.add_done_callback(lambda _: self._ended(name))  # also where it never began
        self._tell()

    async def guard(self, name: str, doing: Awaitable[object]) -> None:
        """Wait for something short; its error is kept as that of the model."""
        had = self._problems.pop(name, None)
        try:
            await doing
        except Exception as error:  # noqa: BLE001 - it is shown at the model
            await self._note(name, error)
            had = None
        if had or name in self._problems:
            self._tell()

    def cancel(self, name: str) -> None:
        """Stop what is done to a model, if anything is."""
        work = self._works.get(name)
        if work is not None and work.task is not None and not work.is_stopping:
            work.is_stopping = True
            work.task.cancel()
            self._tell()

    def dismiss(self, name: str) -> None:
        """Forget an error."""
        if self._problems.pop(name, None):
            self._tell()

    def slices(self) -> dict[str, Any]:
        """What is under way and what went wrong, by the names of models."""
        works = {name: _told(work) for name, work in self._works.items()}
        return {"works": works, "problems": dict(self._problems)}

    @property
    def _core(self) -> AsyncFarm:
        farm = self._farm()
        assert farm is not None, "the panels that listen hold it"
        return farm.core

    async def _run(self, name: str, work: _Work) -> None:
        try:
            if work.kind == "unload":
                await self._core.models.unload(name)
            else:
                await self._follow(work, self._bringing(work.kind, name))
        except Exception as error:  # noqa: BLE001 - it is shown at the model
            await self._note(name, error)

    def _ended(self, name: str) -> None:
        self._works.pop(name, None)
        self._tell(has_ended=True)

    def _bringing(self, kind: WorkKind, name: str) -> AsyncGenerator[LoadProgress, None]:
        farm = self._core
        return {"load": farm.load, "pull": farm.pull, "reload": farm.models.reload}[kind](name)

    async def _follow(self, work: _Work, bringing: AsyncGenerator[LoadProgress, None]) -> None:
        async with aclosing(bringing) as steps:
            async for step in steps:
                work.progress, work.device = step, step.device or work.device
                work.pace.add(step.stage, step.completed_bytes)
                self._tell()

    async def _note(self, name: str, error: Exception) -> None:
        self._problems[name] = asdict(await asyncio.to_thread(problem_of, error, self._redact))

    async def _stop_all(self) -> None:
        tasks = [work.task for work in self._works.values() if work.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _tell(self, *, has_ended: bool = False) -> None:
        for listener in tuple(self._listeners):
            listener(has_ended)


_of_farms: weakref.WeakKeyDictionary[Farm, Works] = weakref.WeakKeyDictionary()


def works_of(farm: Farm) -> Works:
    """Those of a farm."""
    if farm not in _of_farms:
        _of_farms[farm] = Works(farm)
    return _of_farms[farm]


def _told(work: _Work) -> dict[str, Any]:
    step = work.progress
    return {
        "kind": work.kind,
        "stage": step and step.stage,
        "completed_bytes": step and step.completed_bytes,
        "total_bytes": step and step.total_bytes,
        "bytes_per_s": work.pace.bytes_per_s,
        "remaining_s": work.pace.remaining_s(step.total_bytes) if step else None,
        "device": work.device,
        "is_stopping": work.is_stopping,
    }
