"""Measures a stream where its caller waits, says what it cost, and tells of each call when it has ended.

Time to first token, tokens a second, waiting and total are filled into the finish mark. Of a call that ends
without one, because it failed or its caller left, as much is told as was known.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Protocol, TypeAlias

from farm_notebook.pipeline import Handler, Middleware
from farm_notebook.pipeline.embedding_stream import Embed, as_request
from farm_notebook.stores.calls import CANCELLED, CallRecord
from farm_notebook.types import (
    ChatRequest,
    Embeddings,
    Event,
    Finished,
    LoadProgress,
    ModelRef,
    Queued,
    ReasoningDelta,
    Rerouted,
    Routed,
    Started,
    TextDelta,
    Timings,
    ToolCall,
    Usage,
)

__all__ = ["Pricing", "Record", "meter", "meter_embeddings"]

PROBLEM_CHARS = 1000  # of an error, in a history

Record: TypeAlias = Callable[[CallRecord], None]
"""Takes a call that has ended; fast enough for an event loop."""


class Pricing(Protocol):
    """What ``prices.Prices`` is."""

    def prepare(self, ref: ModelRef) -> None:
        """Have what ``cost`` needs brought in; waits for nothing."""

    async def ready(self, ref: ModelRef) -> None:
        """Wait until it is there."""

    def cost(self, ref: ModelRef, usage: Usage) -> float | None:
        """US dollars; ``None`` where that is not known."""


def meter(
    clock: Callable[[], float] = time.perf_counter,
    *,
    prices: Pricing | None = None,
    record: Record | None = None,
    notebook: Callable[[], str | None] = lambda: None,
    environment: str = "",
    now: Callable[[], float] = time.time,
) -> Middleware:
    """Fill ``Finished.timings`` from the moments at which the events pass, and ``cost`` from the usage.

    Args:
        clock: Seconds from any fixed moment.
        prices: What models cost; without it only what was kept has a cost, which is 0.
        record: Told of each call when it ends; without it nothing is gathered for that.
        notebook: Where a call comes from; asked when it begins.
        environment: Goes into the records.
        now: Seconds since 1970.
    """

    def wrap(handler: Handler) -> Handler:
        async def measured(request: ChatRequest) -> AsyncGenerator[Event, None]:
            call = _Call(request, clock, prices)
            at, origin = (now(), notebook()) if record else (0.0, None)
            texts: list[str] | None = [] if record else None
            error: BaseException | None = None
            if prices is not None:
                prices.prepare(request.ref)
            try:
                async with aclosing(handler(request)) as events:
                    async for event in events:
                        if type(event) is TextDelta:  # nearly all are, and need no further look
                            if call.first is None:
                                call.see(event)
                            if texts is not None:
                                texts.append(event.text)
                            yield event
                            continue
                        passed = event
                        if isinstance(event, Finished):
                            if prices is not None and not call.is_cached:
                                await prices.ready(call.ref)
                            passed = call.finish(event)
                        else:
                            call.see(event)
                        yield passed
            except BaseException as problem:
                error = problem
                raise
            finally:
                if record is not None:
                    record(call.record(at, error, texts or [], origin, environment))

        return measured

    return wrap


def meter_embeddings(
    embed: Embed,
    *,
    prices: Pricing | None = None,
    record: Record | None = None,
    notebook: Callable[[], str | None] = lambda: None,
    environment: str = "",
    clock: Callable[[], float] = time.perf_counter,
    now: Callable[[], float] = time.time,
) -> Embed:
    """The same calls, each of which is told of when it has ended.

    Args:
        embed: Makes the vectors. Its usage is of what was asked anew: no tokens where all vectors were kept.
        prices: As of ``meter``, and so are the others.
        record: See there.
        notebook: See there.
        environment: See there.
        clock: See there.
        now: See there.
    """
    if record is None:
        return embed

    async def measured(texts: Sequence[str], ref: ModelRef) -> Embeddings:
        call = _Call(as_request(texts, ref), clock, prices)
        at, origin, error, usage = now(), notebook(), None, Usage()
        if prices is not None:
            prices.prepare(ref)
        try:
            embeddings = await embed(texts, ref)
            usage = embeddings.usage
            if prices is not None:
                await prices.ready(ref)
            call.ref, call.is_taken = embeddings.ref, True
            call.finish(Finished("stop", replace(usage, output_tokens=usage.output_tokens or 0)))
        except BaseException as problem:
            error = problem
            raise
        finally:
            told = call.record(at, error, [], origin, environment)
            is_cached = error is None and usage.input_tokens == 0 and len(texts) > 0
            record(replace(told, usage=usage, is_cached=is_cached))
        return embeddings

    return measured


class _Call:
    """What is known of one call so far."""

    __slots__ = (
        "_called",
        "_clock",
        "_is_loaded",
        "_prices",
        "_queue_s",
        "_queued",
        "_reasoning",
        "_request",
        "_rerouted",
        "_sent",
        "_tool_calls",
        "finished",
        "first",
        "is_cached",
        "is_taken",
        "ref",
    )

    def __init__(self, request: ChatRequest, clock: Callable[[], float], prices: Pricing | None) -> None:
        self._request = request
        self._clock = clock
        self._prices = prices
        self._called = self._sent = clock()
        self._is_loaded = False  # for this call
        self._queued: float | None = None  # since when it waits for a limit of ours
        self._queue_s = 0.0
        self._reasoning: list[str] = []
        self._tool_calls: list[ToolCall] = []
        self._rerouted: str | None = None
        self.first: float | None = None
        self.ref = request.ref
        self.is_cached = self.is_taken = False
        self.finished: Finished | None = None

    def see(self, event: Event) -> None:
        """Take an event that is no finish mark, nor text after the first."""
        if self._queued is not None and type(event) is not Queued:
            self._leave_queue()
        match event:
            case TextDelta() | ReasoningDelta():
                if self.first is None:
                    self.first = self._clock()
                if type(event) is ReasoningDelta:
                    self._reasoning.append(event.text)
            case Started(ref, cached):
                self._sent = self._clock()
                self.ref, self.is_cached, self.is_taken = ref, cached, True
            case LoadProgress():
                self._sent, self._is_loaded = self._clock(), True
            case ToolCall():
                self._tool_calls.append(event)
            case Queued():
                if self._queued is None:
                    self._queued = self._clock()
            case Routed(ref):
                self.ref = ref
            case Rerouted(_, target, problem):
                self.ref, self._rerouted = target, self._rerouted or problem
            case _:
                pass

    def finish(self, event: Finished) -> Finished:
        """The finish mark with its timings and its cost."""
        self._leave_queue()
        tokens = None if self.is_cached else event.usage.output_tokens  # nobody made them now
        self.finished = replace(event, timings=self._timings(tokens), cost=self._cost(event.usage))
        return self.finished

    def record(
        self,
        at: float,
        error: BaseException | None,
        texts: Sequence[str],
        notebook: str | None,
        environment: str,
    ) -> CallRecord:
        """All of it, now that the call has ended."""
        self._leave_queue()
        finished = self.finished
        kind, problem = (None, None) if finished else _problem(error)
        return CallRecord(
            at=at,
            kind=self._request.kind,
            request=self._request,
            ref=self.ref,
            texts=tuple(texts),
            reasoning=tuple(self._reasoning),
            tool_calls=tuple(self._tool_calls),
            usage=finished.usage if finished else Usage(),
            cost=finished.cost if finished else self._cost(Usage()),
            timings=finished.timings if finished else self._timings(None),
            finish_reason=finished.reason if finished else None,
            error=kind,
            problem=problem,
            is_taken=self.is_taken,
            is_cached=self.is_cached,
            rerouted=self._rerouted,
            notebook=notebook,
            environment=environment,
        )

    def _leave_queue(self) -> None:
        """The wait is over, and the request is sent."""
        if self._queued is not None:
            self._sent = self._clock()
            self._queue_s += self._sent - self._queued
            self._queued = None

    def _cost(self, usage: Usage) -> float | None:
        if self.is_cached:
            return 0.0
        return None if self._prices is None else self._prices.cost(self.ref, usage)

    def _timings(self, tokens: int | None) -> Timings:
        now = self._clock()
        streaming_s = now - self.first if self.first is not None else 0.0
        return Timings(
            queue_s=self._queue_s,
            load_s=self._sent - self._called - self._queue_s if self._is_loaded else 0.0,
            first_token_s=self.first - self._sent if self.first is not None else None,
            total_s=now - self._called,
            tokens_per_s=(tokens - 1) / streaming_s if tokens and tokens > 1 and streaming_s > 0 else None,
        )


def _problem(error: BaseException | None) -> tuple[str, str | None]:
    """The type of what a call without a finish mark ended with, and what it says, in one line."""
    if error is None:
        return "IncompleteStreamError", "it ended without its finish mark"
    if isinstance(error, asyncio.CancelledError | GeneratorExit | KeyboardInterrupt):
        return CANCELLED, None
    return type(error).__name__, " ".join(str(error).split())[:PROBLEM_CHARS] or None
