"""What a cell asks, made of its options and its prompt: what all cell magics do with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from farm_notebook.notebook.interpolation import Filled, interpolate
from farm_notebook.notebook.pictures import read_pictures
from farm_notebook.types import ChatMessage, ChatRequest

if TYPE_CHECKING:
    from farm_notebook.notebook.cells.shared_options import AskOptions, CellOptions
    from farm_notebook.notebook.session import Session

__all__ = ["is_only_reset", "read_cell", "read_prompt", "request_for", "show_request"]

OptionsT = TypeVar("OptionsT", bound="CellOptions")


def read_cell(
    session: Session,
    line: str,
    cell: str | None,
    *,
    parse_line: Callable[..., tuple[OptionsT, str]],
    parse_cell_line: Callable[..., OptionsT],
) -> tuple[OptionsT, str]:
    """The options of a magic, and its prompt.

    Args:
        session: The shell's.
        line: What stands behind the magic's name.
        cell: The lines below; ``None`` of a line magic.
        parse_line: Of the magic's options module.
        parse_cell_line: Of the same.

    Raises:
        InvalidRequestError: Quoting what is wrong with the line.
    """
    defaults = session.defaults.of_cells()
    if cell is None:
        return parse_line(line, session.fill, defaults)
    options = parse_cell_line(line, session.fill, defaults, is_model=session.is_model)
    return options, cell.strip("\n")


def is_only_reset(session: Session, options: AskOptions, prompt: str) -> bool:
    """Forget the conversation where the line says so; whether that was all."""
    if not options.reset:
        return False
    session.threads.reset(options.thread)
    if prompt.strip():
        return False
    print(f"The conversation {options.thread!r} is empty now.")
    return True


def read_prompt(session: Session, options: CellOptions, prompt: str) -> tuple[Filled, ChatMessage]:
    """A prompt with its ``{names}`` filled, and what the user says with it, pictures included.

    Raises:
        InvalidRequestError: A picture is none.
    """
    names = session.namespace()
    filled = Filled(prompt, (), ()) if options.no_interpolate else interpolate(prompt, names)
    return filled, ChatMessage("user", filled.text, read_pictures(options.image, names))


def request_for(
    session: Session,
    options: AskOptions,
    prompt: ChatMessage,
    *,
    instruction: str | None,
    tools: Sequence[Callable[..., Any]] = (),
) -> ChatRequest:
    """The request of a cell that goes on with a conversation.

    Args:
        session: The shell's.
        options: Of the line.
        prompt: What is said last, with its context.
        instruction: What the magic itself says to the model, below what the user has it told.
        tools: Functions that the model may have called.
    """
    history = () if options.no_history else session.history(options.thread)
    system = "\n\n".join(filter(None, (options.system, instruction)))
    return session.farm.core.request(
        (*history, prompt),
        **{**options.of_request, "system": system or None},
        model=options.model,
        tools=tools or None,
    )


def show_request(
    session: Session, options: AskOptions, request: ChatRequest, filled: Filled, note: str
) -> None:
    """Print what would be sent, for ``--dry-run``."""
    from farm_notebook.notebook.dry_run import describe_request

    decision = session.farm.route(options.model)
    print(describe_request(request, filled, decision, options, note=note))
