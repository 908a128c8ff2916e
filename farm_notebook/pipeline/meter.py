"""Measures a stream where its caller waits: time to first token, total, tokens a second."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace

from farm_notebook.pipeline import Handler, Middleware
from farm_notebook.types import (
    ChatRequest,
    Event,
    Finished,
    LoadProgress,
    ReasoningDelta,
    Started,
    TextDelta,
    Timings,
)

__all__ = ["meter"]


def meter(clock: Callable[[], float] = time.perf_counter) -> Middleware:
    """Fill ``Finished.timings`` from the moments at which the events pass.

    Args:
        clock: Seconds from any fixed moment.
    """

    def wrap(handler: Handler) -> Handler:
        async def measured(request: ChatRequest) -> AsyncGenerator[Event, None]:
            called = sent = clock()
            first: float | None = None
            is_cached = False
            async with aclosing(handler(request)) as events:
                async for event in events:
                    if first is not None and type(event) is TextDelta:  # nearly all are, and need no look
                        yield event
                        continue
                    passed = event
                    match event:
                        case TextDelta() | ReasoningDelta() if first is None:
                            first = clock()
                        case LoadProgress() | Started():
                            sent = clock()
                            is_cached = isinstance(event, Started) and event.cached
                        case Finished():
                            tokens = None if is_cached else event.usage.output_tokens  # nobody made them now
                            timings = _timings(tokens, called, sent, first, clock())
                            passed = replace(event, timings=timings)
                        case _:
                            pass
                    yield passed

        return measured

    return wrap


def _timings(tokens: int | None, called: float, sent: float, first: float | None, now: float) -> Timings:
    streaming_s = now - first if first is not None else 0.0
    return Timings(
        load_s=sent - called,
        first_token_s=first - sent if first is not None else None,
        total_s=now - called,
        tokens_per_s=(tokens - 1) / streaming_s if tokens and tokens > 1 and streaming_s > 0 else None,
    )
