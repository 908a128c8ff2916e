"""A question that a magic asks in the user's stead, with what it knows of the notebook."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from farm_notebook.notebook.answer import Answer
from farm_notebook.notebook.display import display_for

if TYPE_CHECKING:
    from farm_notebook.notebook.context.budget import Context
    from farm_notebook.notebook.formats import Format
    from farm_notebook.notebook.session import Session
    from farm_notebook.reply import Reply
    from farm_notebook.types import ChatMessage, ChatRequest

__all__ = ["AskedTurn"]


class AskedTurn:
    """One question, and what becomes of its answer.

    Args:
        session: The shell's.
        request: What is sent.
        form: What the answer is shown as.
        said: What the conversation remembers as the user's words.
        context: What of the notebook was told.
        thread: The conversation that remembers it; ``None`` is none.
        out: The name the answer is bound to, if any.
        live: Whether to paint while it streams.
        owns_cell: Whether the cell has no other output, so that it may be cleared.
        then: What is done with an answer that is whole.
        remark: What is said below such an answer.
    """

    def __init__(
        self,
        session: Session,
        request: ChatRequest,
        form: Format,
        *,
        said: ChatMessage,
        context: Context,
        thread: str | None,
        out: str | None = None,
        live: bool = True,
        owns_cell: bool,
        then: Callable[[Reply], None] = lambda reply: None,
        remark: Callable[[Reply], str] = lambda reply: "",
    ) -> None:
        farm = session.farm.core
        display = display_for(session.shell, form, farm.config.display, live=live, owns_cell=owns_cell)
        self._answer = Answer(
            farm,
            request,
            display,
            session.news,
            remark=lambda reply: " · ".join(
                filter(None, ("" if reply.is_partial else remark(reply), context.note))
            ),
        )
        self._session = session
        self._said = said
        self._thread = thread
        self._out = out
        self._then = then

    @property
    def value(self) -> Reply | None:
        """The answer, whole or partial."""
        return self._answer.reply

    async def run(self) -> None:
        """Ask, and paint the answer."""
        await self._answer.run()

    def keep(self) -> None:
        """Keep what arrived of the answer."""
        reply, session = self._answer.reply, self._session
        if reply is None:
            return
        if reply.text:
            session.known.add([str(reply.ref)])
        if self._out:
            session.shell.user_ns[self._out] = reply
        if self._thread is not None and reply.text:
            session.threads.add(self._thread, self._said, reply)
        if not reply.is_partial:
            self._then(reply)
