"""One model of a comparison on its way: how far it is, and what came of it however it ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from farm_notebook.errors import FarmError, ProviderError
from farm_notebook.reply import Reply, ReplyBuilder
from farm_notebook.reports import Outcome
from farm_notebook.types import (
    ChatRequest,
    Event,
    FinishReason,
    LoadProgress,
    ReasoningDelta,
    Started,
    TextDelta,
    Timings,
)

if TYPE_CHECKING:
    from farm_notebook.farm.core import AsyncFarm

__all__ = ["Contender"]


class Contender:
    """One model of a comparison, on its way.

    Args:
        name: The model as it was asked for.
        request: What it is asked; or why it cannot be.
        clock: Seconds from any fixed moment.
    """

    def __init__(
        self, name: str, request: ChatRequest | FarmError, *, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.name = name
        self.request = request if isinstance(request, ChatRequest) else None
        self.outcome: Outcome | None = None  # once it has ended
        self._builder = ReplyBuilder(request) if isinstance(request, ChatRequest) else None
        self._clock = clock
        self._called: float | None = None
        self._sent = 0.0
        self._is_loaded = False  # for this answer
        self._first: float | None = None
        self._ended: float | None = None
        if isinstance(request, FarmError):
            self.fail(request)

    @property
    def is_asked(self) -> bool:
        """Whether it is under way, or has ended."""
        return self._called is not None

    @property
    def first_token_s(self) -> float | None:
        """Seconds from the request to its first text or reasoning; ``None`` until then."""
        return None if self._first is None else self._first - self._sent

    @property
    def streaming_s(self) -> float:
        """Seconds since the first text or reasoning."""
        return 0.0 if self._first is None else self._clock() - self._first

    def begin(self) -> None:
        """It is asked now."""
        self._called = self._sent = self._clock()

    def add(self, event: Event) -> None:
        """Take the next event of its stream."""
        assert self._builder is not None, "nobody who cannot be asked has a stream"
        self._builder.add(event)
        self._note(event, self._clock())

    def measure(self, timed: Iterable[tuple[int, Event]], took_s: float) -> None:
        """Take the times of a recording in the place of those of the clock.

        Args:
            timed: The events of the stream, each with the milliseconds since the call.
            took_s: How long all of it took, in seconds.
        """
        self._called = self._sent = 0.0
        self._first, self._ended = None, took_s
        for at_ms, event in timed:
            self._note(event, at_ms / 1000)

    def _note(self, event: Event, now: float) -> None:
        match event:
            case TextDelta() | ReasoningDelta():
                if self._first is None:
                    self._first = now
            case LoadProgress():
                self._sent, self._is_loaded = now, True
            case Started():
                self._sent = now
            case _:
                pass

    async def finish(self, farm: AsyncFarm) -> None:
        """The stream has ended.

        Raises:
            IncompleteStreamError: Without its finish mark.
        """
        assert self._builder is not None, "nobody who cannot be asked has a stream"
        self.outcome = Outcome(self.name, self._builder.build())  # whole, whatever comes of the rest
        with suppress(FarmError):  # an answer is not lost because its model's digest cannot be told
            self._builder.digest = await farm.digest(self._builder.ref)
            self.outcome = Outcome(self.name, self._builder.build())

    def fail(self, error: FarmError) -> None:
        """It has ended with an error; what had arrived is kept."""
        partial = self._partial("error")
        if isinstance(error, ProviderError) and partial:
            error.partial_text = error.partial_text or partial.text
        self.outcome = Outcome(self.name, partial, _bare(error))

    def stop(self) -> None:
        """The caller leaves; what had arrived is kept, and what had ended is left as it is."""
        if self.outcome is None:
            self.outcome = Outcome(self.name, self._partial("interrupted"))

    def _partial(self, reason: FinishReason) -> Reply | None:
        """What had arrived, with the times that are known; ``None`` where nothing had."""
        if self._builder is None or self._builder.is_empty or self._called is None:
            return None
        ended = self._clock() if self._ended is None else self._ended
        timings = Timings(
            load_s=self._sent - self._called if self._is_loaded else 0.0,
            first_token_s=self.first_token_s,
            total_s=ended - self._called,
        )
        return replace(self._builder.partial(reason), timings=timings)


def _bare(error: FarmError) -> FarmError:
    """The error without the frames it came through: they would keep alive what is in them."""
    error.__traceback__ = error.__cause__ = error.__context__ = None
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            if isinstance(each, FarmError):
                _bare(each)
    return error
