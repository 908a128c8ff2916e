"""Counts the requests that each model is answering."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing

from farm_notebook.pipeline import Handler
from farm_notebook.types import ChatRequest, Event, ModelRef

__all__ = ["InFlight"]


class InFlight:
    """A middleware that knows how many requests are under way below it; one may wrap several handlers."""

    def __init__(self) -> None:
        self._counts = Counter[ModelRef]()

    def count(self, ref: ModelRef) -> int:
        """How many requests a model is answering now."""
        return self._counts[ref]

    def __call__(self, handler: Handler) -> Handler:
        async def counted(request: ChatRequest) -> AsyncGenerator[Event, None]:
            self._counts[request.ref] += 1
            try:
                async with aclosing(handler(request)) as events:
                    async for event in events:
                        yield event
            finally:
                self._counts[request.ref] -= 1
                if not self._counts[request.ref]:
                    del self._counts[request.ref]

        return counted
