"""Turns a request whose model is open into one that names it, and tells the user which it is and why.

What decides is injected; here is when it is asked, and that it is asked again where its choice turns out to
be gone. It stands before the cache, since an answer is kept under the model that gave it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeAlias

from farm_notebook.config import AUTO
from farm_notebook.errors import FarmError, ModelNotFoundError, ProviderConnectionError
from farm_notebook.pipeline import SAID, Handler, Middleware
from farm_notebook.types import (
    ChatRequest,
    Event,
    ModelRef,
    Routed,
)

__all__ = ["Settle", "is_open", "route"]


Settle: TypeAlias = Callable[[ChatRequest], Awaitable[tuple[ChatRequest, str]]]
"""From a request to one that names its model and who may stand in, and why, in words; empty where there was
nothing to choose."""


def is_open(request: ChatRequest) -> bool:
    """Whether anything about a request's model is still to be decided."""
    ref, way = request.ref, request.route
    return ref.model == AUTO or ref.provider == AUTO or bool(way.deployments) or bool(way.alternates)


def route(
    settle: Settle,
    *,
    forget: Callable[[ModelRef], None] = lambda ref: None,
    known: set[tuple[ModelRef, str]] | None = None,
) -> Middleware:
    """Settle open requests; a plain one passes untouched.

    A model that was picked because none was named may be gone by the time it is asked. Then another one is
    picked, once, unless something was said already.

    Args:
        settle: Decides.
        forget: Takes back that a model is there.
        known: What users were told, where several handlers are to share it: the reason of a choice is told
            once, and empty from then on.
    """
    was_told = set[tuple[ModelRef, str]]() if known is None else known

    def choice(ref: ModelRef, reason: str) -> Routed:
        is_news = (ref, reason) not in was_told
        was_told.add((ref, reason))
        return Routed(ref, reason if is_news else "")

    def wrap(handler: Handler) -> Handler:
        def routed(request: ChatRequest) -> AsyncGenerator[Event, None]:
            return settled(request) if is_open(request) else handler(request)

        async def settled(request: ChatRequest) -> AsyncGenerator[Event, None]:
            chosen, reason = await settle(request)
            is_picked = AUTO in (request.ref.provider, request.ref.model)
            while True:
                if reason:
                    yield choice(chosen.ref, reason)
                is_said = False
                try:
                    async with aclosing(handler(chosen)) as events:
                        async for event in events:
                            is_said = is_said or isinstance(event, SAID)
                            yield event
                    return
                except (ProviderConnectionError, ModelNotFoundError) as error:
                    if not is_picked:
                        raise
                    forget(chosen.ref)
                    if is_said:
                        raise
                    gone, problem = chosen.ref, error
                is_picked = False
                chosen, reason = await _another(settle, request, gone, problem)

        return routed

    return wrap


async def _another(
    settle: Settle, request: ChatRequest, gone: ModelRef, problem: FarmError
) -> tuple[ChatRequest, str]:
    """A choice that is not ``gone``.

    Raises:
        FarmError: There is none: the ``problem`` of the one that there was.
    """
    try:
        chosen, reason = await settle(request)
    except FarmError:
        raise problem from None
    if chosen.ref == gone:
        raise problem
    return chosen, reason
