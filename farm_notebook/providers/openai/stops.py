"""Ends an answer before its stop string where a server leaves it in, as ``transformers serve`` does."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from farm_notebook.errors import FarmError
from farm_notebook.providers.stopping import StopStrings
from farm_notebook.types import Event, Finished, TextDelta, ToolCall

__all__ = ["without_stops"]


async def without_stops(
    events: AsyncGenerator[Event, None], stops: Sequence[str]
) -> AsyncGenerator[Event, None]:
    """The events of an answer, its text only up to the first stop string.

    Args:
        events: Closed with this one.
        stops: At least one.
    """
    strings = StopStrings(stops)
    async with aclosing(events):
        try:
            async for event in events:
                if isinstance(event, TextDelta):
                    if not strings.found and (shown := strings.push(event.text)):
                        yield TextDelta(shown)
                    continue
                if isinstance(event, ToolCall | Finished) and (held := strings.flush()):
                    yield TextDelta(held)
                yield event
        except FarmError:
            if held := strings.flush():
                yield TextDelta(held)
            raise
