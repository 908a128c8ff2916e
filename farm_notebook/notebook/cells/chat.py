"""``%%farm_chat``: ask a model, and stream its answer into the cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm_notebook.notebook.answer import Answer
from farm_notebook.notebook.cells.chat_options import ChatOptions, parse_cell_line, parse_line
from farm_notebook.notebook.cells.question import (
    is_only_reset,
    read_cell,
    read_prompt,
    request_for,
    show_request,
)
from farm_notebook.notebook.context.read import read_context
from farm_notebook.notebook.display import display_for
from farm_notebook.notebook.formats import FORMATS, fenced_code
from farm_notebook.notebook.plan import Plan
from farm_notebook.types import ChatMessage

if TYPE_CHECKING:
    from farm_notebook.notebook.session import Session

__all__ = ["ChatTurn", "prepare"]


def prepare(session: Session, line: str, cell: str | None, *, owns_cell: bool) -> ChatTurn | None:
    """Everything up to the request; ``None`` where nothing is to be sent."""
    options, prompt = read_cell(session, line, cell, parse_line=parse_line, parse_cell_line=parse_cell_line)
    if is_only_reset(session, options, prompt):
        return None
    filled, said = read_prompt(session, options, prompt)
    context = read_context(session, options.wanted, model=options.model, tokens=options.context_tokens)
    farm = session.farm.core
    plan = Plan(session, options)
    request = plan.first(
        request_for(
            session,
            options,
            context.before_message(said),
            instruction=FORMATS[options.format].instruction if plan.shape is None else None,
            tools=plan.functions,
        )
    )
    if options.dry_run:
        show_request(session, options, request, filled, context.note)
        return None
    display = display_for(
        session.shell,
        plan.form(FORMATS[options.format]),
        farm.config.display,
        live=not options.no_stream,
        owns_cell=owns_cell and not plan.functions,  # what they print and draw is to stay
    )
    answer = Answer(
        farm,
        request,
        display,
        session.news,
        remark=lambda reply: " · ".join(filter(None, (context.note, plan.remark(reply)))),
        events=plan.events(farm, request),
    )
    return ChatTurn(session, options, said, answer, plan)


class ChatTurn:
    """One question of a cell, and what becomes of its answer.

    Args:
        session: The shell's.
        options: Of the line.
        said: What the user said, without what of the notebook was told besides.
        answer: The request on its way.
        plan: What it takes besides.
    """

    def __init__(
        self, session: Session, options: ChatOptions, said: ChatMessage, answer: Answer, plan: Plan
    ) -> None:
        self._session = session
        self._options = options
        self._said = said
        self._answer = answer
        self._plan = plan
        self._value: object = None

    @property
    def value(self) -> object:
        """The answer, whole or partial, or the value that it is; there once it was kept."""
        return self._value

    async def run(self) -> None:
        """Ask, and paint the answer."""
        await self._answer.run()

    def keep(self) -> None:
        """Keep what arrived of the answer."""
        reply, session, options = self._answer.reply, self._session, self._options
        if reply is None:
            return
        self._value = self._plan.value(self._answer.value)
        if reply.text:
            session.known.add([str(reply.ref)])
        if options.out:
            session.shell.user_ns[options.out] = self._value
        if not options.no_history and reply.text:
            session.threads.add(options.thread, self._said, reply)
        if options.format == "code" and self._plan.shape is None and not reply.is_partial:
            session.shell.set_next_input(fenced_code(reply.text), replace=False)
