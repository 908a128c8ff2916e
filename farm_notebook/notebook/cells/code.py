"""``%%farm_code``: have a model write code, and put it into the next cell. It is never run.

The model is told of the variables that the prompt mentions: their types, columns, signatures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING

from farm_notebook.notebook.asked import AskedTurn
from farm_notebook.notebook.cells.code_options import CodeOptions, parse_cell_line, parse_line
from farm_notebook.notebook.cells.question import (
    is_only_reset,
    read_cell,
    read_prompt,
    request_for,
    show_request,
)
from farm_notebook.notebook.code_cell import CodeCell, cell_of
from farm_notebook.notebook.context.mentioned import imports_of, names_in_prose
from farm_notebook.notebook.context.piece import Piece
from farm_notebook.notebook.context.read import read_context
from farm_notebook.notebook.context.shell import hidden_names, source_as_python
from farm_notebook.notebook.context.variables import read_variables
from farm_notebook.notebook.formats import CodeFormat, code_bundle

if TYPE_CHECKING:
    from farm_notebook.notebook.context.budget import Context
    from farm_notebook.notebook.formats import Bundle
    from farm_notebook.notebook.session import Session
    from farm_notebook.reply import Reply
    from farm_notebook.types import ChatMessage, ChatRequest

__all__ = ["CellFormat", "prepare"]

INSTRUCTION = (
    "Answer with Python code only, in one fenced code block, without explanations: a cell of a Jupyter "
    "notebook. The variables in the context exist already: use their names and columns, and do not define "
    "them anew."
)
TASK = "Write Python code: {}"  # by which small models know what to do with a context


class CellFormat(CodeFormat):
    """Shown as the cell that is made of it.

    Args:
        session: The shell's, which knows what IPython makes of a cell.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def final(self, reply: Reply) -> Bundle:
        cell = self.cell(reply)
        return code_bundle(cell.source, cell.language, reply.footer)

    def cell(self, reply: Reply) -> CodeCell:
        """The cell that an answer is made into."""
        return cell_of(reply.text, lambda source: source_as_python(self._session.shell, source))


def prepare(session: Session, line: str, cell: str | None, *, owns_cell: bool) -> AskedTurn | None:
    """Everything up to the request; ``None`` where nothing is to be sent."""
    options, prompt = read_cell(session, line, cell, parse_line=parse_line, parse_cell_line=parse_cell_line)
    if is_only_reset(session, options, prompt):
        return None
    filled, said = read_prompt(session, options, prompt)
    context = read_context(
        session,
        options.wanted,
        model=options.model,
        tokens=options.context_tokens,
        first=_mentioned(session, prompt, besides=filled.filled),
    )
    task = replace(said, content=TASK.format(said.content)) if said.content.strip() else said
    request = request_for(session, options, context.before_message(task), instruction=INSTRUCTION)
    if options.dry_run:
        show_request(session, options, request, filled, context.note)
        return None
    return _turn(session, options, request, said=said, context=context, owns_cell=owns_cell)


def _turn(
    session: Session,
    options: CodeOptions,
    request: ChatRequest,
    *,
    said: ChatMessage,
    context: Context,
    owns_cell: bool,
) -> AskedTurn:
    form = CellFormat(session)

    def put(reply: Reply) -> None:
        if source := form.cell(reply).source:
            session.shell.set_next_input(source, replace=options.replace)

    return AskedTurn(
        session,
        request,
        form,
        said=said,
        context=context,
        thread=None if options.no_history else options.thread,
        out=options.out,
        live=not options.no_stream,
        owns_cell=owns_cell,
        then=put,
        remark=lambda reply: form.cell(reply).remark,
    )


def _mentioned(session: Session, prompt: str, *, besides: Sequence[str]) -> list[Piece]:
    """What is told of the variables that a prompt speaks of, and which modules are imported.

    Args:
        session: The shell's.
        prompt: As it was written.
        besides: Names whose values stand in the prompt already.
    """
    namespace, hidden = session.shell.user_ns, hidden_names(session.shell)
    names = names_in_prose(prompt, namespace, hidden=hidden)
    own = [name for name in names if not isinstance(namespace[name], ModuleType) and name not in besides]
    imports = imports_of(namespace, hidden=hidden)
    told = [Piece("imports", "cell", "\n".join(imports))] if imports else []
    return [*read_variables(own, namespace), *told]
