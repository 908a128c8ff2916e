"""``farm chat``: one question, answered on stdout as it arrives, and nothing else there."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing

from farm_notebook import loop
from farm_notebook.cli.terminal import ProgressLine, emit, emit_json, is_terminal, note
from farm_notebook.errors import FarmError, InterruptedReply, InvalidRequestError
from farm_notebook.farm import Farm
from farm_notebook.reply import Reply, ReplyBuilder
from farm_notebook.request import Options
from farm_notebook.types import FinishReason, TextDelta

__all__ = ["chat", "follow", "read_prompt"]


def chat(
    argument: str | None, options: Options, *, as_json: bool, live: bool, with_footer: bool | None
) -> None:
    """Ask, and write the answer to stdout.

    Whatever had arrived is written too when the answer breaks off, in every form; the error and the exit
    code say that it is not all.

    Args:
        argument: The prompt of the command line; see ``read_prompt``.
        options: What else was said about the request.
        as_json: Write one JSON object at the end: the text and its provenance.
        live: Write the text as it arrives, rather than at the end.
        with_footer: Write a line of facts to stderr; ``None`` does where stderr is a terminal.

    Raises:
        InterruptedReply: Ctrl-C.
        FarmError: The request is wrong, or the model failed.
        BrokenPipeError: Nobody reads stdout any more. The model was stopped.
    """
    farm = Farm()
    request = farm.core.request(read_prompt(argument), **options)
    builder = ReplyBuilder(request)
    live = live and not as_json

    def finish(reply: Reply) -> None:
        if as_json:
            emit_json({"text": reply.text} | reply.provenance())
        elif reply.text:
            emit("" if live else reply.text, end="" if reply.text.endswith("\n") else "\n")
        if with_footer or (with_footer is None and not as_json and is_terminal(sys.stderr)):
            note(reply.footer, style="dim")

    def finish_partial(reason: FinishReason) -> None:
        if not builder.is_empty:
            finish(builder.partial(reason))

    try:
        follow(farm, builder, emit if live else None)
        if as_json:
            builder.digest = loop.run_blocking(farm.core.digest(builder.ref))
        reply = builder.build()
    except KeyboardInterrupt:
        finish_partial("interrupted")
        kept = "the answer is not complete" if builder.text else "nothing had arrived yet"
        raise InterruptedReply(f"interrupted: {kept}") from None
    except FarmError:
        finish_partial("error")
        raise
    finish(reply)


def follow(farm: Farm, builder: ReplyBuilder, on_text: Callable[[str], None] | None = None) -> None:
    """Gather an answer, with its progress on stderr; however this ends, the model has stopped.

    Args:
        farm: Who answers.
        builder: Says what is asked, and gets every event.
        on_text: Called with each piece of the text as it arrives.
    """
    with closing(farm.events(builder.request)) as events, ProgressLine() as progress:
        for event in events:
            builder.add(event)
            progress.show(event)
            if on_text is not None and isinstance(event, TextDelta):
                on_text(event.text)


def read_prompt(argument: str | None) -> str:
    """The argument, and below it what is piped in; either alone where there is only one.

    Raises:
        InvalidRequestError: There is neither, or one is not text.
    """
    piped = "" if sys.stdin is None or is_terminal(sys.stdin) else _read_stdin()
    parts = [part for part in (argument or "", piped) if part.strip()]
    if not parts:
        raise InvalidRequestError(
            'The prompt is empty. Write what to ask, as in `farm chat "Why is the sky blue?"`, or pipe it in.'
        )
    try:
        parts[0].encode()
    except UnicodeEncodeError:  # bytes of an argument that are no text reach Python as lone surrogates
        raise InvalidRequestError(f"The prompt {parts[0]!r} is not valid text in this locale.") from None
    return "\n\n".join(parts)


def _read_stdin() -> str:
    content = sys.stdin.buffer.read()
    try:
        return content.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise InvalidRequestError(
            f"Standard input is not UTF-8 text: byte 0x{content[error.start]:02x} at {error.start:,}. "
            "Convert it first, as with `iconv -t utf-8`."
        ) from None
