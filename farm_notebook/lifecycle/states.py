"""The life of one model as a state machine, and the record of what happened in it."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping

from farm_notebook.types import ModelEvent, ModelRef, ModelState

__all__ = ["TRANSITIONS", "Journal", "StateMachine"]

KEPT_EVENTS = 500
_log = logging.getLogger("farm_notebook.models")

TRANSITIONS: Mapping[ModelState, frozenset[ModelState]] = {
    "absent": frozenset({"loading"}),
    "loading": frozenset({"ready", "aside", "absent", "failed"}),  # back to where it was when it is stopped
    "ready": frozenset({"reloading", "draining", "failed"}),
    "reloading": frozenset({"ready", "aside", "failed"}),  # aside where the old one does not fit any more
    "draining": frozenset({"ready", "unloading", "failed"}),  # ready again when whoever asked for it left
    "aside": frozenset({"loading", "unloading"}),
    "unloading": frozenset({"absent", "aside", "ready", "failed"}),  # where it cannot be moved
    "failed": frozenset({"loading", "absent"}),
}
"""Where each state can lead."""


class Journal:
    """What happened to the models of a farm: the last of it, and whoever listens for more.

    Args:
        clock: Seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._events: deque[ModelEvent] = deque(maxlen=KEPT_EVENTS)
        self._listeners: list[Callable[[ModelEvent], object]] = []
        self._clock = clock

    def events(self) -> tuple[ModelEvent, ...]:
        """The last 500, oldest first."""
        return tuple(self._events)

    def listen(self, listener: Callable[[ModelEvent], object]) -> Callable[[], None]:
        """Have each further event told, on the farm's loop; what is returned ends that."""
        self._listeners.append(listener)

        def forget() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return forget

    def add(
        self,
        ref: ModelRef,
        state: ModelState,
        before: ModelState,
        *,
        generation: int | None = None,
        detail: str = "",
    ) -> None:
        """Record one step, and tell it; what a listener raises is logged, and is nobody else's trouble."""
        event = ModelEvent(ref, state, before, self._clock(), generation, detail)
        self._events.append(event)
        _log.info("%s: %s -> %s%s", ref, before, state, f" ({detail})" if detail else "")
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except Exception:  # noqa: BLE001 - whatever it is, the model must go on
                _log.exception("A listener to the models' events failed")


class StateMachine:
    """The state of one model. It belongs to the farm's loop.

    Args:
        ref: The model.
        journal: Where each step is told.
    """

    def __init__(self, ref: ModelRef, journal: Journal) -> None:
        self.ref = ref
        self.state: ModelState = "absent"
        self.detail = ""
        self._journal = journal

    def to(self, state: ModelState, *, generation: int | None = None, detail: str = "") -> None:
        """Go on to a state.

        Args:
            state: The next one.
            generation: Of the weights that answer from now on.
            detail: Why, in a line.

        Raises:
            RuntimeError: No way leads there from here, which is a defect of whoever asked.
        """
        if state not in TRANSITIONS[self.state]:
            valid = ", ".join(sorted(TRANSITIONS[self.state]))
            raise RuntimeError(f"{self.ref} is {self.state} and cannot become {state}; only {valid}.")
        before, self.state, self.detail = self.state, state, detail
        self._journal.add(self.ref, state, before, generation=generation, detail=detail)
