"""The line of ``%farm_chat`` and ``%%farm_chat``: options first, then the prompt as it stands."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from farm_notebook.errors import InvalidRequestError
from farm_notebook.notebook.jupyter_ai import FOREIGN_OPTIONS, our_name
from farm_notebook.notebook.line import LineParser
from farm_notebook.notebook.options import (
    CONTEXT_KINDS,
    FormatName,
    add_cell_options,
    add_context_options,
    add_format_option,
    add_image_option,
    add_model_option,
    add_request_options,
    add_schema_options,
    add_tool_options,
    check_out,
    unfilled_names,
)
from farm_notebook.threads import DEFAULT_THREAD

if TYPE_CHECKING:
    from farm_notebook.notebook.context.gather import Wanted
    from farm_notebook.notebook.structured import AsName
    from farm_notebook.types import CacheUse

__all__ = ["ChatOptions", "parse_cell_line", "parse_line", "parser"]

_NOTHING: Mapping[str, object] = MappingProxyType({})
_REPEATABLE = ("stop", "context", "cell", "file", "image", "tool")


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """What the line says about the request and about the cell."""

    model: str | None
    model_parameters: Mapping[str, Any]
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
    schema: str | None
    as_: AsName | None
    tool: tuple[str, ...]
    max_steps: int
    confirm: bool
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


def parse_line(
    line: str, fill: Callable[[str], str], defaults: Mapping[str, object] = _NOTHING
) -> tuple[ChatOptions, str]:
    """Split the line of ``%farm_chat`` into its options and the prompt that follows them.

    Args:
        line: What stands behind the magic's name.
        fill: Replaces ``{names}`` in an option's value; not asked with ``--no-interpolate``.
        defaults: What holds where the line says nothing.

    Raises:
        InvalidRequestError: Quoting the bad option and listing the valid ones.
    """
    values, prompt = parser().parse_line(line, unfilled_names(fill), defaults)
    return _options(values), prompt


def parse_cell_line(
    line: str,
    fill: Callable[[str], str],
    defaults: Mapping[str, object] = _NOTHING,
    *,
    is_model: Callable[[str], bool],
) -> ChatOptions:
    """The options of ``%%farm_chat``, among which a model's name may stand by itself.

    Args:
        line: What stands behind the magic's name.
        fill: As for ``parse_line``.
        defaults: As for ``parse_line``.
        is_model: Whether a word is a model's name, and no prompt that went astray.

    Raises:
        InvalidRequestError: As ``parse_line``; or something else stands there, too.
    """
    values, words = parser().parse_cell_line(line, unfilled_names(fill), defaults)
    if words and is_model(words[0]):
        named = our_name(words.pop(0))
        if values.model not in (None, named):
            raise InvalidRequestError(f"Two models are named, {named!r} and {values.model!r}. Leave out one.")
        values.model = named
    if words:
        raise InvalidRequestError(
            f"{' '.join(words)!r} stands behind %%farm_chat; the prompt goes on the lines below, "
            "and a model's name behind -m."
        )
    return _options(values)


def _options(values: argparse.Namespace) -> ChatOptions:
    repeated = {name: tuple(getattr(values, name) or ()) for name in _REPEATABLE}
    options = ChatOptions(**vars(values) | repeated)
    check_out(options.out)
    if options.as_ and options.schema is None:
        raise InvalidRequestError(f"--as {options.as_} needs --schema, which says what the answer is to be.")
    if options.max_steps < 1:
        raise InvalidRequestError(f"--max-steps {options.max_steps} is out of range; it must be at least 1.")
    return options


@cache
def parser() -> LineParser:
    """What parses the options."""
    made = LineParser("%%farm_chat", usage="%%farm_chat [options]", help_at="%farm_chat?")
    request = made.add_argument_group("the request")
    add_model_option(request)
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
    told = made.add_argument_group("what of the notebook is told")
    add_context_options(told)
    add_image_option(told)
    add_tool_options(made.add_argument_group("tools"))
    cell = made.add_argument_group("the cell")
    add_schema_options(cell)
    cell.add_argument("-o", "--out", metavar="NAME", help="bind the cell's value to this name")
    add_format_option(cell)
    add_cell_options(cell)
    made.explain_foreign(FOREIGN_OPTIONS)
    made.models_alone = 1
    for name, kind in CONTEXT_KINDS.items():
        made.suggest_names(name, kind)
    return made
