"""Has embeddings pass the policies of streams: to them, one is a stream that says nothing but how it ended.

A stand-in is not asked: the vectors of another model mean nothing beside those of the first.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TypeAlias

from farm_notebook.pipeline import Middleware
from farm_notebook.types import ChatMessage, ChatRequest, Embeddings, Event, Finished, ModelRef, Started

__all__ = ["Embed", "as_request", "under"]

Embed: TypeAlias = Callable[[Sequence[str], ModelRef], Awaitable[Embeddings]]
"""One vector a text, by a model."""


def as_request(texts: Sequence[str], ref: ModelRef) -> ChatRequest:
    """What policies are given for a request: a message a text."""
    return ChatRequest(ref, tuple(ChatMessage("user", text) for text in texts), kind="embedding")


def under(policies: Middleware, embed: Embed) -> Embed:
    """The same calls, each of which passes the policies first.

    Args:
        policies: Any of those that look at errors, usage and time, and not at what is said.
        embed: Asks the model.
    """

    async def embedded(texts: Sequence[str], ref: ModelRef) -> Embeddings:
        found: list[Embeddings] = []

        async def asked(request: ChatRequest) -> AsyncGenerator[Event, None]:
            yield Started(ref)
            found.append(await embed(texts, ref))
            usage = found[-1].usage
            yield Finished("stop", replace(usage, output_tokens=usage.output_tokens or 0))

        async with aclosing(policies(asked)(as_request(texts, ref))) as events:
            async for _ in events:
                pass
        return found[-1]

    return embedded
