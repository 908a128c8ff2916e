"""What happened to a model since its user last heard of it: told below the next answer that comes from it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from farm_notebook.types import ModelEvent, ModelRef

__all__ = ["News"]

STOPPED = "not reloaded: it was stopped"  # by the user, who need not be told


class News:
    """What one shell was told of models that were loaded anew, or whose process died, while nobody looked.

    Args:
        clock: Seconds since the epoch.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._since = clock()
        self._told: dict[ModelRef, float] = {}  # up to when

    def now(self) -> float:
        """This moment, for ``of``."""
        return self._clock()

    def of(self, ref: ModelRef, events: Iterable[ModelEvent], *, until: float) -> str:
        """The last that happened to a model, in a sentence; it is told once. Mostly there is none.

        Args:
            ref: The model.
            events: Of all models, oldest first.
            until: What happened later is left for the next time: the answer is of the generation from before.
        """
        since = self._told.get(ref, self._since)
        self._told[ref] = until
        fresh = [event for event in events if event.ref == ref and since < event.at <= until]
        told = [sentence for event in fresh if (sentence := _sentence(event))]
        return told[-1] if told else ""

    def skip(self, ref: ModelRef) -> None:
        """Leave untold what happened so far: the user made it happen, and was told then."""
        self._told[ref] = self._clock()


def _sentence(event: ModelEvent) -> str:
    from farm_notebook.notebook.statuses import clock_time  # not needed to load the extension

    at = clock_time(event.at)
    match event.before, event.state:
        case "reloading", _ if event.detail == STOPPED:
            return ""
        case "reloading", "ready" if not event.detail:
            return f"{event.ref} was loaded anew at {at} (generation {event.generation})."
        case "reloading", _:
            why = event.detail.removeprefix("not reloaded: ").rstrip(".")
            goes_on = f"; generation {event.generation} goes on" if event.state == "ready" else ""
            return f"{event.ref} was not loaded anew at {at}: {why}{goes_on}."
        case "ready", "failed":
            return f"{event.ref} failed at {at}: {event.detail}"
    return ""
