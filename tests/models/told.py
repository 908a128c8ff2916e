"""What happens to a farm's models, waited for."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from farm_notebook.farm import AsyncFarm
from farm_notebook.types import ModelEvent, ModelState

__all__ = ["PATIENCE_S", "Told", "living_modules", "settled", "told"]

PATIENCE_S = 90.0  # far beyond what anything here takes; a test fails by it, none passes by it


class Told:
    """The steps of models since a moment, to be taken one after the other."""

    def __init__(self) -> None:
        self.events: list[ModelEvent] = []
        self._taken = 0
        self._more = asyncio.Event()

    def add(self, event: ModelEvent) -> None:
        self.events.append(event)
        self._more.set()

    async def next(
        self, state: ModelState, *, before: ModelState | None = None, detail: str = ""
    ) -> ModelEvent:
        """The next step to a state, waited for; those in between are passed over.

        Args:
            state: Where it leads.
            before: From where.
            detail: Words that are in its reason.
        """
        async with asyncio.timeout(PATIENCE_S):
            while True:
                while self._taken < len(self.events):
                    event = self.events[self._taken]
                    self._taken += 1
                    if event.state == state and before in (None, event.before) and detail in event.detail:
                        return event
                self._more.clear()
                await self._more.wait()

    def count(self, state: ModelState) -> int:
        """How many steps led to a state so far."""
        return sum(event.state == state for event in self.events)


@asynccontextmanager
async def told(farm: AsyncFarm) -> AsyncIterator[Told]:
    """Listen to a farm's models inside; on the farm's loop."""
    heard = Told()
    forget = farm.models.listen(heard.add)
    try:
        yield heard
    finally:
        forget()


async def settled(holds: Callable[[], bool]) -> None:
    """Wait for what comes about beside others, of which nothing tells."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)


def living_modules() -> int:
    """How many models of transformers that answer are in this process; adapted ones count too."""
    from transformers import PreTrainedModel

    kinds = [type(each) for each in gc.get_objects()]  # and not isinstance, which some objects warn of
    return sum(issubclass(kind, PreTrainedModel) and kind.__name__.endswith("ForCausalLM") for kind in kinds)
