"""The context window that the requests of one child share."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["Share", "Window"]


class Share:
    """What one request holds of a window.

    Args:
        window: Where it is held.
        tokens: How much.
    """

    def __init__(self, window: Window, tokens: int) -> None:
        self._window = window
        self.tokens = tokens

    def resize(self, tokens: int) -> None:
        """Hold so many tokens from now on; what this frees is the next request's."""
        tokens = min(tokens, self._window.tokens)
        self._window._give(self.tokens - tokens)
        self.tokens = tokens


class Window:
    """Admits requests to a child in the order they came, as far as their tokens fit together.

    llama.cpp lets every slot use the whole window, and ends all of them with an error when together they
    fill it. So a request enters only when there is room for the longest that it can become. One that must
    not be disturbed asks for the whole window, and so runs alone.

    Args:
        tokens: Prompts and answers together.
        slots: Most requests at once.
    """

    def __init__(self, tokens: int, slots: int) -> None:
        self.tokens = tokens
        self._free_tokens = tokens
        self._free_slots = slots
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def share(self, tokens: int | None) -> AsyncIterator[Share]:
        """Wait until there is room, and hold it until the end of the ``async with``.

        Args:
            tokens: The longest that prompt and answer can become; ``None`` is all there is.
        """
        tokens = self.tokens if tokens is None else min(tokens, self.tokens)
        await self._enter(tokens)
        share = Share(self, tokens)
        try:
            yield share
        finally:
            self._free_slots += 1
            self._give(share.tokens)

    async def _enter(self, tokens: int) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((tokens, turn))
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._waiting = deque(entry for entry in self._waiting if entry[1] is not turn)
                self._admit()
            else:  # admitted, and cancelled before it could know
                self._free_slots += 1
                self._give(tokens)
            raise

    def _give(self, tokens: int) -> None:
        self._free_tokens += tokens
        self._admit()

    def _admit(self) -> None:
        """Let in the first who wait, as many as fit; nobody is overtaken, or a long one would never run."""
        while self._waiting and self._free_slots:
            tokens, turn = self._waiting[0]
            if not turn.cancelled():
                if tokens > self._free_tokens:
                    return
                self._free_tokens -= tokens
                self._free_slots -= 1
                turn.set_result(None)
            self._waiting.popleft()
