"""The line of ``%farm_chat`` and ``%%farm_chat``: options first, then the prompt as it stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, get_args

from farm_notebook.notebook.line import LineParser
from farm_notebook.notebook.options import (
    FormatName,
    add_cell_options,
    add_context_options,
    add_request_options,
    check_out,
    unfilled_names,
)
from farm_notebook.threads import DEFAULT_THREAD

if TYPE_CHECKING:
    from farm_notebook.notebook.context.gather import Wanted
    from farm_notebook.types import CacheUse

__all__ = ["ChatOptions", "parse_line", "parser"]

_REPEATABLE = ("stop", "context", "cell", "file", "image")


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """What the line says about the request and about the cell."""

    model: str | None
    temperature: float | None
    max_tokens: int | None
    system: str | None
    seed: int | None
    stop: tuple[str, ...]
    no_cache: bool
    refresh: bool
    sample: int | None
    out: str | None
    thread: str
    no_history: bool
    reset: bool
    dry_run: bool
    format: FormatName
    context: tuple[str, ...]
    cell: tuple[str, ...]
    notebook: bool
    file: tuple[str, ...]
    context_tokens: int | None
    image: tuple[str, ...]
    no_stream: bool
    no_interpolate: bool

    @property
    def cache(self) -> CacheUse:
        """How a kept answer may be used."""
        return "off" if self.no_cache else "refresh" if self.refresh else "use"

    @property
    def wanted(self) -> Wanted:
        """What of the notebook is to be told."""
        from farm_notebook.notebook.context.gather import Wanted  # completion reads options, and needs none

        return Wanted(self.context, self.cell, self.notebook, self.file)


def parse_line(line: str, fill: Callable[[str], str]) -> tuple[ChatOptions, str]:
    """Split the line of ``%farm_chat`` into its options and the prompt that follows them.

    Args:
        line: What stands behind the magic's name.
        fill: Replaces ``{names}`` in an option's value; not asked with ``--no-interpolate``.

    Raises:
        InvalidRequestError: Quoting the bad option and listing the valid ones.
    """
    values, prompt = parser().parse_line(line, unfilled_names(fill))
    repeated = {name: tuple(getattr(values, name) or ()) for name in _REPEATABLE}
    options = ChatOptions(**vars(values) | repeated)
    check_out(options.out)
    return options, prompt


@cache
def parser() -> LineParser:
    """What parses the options."""
    made = LineParser("%%farm_chat", usage="%%farm_chat [options]", help_at="%farm_chat?")
    request = made.add_argument_group("the request")
    request.add_argument(
        "-m", "--model", metavar="NAME", help="the model, e.g. llamacpp:smollm2:135m or ./x.gguf"
    )
    add_request_options(request)
    memory = made.add_argument_group("conversation memory")
    memory.add_argument(
        "--thread",
        default=DEFAULT_THREAD,
        metavar="NAME",
        help="the conversation to go on with (default: the notebook's)",
    )
    memory.add_argument(
        "--no-history", action="store_true", help="neither send the conversation nor add to it"
    )
    memory.add_argument("--reset", action="store_true", help="forget the conversation first")
    add_context_options(made.add_argument_group("what of the notebook is told"))
    cell = made.add_argument_group("the cell")
    cell.add_argument("-o", "--out", metavar="NAME", help="bind the Reply to this name")
    cell.add_argument(
        "-f", "--format", default="markdown", choices=get_args(FormatName), help="what the answer is shown as"
    )
    add_cell_options(cell)
    return made
