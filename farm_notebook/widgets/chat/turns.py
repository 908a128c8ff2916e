"""The exchanges of a thread as a page draws them: each a slice of its own, so that one that is added or
changed does not send the others again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import count
from types import MappingProxyType
from typing import Any

from farm_notebook.reply import Reply
from farm_notebook.threads import Exchange
from farm_notebook.types import ChatMessage, Image
from farm_notebook.widgets.outbox import Slices
from farm_notebook.widgets.problem import Problem

__all__ = ["Turns", "question"]

LARGEST_CHARS = 500_000  # of a message


class Turns:
    """What was asked and answered so far, with a name for each exchange that stays its own.

    Args:
        thumbnail: The small picture that is shown for an image, as a ``data:`` URL.
        redact: Takes secrets out of a text: a cell may have filled one into its prompt.
    """

    def __init__(self, thumbnail: Callable[[Image], str | None], redact: Callable[[str], str] = str) -> None:
        self._thumbnail = thumbnail
        self._redact = redact
        self._numbers = count(1)
        self._names: list[str] = []
        self._problems: dict[str, Problem] = {}
        self.exchanges: tuple[Exchange, ...] = ()

    def reserve(self) -> str:
        """A name for the exchange that is on its way."""
        return f"turn-{next(self._numbers)}"

    def follow(
        self, exchanges: tuple[Exchange, ...], *, reserved: Mapping[int, str] = MappingProxyType({})
    ) -> Slices:
        """Take what a thread has now, and tell the slices that this changes.

        Args:
            exchanges: All of the thread.
            reserved: The names of some, by their places.
        """
        same = _common(self.exchanges, exchanges)
        if same == len(self.exchanges) == len(exchanges):
            return {}
        for name in self._names[same:]:
            self._problems.pop(name, None)
        new = range(same, len(exchanges))
        self._names[same:] = [reserved.get(place) or self.reserve() for place in new]
        self.exchanges = exchanges
        return {"turns": list(self._names), "totals": self._totals(), **self._told(same)}

    def shown(self) -> tuple[Exchange, ...]:
        """The exchanges as they may be shown and saved."""
        return tuple(_redacted(each, self._redact) for each in self.exchanges)

    def slices(self) -> list[Slices]:
        """All of them, in messages of a size that a page takes in at once; the first has the thread's end."""
        messages: list[Slices] = [{"turns": list(self._names), "totals": self._totals()}]
        room = LARGEST_CHARS
        for name, each in zip(reversed(self._names), reversed(self.exchanges), strict=True):
            chars = len(each.reply.text) + len(each.reply.reasoning) + len(each.prompt.content)
            if chars > room and room < LARGEST_CHARS:
                messages.append({})
                room = LARGEST_CHARS
            messages[-1][name] = self._turn(name, each)
            room -= chars
        return messages

    def index(self, name: str) -> int | None:
        """Where an exchange stands; ``None`` if it is gone."""
        return self._names.index(name) if name in self._names else None

    def note(self, index: int, problem: Problem) -> Slices:
        """Keep why an answer broke off, and tell it."""
        self._problems[self._names[index]] = problem
        return self._told(index)

    def with_image(self, image: Image) -> Slices:
        """The exchanges that show it."""
        return {
            name: self._turn(name, each)
            for name, each in zip(self._names, self.exchanges, strict=True)
            if image in each.prompt.images
        }

    def _told(self, first: int) -> Slices:
        named = zip(self._names[first:], self.exchanges[first:], strict=True)
        return {name: self._turn(name, each) for name, each in named}

    def _turn(self, name: str, exchange: Exchange) -> dict[str, Any]:
        problem, exchange = self._problems.get(name), _redacted(exchange, self._redact)
        return {
            "question": question(exchange.prompt, self._thumbnail),
            "answer": _answer(exchange.reply),
            "problem": problem and asdict(problem),
        }

    def _totals(self) -> dict[str, Any]:
        usages = [each.reply.usage for each in self.exchanges]
        costs = [each.reply.cost for each in self.exchanges if each.reply.cost is not None]
        return {
            "input_tokens": sum(each.input_tokens or 0 for each in usages),
            "output_tokens": sum(each.output_tokens or 0 for each in usages),
            "cost": sum(costs) if costs else None,
        }


def question(prompt: ChatMessage, thumbnail: Callable[[Image], str | None]) -> dict[str, Any]:
    """What the user said, as a page draws it."""
    images = [
        {"url": thumbnail(image), "type": image.media_type, "size_bytes": len(image.data)}
        for image in prompt.images
    ]
    return {"text": prompt.content, "images": images}


def _redacted(exchange: Exchange, redact: Callable[[str], str]) -> Exchange:
    """An exchange as it may be shown; the thread keeps what was said."""
    prompt, reply = exchange.prompt, exchange.reply
    said, text, reasoning = redact(prompt.content), redact(reply.text), redact(reply.reasoning)
    if (said, text, reasoning) == (prompt.content, reply.text, reply.reasoning):
        return exchange
    return Exchange(replace(prompt, content=said), replace(reply, text=text, reasoning=reasoning))


def _answer(reply: Reply) -> dict[str, Any]:
    return {
        "text": reply.text,
        "reasoning": reply.reasoning,
        "model": str(reply.ref),
        "footer": reply.footer,
        "is_partial": reply.is_partial,
    }


def _common(before: Sequence[Exchange], after: Sequence[Exchange]) -> int:
    """How many exchanges both begin with; told by what they are, not by what is in them."""
    pairs = enumerate(zip(before, after, strict=False))
    return next((n for n, (one, other) in pairs if one is not other), min(len(before), len(after)))
