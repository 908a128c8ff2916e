"""The thread that a panel shows, and the question of it that is under way: at most one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from types import MappingProxyType
from typing import Any

from farm_notebook.errors import InvalidRequestError
from farm_notebook.farm import AsyncFarm
from farm_notebook.reply import Reply
from farm_notebook.request import Options
from farm_notebook.threads import Exchange, Threads
from farm_notebook.types import ChatMessage, Image
from farm_notebook.widgets.chat.asking import Asking, Pieces, Question
from farm_notebook.widgets.chat.pictures import Thumbnails
from farm_notebook.widgets.chat.turns import Turns, question
from farm_notebook.widgets.outbox import Slices
from farm_notebook.widgets.part import Part
from farm_notebook.widgets.problem import Problem

__all__ = ["Conversation", "Place"]

BUSY = "An answer is still on its way. Wait for its end, or stop it."
LATER_S = 0.1  # between two parts of a conversation that is told to a page that has just come
SILENT = Problem("No answer", "The model ended without a word.", "Ask again, or ask another model.")

Place = tuple[tuple[Exchange, ...], int]
"""What was said in a thread, and how many exchanges of it stay: what is asked comes after these."""


class Conversation:
    """One thread at a time, and what is asked in it. Lives on the farm's event loop.

    Args:
        part: The panel's part, through which the page is told.
        threads: Where conversations are kept.
        thread: The name of one.
    """

    def __init__(self, part: Part, threads: Threads, thread: str) -> None:
        self._part = part
        self._threads = threads
        self._thread = _named(thread)
        self._thumbnails = Thumbnails()
        self._turns = Turns(self._thumbnails.get, part.redacted)
        self._turns.follow(threads.exchanges(self._thread))
        self._asking: Asking | None = None
        self._task: asyncio.Task[None] | None = None
        self._attempt: tuple[Question, Problem | None] | None = None

    @property
    def thread(self) -> str:
        """Its name."""
        return self._thread

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """What is shown of it, without secrets."""
        return self._turns.shown()

    def slices(self) -> Slices:
        """What the page is told; of a very long conversation the end, and soon after that the rest."""
        told, *later = self._turns.slices()
        if later:
            self._part.spawn(self._tell_later(later))
        return {
            **told,
            "thread": self._thread,
            "threads": self._names(),
            "running": self.running(),
            "note": self._asking.note if self._asking else "",
            "attempt": self._told_attempt(),
        }

    def running(self) -> dict[str, Any] | None:
        """The question under way, and its answer as far as it was told."""
        if self._asking is None:
            return None
        asked = self._asking.question
        pieces, text, reasoning = self._asking.pieces.told
        return {
            "name": asked.name,
            "question": self._told_question(asked.prompt),
            "model": str(self._asking.request.ref),
            "keep": asked.keep if asked.keep < len(asked.before) else None,
            "pieces": pieces,
            "text": self._part.redacted(text),
            "reasoning": self._part.redacted(reasoning),
        }

    # Where something is asked.

    def end(self) -> Place:
        """After all that was said."""
        exchanges = self._threads.exchanges(self._thread)
        return exchanges, len(exchanges)

    def at(self, turn: str) -> Place:
        """In place of an exchange, and of what came after it.

        Raises:
            InvalidRequestError: It is not there any more.
        """
        self.follow()
        index = self._turns.index(turn)
        if index is None:
            raise InvalidRequestError("This question is not in the conversation any more.")
        return self._turns.exchanges, index

    def unanswered(self) -> tuple[ChatMessage, Place]:
        """What got no answer, and where it was asked.

        Raises:
            InvalidRequestError: There is no such question.
        """
        if self._attempt is None:
            raise InvalidRequestError("There is no question without an answer.")
        asked, (exchanges, count) = self._attempt[0], self.end()
        is_there = asked.before[: asked.keep] == exchanges[: asked.keep]
        return asked.prompt, (exchanges, asked.keep if is_there else count)

    # What is done.

    def ask(self, farm: AsyncFarm, prompt: ChatMessage, place: Place, options: Options) -> None:
        """Begin with a question.

        Raises:
            FarmError: An answer is on its way, or a request like this cannot be made.
        """
        self.check_idle()
        before, keep = place
        asked = Question(self._turns.reserve(), self._thread, prompt, before, keep)
        request = farm.request((*asked.history, prompt), **options)
        pieces = Pieces(self._tell_piece)
        self._asking = Asking(farm, asked, request, pieces, lambda note: self._part.set(note=note))
        self._attempt = None
        self._part.set(running=self.running(), note="", attempt=None)
        self._make_thumbnails(prompt.images)
        self._task = self._part.spawn(self._run(self._asking))

    async def stop(self) -> None:
        """End what is under way; what had arrived is kept."""
        task = self._task
        if task is not None:
            await asyncio.sleep(0)  # one that has not begun could not keep what it was asked
            task.cancel()
            await asyncio.wait((task,))

    def discard(self) -> None:
        """Forget the question that got no answer."""
        self._attempt = None
        self._part.set(attempt=None)

    def open(self, thread: str) -> None:
        """Show another thread.

        Raises:
            InvalidRequestError: An answer is on its way, or that is no name.
        """
        self.check_idle()
        self._thread = _named(thread)
        self.discard()
        self.follow()
        self._part.set(thread=self._thread, threads=self._names())

    def forget(self) -> None:
        """Forget all that was said.

        Raises:
            InvalidRequestError: An answer is on its way.
        """
        self.check_idle()
        self.discard()
        self._threads.reset(self._thread)
        self.follow()

    def follow(self, reserved: Mapping[int, str] = MappingProxyType({})) -> None:
        """Tell what is new in the thread, whoever has said it.

        Args:
            reserved: The names of exchanges, by their places.
        """
        slices = self._turns.follow(self._threads.exchanges(self._thread), reserved=reserved)
        if slices:
            self._part.set(**slices, threads=self._names())
            self._part.settled()
            self._make_thumbnails(image for each in self._turns.exchanges for image in each.prompt.images)

    def check_idle(self) -> None:
        """See that nothing is under way.

        Raises:
            InvalidRequestError: Something is.
        """
        if self._asking is not None:
            raise InvalidRequestError(BUSY)

    # How an answer comes.

    async def _run(self, asking: Asking) -> None:
        reply: Reply | None = None
        problem: Problem | None = SILENT
        try:
            reply = await asking.run()
        except asyncio.CancelledError:
            reply, problem = asking.partial("interrupted"), None
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told where it happened
            reply, problem = asking.partial("error"), await self._part.problem(error)
        finally:
            self._asking = self._task = None
            self._keep(asking.question, reply, problem)

    def _keep(self, asked: Question, reply: Reply | None, problem: Problem | None) -> None:
        """Put an answer with any text into the thread, whole or partial; of another, keep the question."""
        if reply is not None and reply.text:
            at = self._add(asked, reply)
            self.follow({at: asked.name})
            if reply.finish_reason == "error" and problem is not None:
                self._part.set(**self._turns.note(at, problem))
        else:
            self._attempt = asked, problem
        self._part.set(running=None, note="", attempt=self._told_attempt())
        self._part.settled()

    def _add(self, asked: Question, reply: Reply) -> int:
        """Where it stands in the thread now.

        What was asked anew goes, unless the thread was changed there; what a cell has added meanwhile stays.
        """
        now = self._threads.exchanges(asked.thread)
        place, newer = len(now), now[len(now) :]
        if asked.keep < len(asked.before) and now[: len(asked.before)] == asked.before:
            place, newer = asked.keep, now[len(asked.before) :]
            self._threads.cut(asked.thread, place)
        self._threads.add(asked.thread, asked.prompt, reply)
        for each in newer:
            self._threads.add(asked.thread, each.prompt, each.reply)
        return place

    async def _tell_later(self, later: list[Slices]) -> None:
        for each in later:
            await asyncio.sleep(LATER_S)
            self._part.set(**each)

    def _tell_piece(self, number: int, text: str, reasoning: str) -> None:
        clean = self._part.redacted
        self._part.emit("piece", number=number, text=clean(text), reasoning=clean(reasoning))

    def _told_question(self, prompt: ChatMessage) -> dict[str, Any]:
        clean = replace(prompt, content=self._part.redacted(prompt.content))
        return question(clean, self._thumbnails.get)

    def _told_attempt(self) -> dict[str, Any] | None:
        if self._attempt is None:
            return None
        asked, problem = self._attempt
        return {"question": self._told_question(asked.prompt), "problem": problem and asdict(problem)}

    def _names(self) -> list[str]:
        return sorted({*self._threads.names(), self._thread})

    def _make_thumbnails(self, images: Iterable[Image]) -> None:
        lacking = tuple({image: None for image in images if self._thumbnails.lacks(image)})
        if lacking:
            self._part.spawn(self._made_thumbnails(lacking))

    async def _made_thumbnails(self, images: tuple[Image, ...]) -> None:
        for image in images:
            await asyncio.to_thread(self._thumbnails.make, image)
            self._part.set(**self._turns.with_image(image), running=self.running())


def _named(thread: str) -> str:
    name = " ".join(thread.split())
    if not name or len(name) > 100:
        raise InvalidRequestError(f"{thread!r} is no name for a conversation. Use 1 to 100 characters.")
    return name
