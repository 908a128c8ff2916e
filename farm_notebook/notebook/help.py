"""What ``%farm fix`` and ``%farm explain`` have in common: a question about what stands in the notebook."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from farm_notebook.notebook.asked import AskedTurn
from farm_notebook.notebook.context.gather import Wanted
from farm_notebook.notebook.context.mentioned import names_in_code
from farm_notebook.notebook.context.read import read_context
from farm_notebook.notebook.context.shell import hidden_names, source_as_python
from farm_notebook.notebook.context.variables import read_variables
from farm_notebook.notebook.formats import FORMATS
from farm_notebook.notebook.interpolation import Filled
from farm_notebook.types import ChatMessage

if TYPE_CHECKING:
    from farm_notebook.notebook.context.piece import Piece
    from farm_notebook.notebook.session import Session
    from farm_notebook.reply import Reply

__all__ = ["Help", "variables_of"]


class Help:
    """One question about a part of the notebook.

    Args:
        session: The shell's.
        arguments: As of ``options.add_help_options``.
        instruction: What the model is to do.
        told: What it is about.
    """

    def __init__(
        self, session: Session, arguments: argparse.Namespace, instruction: str, told: Sequence[Piece]
    ) -> None:
        self._session = session
        self._arguments: Any = arguments
        self._instruction = instruction
        self._told = told

    def turn(
        self,
        prompt: str,
        *,
        owns_cell: bool,
        then: Callable[[Reply], None] = lambda reply: None,
        remark: Callable[[Reply], str] = lambda reply: "",
    ) -> AskedTurn | None:
        """The question, ready to be asked; ``None`` where it is only shown.

        The conversation is not sent with it, but goes on with it: what follows may refer to it.
        """
        session, arguments = self._session, self._arguments
        wanted = Wanted(
            tuple(arguments.context or ()),
            tuple(arguments.cell or ()),
            arguments.notebook,
            tuple(arguments.file or ()),
        )
        context = read_context(
            session, wanted, model=arguments.model, tokens=arguments.context_tokens, first=self._told
        )
        said = ChatMessage("user", prompt)
        defaults = session.defaults.of_cells()
        request = session.farm.core.request(
            (context.before_message(said),),
            model=arguments.model,
            system=self._instruction,
            temperature=_first(arguments.temperature, defaults.get("temperature")),
            max_tokens=_first(arguments.max_tokens, defaults.get("max_tokens")),
        )
        if arguments.dry_run:
            from farm_notebook.notebook.dry_run import describe_request

            decision = session.farm.route(arguments.model)
            print(describe_request(request, Filled("", (), ()), decision, arguments, note=context.note))
            return None
        return AskedTurn(
            session,
            request,
            FORMATS["markdown"],
            said=said,
            context=context,
            thread=str(defaults.get("thread", session.defaults.thread)),
            owns_cell=owns_cell,
            then=then,
            remark=remark,
        )


def variables_of(session: Session, sources: Sequence[str]) -> list[Piece]:
    """What is told of the variables that some cells use."""
    shell = session.shell
    hidden = hidden_names(shell)
    names = [
        name
        for source in sources
        for name in names_in_code(source_as_python(shell, source), shell.user_ns, hidden=hidden)
    ]
    return read_variables(names, shell.user_ns)


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)
