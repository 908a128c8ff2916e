"""The kernel's side of the chat panel: what the page may call, who answers, and with which settings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from farm_notebook import loop
from farm_notebook.errors import FarmError, InvalidRequestError
from farm_notebook.farm import Farm
from farm_notebook.request import Options
from farm_notebook.router import doubt, is_dynamic, look_up
from farm_notebook.threads import DEFAULT_THREAD, Threads, default_threads
from farm_notebook.types import ChatMessage
from farm_notebook.widgets.chat.choices import model_choices
from farm_notebook.widgets.chat.conversation import Conversation, Place
from farm_notebook.widgets.chat.export import write_notebook
from farm_notebook.widgets.chat.next_cell import NextCell, present_shell
from farm_notebook.widgets.chat.pictures import pictures
from farm_notebook.widgets.chat.settings import ChatSettings
from farm_notebook.widgets.chat.transcript import as_cells, as_html, as_markdown, as_text
from farm_notebook.widgets.outbox import Slices
from farm_notebook.widgets.part import Handler, Part

__all__ = ["ChatPart"]


class ChatPart(Part):
    """One conversation.

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
        self._model = model
        self._settings = settings or ChatSettings()
        self._check(self._model, self._settings)
        threads = threads or default_threads()
        self._conversation = Conversation(self, threads, thread)
        self._next_cell = NextCell(shell or present_shell())
        self._folder = folder
        self._models: list[dict[str, Any]] | None = None
        self._doubt = ""  # why a question to the chosen model may fail
        self._endings = [
            threads.listen(lambda name: self._soon(self._conversation.follow)),
            self._farm.listen(lambda config: self._soon(self._tell_model)),
        ]

    def slices(self) -> Slices:
        return {
            **self._conversation.slices(),
            "model": self._model,
            "default_model": self._default_model(),
            "models": self._models,
            "doubt": self._doubt,
            "settings": asdict(self._settings),
        }

    def calls(self) -> Mapping[str, Handler]:
        return {
            "send": self._send,
            "stop": self._conversation.stop,
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
        return as_html(self._conversation.exchanges)

    def static_text(self) -> str:
        return as_text(self._conversation.exchanges)

    async def aclose(self) -> None:
        for end in self._endings:
            end()
        self._next_cell.forget()
        await super().aclose()

    # What the page calls.

    async def _send(self, text: str, images: list[str]) -> None:
        self._ask(ChatMessage("user", text, pictures(images)), self._conversation.end())

    async def _retry(self, turn: str | None) -> None:
        """Ask an exchange's question again, or that which got no answer."""
        if turn is None:
            self._ask(*self._conversation.unanswered(), is_again=True)
        else:
            exchanges, index = place = self._conversation.at(turn)
            self._ask(exchanges[index].prompt, place, is_again=True)

    async def _edit(self, turn: str, text: str) -> None:
        """Ask in other words, with the same pictures."""
        exchanges, index = place = self._conversation.at(turn)
        self._ask(ChatMessage("user", text, exchanges[index].prompt.images), place)

    async def _sync(self) -> None:
        """Tell the answer so far, for a page that has missed a piece of it."""
        self.set(running=self._conversation.running())

    async def _dismiss(self) -> None:
        self._conversation.discard()

    async def _use_model(self, name: str | None) -> None:
        self._check(name, self._settings)
        self._model, self._doubt = name, ""
        self._tell_model()
        if name is not None:
            self.spawn(self.glance(partial(self._look_into, name)))

    async def _list_models(self) -> None:
        await self.glance(self._look_at_models)

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
        self._conversation.open(name)

    async def _forget(self) -> None:
        self._conversation.forget()

    async def _export(self, kind: Literal["cells", "markdown", "notebook"], by: str) -> None:
        """Tell the view that asked: sources of cells, a text, or the file that was written."""
        exchanges = self._conversation.exchanges
        if not exchanges:
            raise InvalidRequestError("Nothing was said yet that could be exported.")
        match kind:
            case "cells":
                self.emit("exported", by=by, kind=kind, cells=as_cells(exchanges))
            case "markdown":
                self.emit("exported", by=by, kind=kind, text=as_markdown(exchanges))
            case "notebook":
                folder = self._folder or Path.cwd()
                path = await asyncio.to_thread(write_notebook, self._conversation.thread, exchanges, folder)
                self.emit("exported", by=by, kind=kind, path=str(path))

    async def _insert(self, code: str) -> None:
        self._next_cell.put(code)

    # How.

    def _ask(self, prompt: ChatMessage, place: Place, *, is_again: bool = False) -> None:
        options: Options = self._settings.options(self._model)
        if is_again:
            options["cache"] = "refresh"  # the kept answer is the one that was not liked
        self._conversation.ask(self.farm, prompt, place, options)

    def _check(self, model: str | None, settings: ChatSettings) -> None:
        """See that a request with these can be made."""
        self.farm.request("?", **settings.options(model))

    async def _look_at_models(self) -> None:
        self._models = await model_choices(self.farm)
        self.set(models=self._models)

    async def _look_into(self, model: str) -> None:
        """Tell why a question to a model may fail; nobody waits for it."""
        found = await doubt(model, self.farm.config, self.farm.list_models)
        if found and self._model == model:
            self._doubt = found
            self.set(doubt=found)

    def _tell_model(self) -> None:
        self.set(model=self._model, default_model=self._default_model(), doubt=self._doubt)

    def _default_model(self) -> str:
        try:
            ref = look_up(None, self.farm.config).ref
        except FarmError:  # a question will say why
            return ""
        return "auto" if is_dynamic(ref) else str(ref)

    def _soon(self, tell: Callable[[], None]) -> None:
        """Have it told on the farm's loop; changes are heard of on any thread."""
        loop.get_loop().call_soon_threadsafe(lambda: None if self._is_closed else tell())
