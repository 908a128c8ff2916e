"""The kernel's side of the chat panel."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from farm_notebook import loop
from farm_notebook.errors import FarmError, InvalidRequestError
from farm_notebook.farm import Farm
from farm_notebook.reply import Reply
from farm_notebook.router import is_dynamic, look_up
from farm_notebook.threads import DEFAULT_THREAD, Exchange, Threads, default_threads
from farm_notebook.types import ChatMessage, FinishReason, Image
from farm_notebook.widgets.chat.asking import Asking, Pieces, Question
from farm_notebook.widgets.chat.choices import model_choices
from farm_notebook.widgets.chat.export import write_notebook
from farm_notebook.widgets.chat.next_cell import NextCell, present_shell
from farm_notebook.widgets.chat.pictures import Thumbnails, pictures
from farm_notebook.widgets.chat.settings import ChatSettings
from farm_notebook.widgets.chat.transcript import as_cells, as_html, as_markdown, as_text
from farm_notebook.widgets.chat.turns import Turns, question
from farm_notebook.widgets.outbox import Slices
from farm_notebook.widgets.part import Handler, Part
from farm_notebook.widgets.problem import Problem

__all__ = ["ChatPart"]

BUSY = "An answer is still on its way. Wait for its end, or stop it."
SILENT = Problem("No answer", "The model ended without a word.", "Ask again, or ask another model.")


class ChatPart(Part):
    """One conversation, at most one question of it under way.

    Args:
        farm: As for ``Part``.
        thread: The conversation's name.
        model: Who answers; ``None`` is the farm's default at each question.
        settings: What is said of every request.
        threads: Where conversations are kept.
        shell: The notebook's, which is given cells; found if it is not given.
        folder: Where exports are written to; the kernel's folder at that moment if it is not given.
        options: As for ``Part``.

    Raises:
        FarmError: The model's name leads nowhere, or a setting is out of range.
    """

    name: ClassVar[str] = "chat"

    def __init__(
        self,
        farm: Farm | None = None,
        *,
        thread: str = DEFAULT_THREAD,
        model: str | None = None,
        settings: ChatSettings | None = None,
        threads: Threads | None = None,
        shell: Any = None,
        folder: Path | None = None,
        **options: Any,
    ) -> None:
        super().__init__(farm, **options)
        self._thread = _named(thread)
        self._model = model
        self._settings = settings or ChatSettings()
        self._check(self._model, self._settings)
        self._threads = threads or default_threads()
        self._next_cell = NextCell(shell or present_shell())
        self._folder = folder
        self._thumbnails = Thumbnails()
        self._turns = Turns(self._thumbnails.get)
        self._turns.follow(self._threads.exchanges(self._thread))
        self._asking: Asking | None = None
        self._task: asyncio.Task[None] | None = None
        self._attempt: tuple[Question, Problem | None] | None = None
        self._models: list[dict[str, Any]] | None = None
        self._endings = [
            self._threads.listen(lambda name: self._soon(self._follow)),
            self._farm.listen(lambda config: self._soon(self._tell_model)),
        ]

    def slices(self) -> Slices:
        return {
            **self._turns.slices(),
            "thread": self._thread,
            "threads": self._thread_names(),
            "running": self._running(),
            "note": self._asking.note if self._asking else "",
            "attempt": self._told_attempt(),
            "model": self._model,
            "default_model": self._default_model(),
            "models": self._models,
            "settings": asdict(self._settings),
        }

    def calls(self) -> Mapping[str, Handler]:
        return {
            "send": self._send,
            "stop": self._stop,
            "retry": self._retry,
            "edit": self._edit,
            "sync": self._sync,
            "dismiss": self._dismiss,
            "model": self._use_model,
            "models": self._list_models,
            "settings": self._set,
            "thread": self._open_thread,
            "forget": self._forget,
            "export": self._export,
            "insert": self._insert,
        }

    def static_html(self) -> str:
        return as_html(self._turns.exchanges)

    def static_text(self) -> str:
        return as_text(self._turns.exchanges)

    async def aclose(self) -> None:
        for end in self._endings:
            end()
        self._next_cell.forget()
        await super().aclose()

    # What the page calls.

    async def _send(self, text: str, images: list[str]) -> None:
        exchanges = self._threads.exchanges(self._thread)
        self._ask(ChatMessage("user", text, pictures(images)), exchanges, keep=len(exchanges))

    async def _retry(self, turn: str | None = None) -> None:
        """Ask an exchange's question again, or the one that got no answer."""
        exchanges = self._threads.exchanges(self._thread)
        if turn is not None:
            at = self._at(turn)
            self._ask(exchanges[at].prompt, exchanges, keep=at, is_again=True)
        elif self._attempt is not None:
            asked = self._attempt[0]
            is_there = asked.before[: asked.keep] == exchanges[: asked.keep]
            self._ask(asked.prompt, exchanges, keep=asked.keep if is_there else len(exchanges), is_again=True)
        else:
            raise InvalidRequestError("There is no question without an answer.")

    async def _edit(self, turn: str, text: str) -> None:
        """Ask in other words, with the same pictures; what was said after that is forgotten."""
        at = self._at(turn)
        exchanges = self._turns.exchanges
        self._ask(ChatMessage("user", text, exchanges[at].prompt.images), exchanges, keep=at)

    async def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _sync(self) -> None:
        """Tell the answer so far, for a page that has missed a piece of it."""
        self.set(running=self._running())

    async def _dismiss(self) -> None:
        """Forget the question that got no answer."""
        self._note_attempt(None)

    async def _use_model(self, name: str | None) -> None:
        self._check(name, self._settings)
        self._model = name
        self._tell_model()

    async def _list_models(self) -> None:
        self._models = await model_choices(self.farm)
        self.set(models=self._models)

    async def _set(
        self,
        system: str | None,
        temperature: float | None,
        top_p: float | None,
        max_tokens: int | None,
        seed: int | None,
    ) -> None:
        settings = ChatSettings(system or None, temperature, top_p, max_tokens, seed)
        self._check(self._model, settings)
        self._settings = settings
        self.set(settings=asdict(settings))

    async def _open_thread(self, name: str) -> None:
        self._check_idle()
        self._thread = _named(name)
        self._attempt = None
        self._follow()
        self.set(thread=self._thread, threads=self._thread_names(), attempt=None)

    async def _forget(self) -> None:
        self._check_idle()
        self._note_attempt(None)
        self._threads.reset(self._thread)

    async def _export(self, kind: Literal["cells", "markdown", "notebook"], by: str) -> None:
        """Tell the view that asked: sources of cells, a text, or the file that was written."""
        exchanges = self._turns.exchanges
        if not exchanges:
            raise InvalidRequestError("Nothing was said yet that could be exported.")
        match kind:
            case "cells":
                self.emit("exported", by=by, kind=kind, cells=as_cells(exchanges))
            case "markdown":
                self.emit("exported", by=by, kind=kind, text=as_markdown(exchanges))
            case "notebook":
                folder = self._folder or Path.cwd()
                path = await asyncio.to_thread(write_notebook, self._thread, exchanges, folder)
                self.emit("exported", by=by, kind=kind, path=str(path))

    async def _insert(self, code: str) -> None:
        self._next_cell.put(code)

    # How a question is asked.

    def _ask(
        self, prompt: ChatMessage, before: tuple[Exchange, ...], *, keep: int, is_again: bool = False
    ) -> None:
        self._check_idle()
        asked = Question(self._turns.reserve(), self._thread, prompt, before, keep)
        farm = self.farm
        options = self._settings.options(self._model)
        options["cache"] = "refresh" if is_again else None
        request = farm.request((*asked.history, asked.prompt), **options)
        asking = Asking(farm, asked, request, Pieces(self._tell_piece), lambda note: self.set(note=note))
        self._asking = asking
        self._attempt = None
        self.set(running=self._running(), note="", attempt=None)
        self._make_thumbnails(asked.prompt.images)
        self._task = self.spawn(self._run(asking))

    async def _run(self, asking: Asking) -> None:
        reply: Reply | None = None
        problem: Problem | None = None
        try:
            reply = await asking.run()
        except asyncio.CancelledError:
            reply = asking.partial("interrupted")
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told where it happened
            reply = asking.partial("error")
            problem = await self.problem(error)
        finally:
            self._asking = self._task = None
            self._keep(asking.question, reply, problem)

    def _keep(self, asked: Question, reply: Reply | None, problem: Problem | None) -> None:
        """Put an answer with any text into the thread, whole or partial; of another, keep the question."""
        if reply is not None and reply.text:
            at = self._add(asked, reply)
            self._follow({at: asked.name})
            if problem is not None:
                self.set(**self._turns.note(at, problem))
        else:
            self._attempt = asked, problem or (None if _is_stopped(reply) else SILENT)
        self.set(running=None, note="", attempt=self._told_attempt())
        self.settled()

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

    # What the page is told.

    def _follow(self, reserved: Mapping[int, str] = MappingProxyType({})) -> None:
        """Tell what is new in the thread, whoever has said it."""
        slices = self._turns.follow(self._threads.exchanges(self._thread), reserved=reserved)
        if slices:
            self.set(**slices, threads=self._thread_names())
            self.settled()
            self._make_thumbnails(image for each in self._turns.exchanges for image in each.prompt.images)

    def _tell_piece(self, number: int, text: str, reasoning: str) -> None:
        self.emit("piece", number=number, text=text, reasoning=reasoning)

    def _running(self) -> dict[str, Any] | None:
        if self._asking is None:
            return None
        asked = self._asking.question
        pieces, text, reasoning = self._asking.pieces.told
        return {
            "name": asked.name,
            "question": question(asked.prompt, self._thumbnails.get),
            "model": str(self._asking.request.ref),
            "keep": asked.keep if asked.keep < len(asked.before) else None,
            "pieces": pieces,
            "text": text,
            "reasoning": reasoning,
        }

    def _note_attempt(self, attempt: tuple[Question, Problem | None] | None) -> None:
        self._attempt = attempt
        self.set(attempt=self._told_attempt())

    def _told_attempt(self) -> dict[str, Any] | None:
        if self._attempt is None:
            return None
        asked, problem = self._attempt
        told = question(asked.prompt, self._thumbnails.get)
        return {"question": told, "problem": problem and asdict(problem)}

    def _tell_model(self) -> None:
        self.set(model=self._model, default_model=self._default_model())

    def _default_model(self) -> str:
        try:
            ref = look_up(None, self.farm.config).ref
        except FarmError:
            return ""
        return "auto" if is_dynamic(ref) else str(ref)

    def _thread_names(self) -> list[str]:
        return sorted({*self._threads.names(), self._thread})

    def _make_thumbnails(self, images: Any) -> None:
        lacking = {image.digest: image for image in images if self._thumbnails.lacks(image)}
        if lacking:
            self.spawn(self._made_thumbnails(tuple(lacking.values())))

    async def _made_thumbnails(self, images: tuple[Image, ...]) -> None:
        for image in images:
            await asyncio.to_thread(self._thumbnails.make, image)
            self.set(**self._turns.with_image(image))

    # Checks.

    def _soon(self, tell: Any) -> None:
        """Have it done on the farm's loop; a change may be told on any thread."""
        loop.get_loop().call_soon_threadsafe(lambda: self._is_closed or tell())

    def _check(self, model: str | None, settings: ChatSettings) -> None:
        """See that a request with these can be made."""
        self.farm.request("?", **settings.options(model))

    def _check_idle(self) -> None:
        if self._asking is not None:
            raise InvalidRequestError(BUSY)

    def _at(self, turn: str) -> int:
        self._follow()
        at = self._turns.index(turn)
        if at is None:
            raise InvalidRequestError("This turn is not in the conversation any more.")
        return at


def _is_stopped(reply: Reply | None) -> bool:
    reason: FinishReason | None = reply.finish_reason if reply else None
    return reason == "interrupted"


def _named(thread: str) -> str:
    name = " ".join(thread.split())
    if not name or len(name) > 100:
        raise InvalidRequestError(f"{thread!r} is no name for a conversation. Use 1 to 100 characters.")
    return name
