"""A question whose answer is on its way: its pieces are gathered, and it can be stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass

from farm_notebook.errors import FarmError
from farm_notebook.farm import AsyncFarm
from farm_notebook.progress import Progress
from farm_notebook.reply import Reply, ReplyBuilder
from farm_notebook.threads import Exchange
from farm_notebook.types import ChatMessage, ChatRequest, Event, FinishReason, ReasoningDelta, TextDelta

__all__ = ["Asking", "Pieces", "Question"]

PERIOD_S = 0.05  # between two pieces that are told: 20 a second


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and where in its thread.

    Args:
        name: Of the exchange, in the page.
        thread: The conversation.
        prompt: The user's turn.
        before: What had been said in the thread when it was asked.
        keep: How many of these exchanges stay; those behind them are asked anew, or in other words.
    """

    name: str
    thread: str
    prompt: ChatMessage
    before: tuple[Exchange, ...]
    keep: int

    @property
    def history(self) -> tuple[ChatMessage, ...]:
        """The turns that are sent before the prompt."""
        return tuple(message for exchange in self.before[: self.keep] for message in exchange.messages)


class Pieces:
    """Text and reasoning as they come, told a few times a second, each piece once.

    Args:
        tell: Gets the next piece: its number, text and reasoning.
        period_s: Seconds between two of them.
    """

    def __init__(self, tell: Callable[[int, str, str], object], *, period_s: float = PERIOD_S) -> None:
        self._tell = tell
        self._period_s = period_s
        self._timer: asyncio.TimerHandle | None = None
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._told_text: list[str] = []
        self._told_reasoning: list[str] = []

    @property
    def told(self) -> tuple[int, str, str]:
        """How many were told, and what they come to: where who has just come may join in."""
        return len(self._told_text), "".join(self._told_text), "".join(self._told_reasoning)

    def add(self, text: str, reasoning: str = "") -> None:
        """Take the next piece."""
        self._text.append(text)
        self._reasoning.append(reasoning)
        if self._timer is None:
            wait_s = self._period_s if self._told_text else 0.0
            self._timer = asyncio.get_running_loop().call_later(wait_s, self.flush)

    def flush(self) -> None:
        """Tell what was not told yet."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        text, reasoning = "".join(self._text), "".join(self._reasoning)
        self._text, self._reasoning = [], []
        if text or reasoning:
            self._told_text.append(text)
            self._told_reasoning.append(reasoning)
            self._tell(len(self._told_text), text, reasoning)


class Asking:
    """One request on its way.

    Args:
        farm: Who asks the model.
        question: What is asked.
        request: The same, as it is sent.
        pieces: Get the answer as it comes.
        tell_note: Gets a line on what is waited for; empty once the answer has begun.
    """

    def __init__(
        self,
        farm: AsyncFarm,
        question: Question,
        request: ChatRequest,
        pieces: Pieces,
        tell_note: Callable[[str], object],
    ) -> None:
        self.question = question
        self.request = request
        self.pieces = pieces
        self.note = ""
        self._farm = farm
        self._tell_note = tell_note
        self._builder = ReplyBuilder(request)
        self._progress = Progress()

    async def run(self) -> Reply:
        """Stream the answer into the pieces.

        Raises:
            CancelledError: It was stopped; ``partial`` has what had arrived.
            FarmError: It failed; likewise.
        """
        try:
            async with aclosing(self._farm.events(self.request)) as events:
                async for event in events:
                    self._builder.add(event)
                    self._take(event)
        finally:
            self.pieces.flush()
        with suppress(FarmError):  # an answer is not lost because its model's digest cannot be told
            self._builder.digest = await self._farm.digest(self._builder.ref)
        return self._builder.build()

    def partial(self, reason: FinishReason) -> Reply:
        """What had arrived."""
        return self._builder.partial(reason)

    def _take(self, event: Event) -> None:
        match event:
            case TextDelta(text):
                self.pieces.add(text)
                self._note("")
            case ReasoningDelta(text):
                self.pieces.add("", text)
                self._note("")
            case _ if self._builder.is_empty and self._progress.add(event):
                self._note(self._progress.note)
            case _:
                pass

    def _note(self, note: str) -> None:
        if note != self.note:
            self.note = note
            self._tell_note(note)
