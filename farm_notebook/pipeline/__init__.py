"""Policies between the caller and a provider: one file a policy, each a ``Middleware``.

A ``Handler`` turns a request into a stream of events; a ``Middleware`` wraps a handler into another.
``compose(a, b)(handler)`` is ``a(b(handler))``: the first one named sees the request first and the
events last.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from functools import reduce
from typing import TypeAlias

from farm_notebook.types import ChatRequest, Event, Finished, ReasoningDelta, TextDelta, ToolCall

__all__ = ["SAID", "Handler", "Middleware", "compose"]

SAID = (TextDelta, ReasoningDelta, ToolCall, Finished)
"""Events after which an answer has begun, and nobody else may be asked for it."""

Handler: TypeAlias = Callable[[ChatRequest], AsyncGenerator[Event, None]]
Middleware: TypeAlias = Callable[[Handler], Handler]


def compose(*middlewares: Middleware) -> Middleware:
    """One middleware out of several, outermost first."""

    def wrap(handler: Handler) -> Handler:
        return reduce(lambda inner, middleware: middleware(inner), reversed(middlewares), handler)

    return wrap
