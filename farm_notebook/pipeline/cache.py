"""Gives the answer that a model gave before, where it would give the same one again.

That is where nothing is left to chance: at temperature 0, with a seed, or where the request says which sample
it wants. Everything else passes untouched, and so does a request that says ``cache="off"``. Equal requests
under way at the same time share one answer, which only the first of them pays for.

An answer is kept under the model that gave it and that model's digest, so that another one's answer, or an
older one's, is never given for it. It is kept once its finish mark has come, and only where it is whole.

Embeddings do not pass here: they are no stream of events. See ``embeddings.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TypeAlias

from farm_notebook.errors import FarmError
from farm_notebook.pipeline import Handler, Middleware
from farm_notebook.pipeline.deadline import within
from farm_notebook.pipeline.single_flight import SingleFlight
from farm_notebook.recording import RECORDING_VERSION, dump, load, record, replay
from farm_notebook.stores import Store
from farm_notebook.types import (
    ChatRequest,
    Event,
    Finished,
    ModelRef,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCall,
)

__all__ = ["Digest", "cache", "is_repeatable", "known_digest"]

DIGEST_WAIT_S = 0.5  # a large file takes longer the first time; then nothing is looked up or kept
EVENTS_AT_ONCE = 1000  # of a replay, before others on the loop get their turn
_WHOLE = ("stop", "length", "tool_calls")
_KEPT = (TextDelta, ReasoningDelta, ToolCall)  # beside the first and the last: progress is not the answer

Digest: TypeAlias = Callable[[ModelRef], Awaitable[str | None]]
"""The digest or revision of a model, where it can be told."""


def is_repeatable(request: ChatRequest) -> bool:
    """Whether the same request gets the same answer: it is greedy, has a seed, or wants a certain sample."""
    return request.temperature == 0 or request.seed is not None or request.sample is not None


def cache(
    store: Store,
    digest: Digest,
    *,
    settings: Callable[[str], str] = lambda provider: "",
    in_pieces: bool = True,
    flights: SingleFlight[Event] | None = None,
    may_keep: Callable[[str], bool] = lambda text: True,
) -> Middleware:
    """Look repeatable requests up in ``store``, and keep their answers there.

    Args:
        store: Where answers are kept.
        digest: Of the model that is asked, and of the one that answered.
        settings: From a provider's name to what tells its settings from others, such as its address: the
            same name may mean another model there.
        in_pieces: Give a kept answer in the pieces it came in. Who waits for all of it has it sooner without.
        flights: The requests under way, where several handlers are to share them.
        may_keep: Whether an answer, as it would be written, holds nothing that is better not written down.
    """
    under_way = SingleFlight[Event]() if flights is None else flights

    def key_of(request: ChatRequest, known: str | None) -> str:
        return f"{RECORDING_VERSION}-{settings(request.ref.provider)}-{request.fingerprint(known)}"

    def wrap(handler: Handler) -> Handler:
        def cached(request: ChatRequest) -> AsyncGenerator[Event, None]:
            if request.cache == "off" or not is_repeatable(request):
                return handler(request)
            return answered(request)

        async def answered(request: ChatRequest) -> AsyncGenerator[Event, None]:
            is_shared = False  # with someone who asked before
            try:
                known = await known_digest(digest, request.ref)
            except TimeoutError:
                events = handler(request)
            else:
                key = key_of(request, known)
                is_anew = request.cache == "refresh"
                if not is_anew and (found := _events(await store.get(key), in_pieces)):
                    for start in range(0, len(found), EVENTS_AT_ONCE):
                        if start:
                            await asyncio.sleep(0)
                        for event in found[start : start + EVENTS_AT_ONCE]:
                            yield event
                    return
                is_shared = True

                def asked_now() -> AsyncGenerator[Event, None]:
                    nonlocal is_shared
                    is_shared = False
                    return kept(request, known, key)

                events = under_way.join(key, asked_now, anew=is_anew)
            async with aclosing(events):
                async for event in events:
                    yield replace(event, cached=True) if is_shared and isinstance(event, Started) else event

        async def kept(request: ChatRequest, known: str | None, key: str) -> AsyncGenerator[Event, None]:
            events: list[Event] = []
            async with aclosing(handler(request)) as asked:
                async for event in asked:
                    events.append(event)
                    yield event
            if not events or not isinstance(events[-1], Finished) or events[-1].reason not in _WHOLE:
                return
            started = (event.ref for event in reversed(events) if isinstance(event, Started))
            ref = next(started, request.ref)  # the last one, since another model may have stood in
            try:
                told = await known_digest(digest, ref)
            except TimeoutError:
                return
            if (ref, told) != (request.ref, known):
                if ref == request.ref and known is not None:  # the model was changed under way
                    return
                key = key_of(replace(request, ref=ref), told)
            answer = dump(record(_as_cached(ref, events)))
            if may_keep(answer.decode(errors="replace")):
                store.put(key, answer)

        return cached

    return wrap


def _as_cached(ref: ModelRef, events: Sequence[Event]) -> list[Event]:
    return [Started(ref, cached=True), *(event for event in events if isinstance(event, _KEPT)), events[-1]]


def _events(content: bytes | None, in_pieces: bool) -> list[Event]:
    """The events of a kept answer; none where it is missing, or damaged, and is to be asked for again."""
    if content is None:
        return []
    try:
        return replay(load(content), in_pieces=in_pieces)
    except ValueError:
        return []


async def known_digest(digest: Digest, ref: ModelRef) -> str | None:
    """The digest, or ``None`` where it cannot be told; if that matters, the request itself will say why.

    Raises:
        TimeoutError: It takes longer than anyone should wait for it.
    """

    async def told() -> str | None:
        try:
            return await digest(ref)
        except (FarmError, OSError):
            return None

    return await within(DIGEST_WAIT_S, told())
