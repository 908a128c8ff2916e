"""The line of ``%farm_chat`` and ``%%farm_chat``: options first, then the prompt as it stands."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from farm_notebook.errors import InvalidRequestError
from farm_notebook.notebook.cells.shared_options import (
    NOTHING,
    AskOptions,
    read_cell_line,
    read_line,
    settled,
)
from farm_notebook.notebook.line import LineParser
from farm_notebook.notebook.options import (
    FormatName,
    add_cell_options,
    add_context_options,
    add_format_option,
    add_image_option,
    add_model_option,
    add_request_options,
    add_schema_options,
    add_thread_options,
    add_tool_options,
    finish_parser,
)

if TYPE_CHECKING:
    from farm_notebook.notebook.structured import AsName

__all__ = ["ChatOptions", "parse_cell_line", "parse_line", "parser"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatOptions(AskOptions):
    """What the line says about the request and about the cell."""

    format: FormatName
    schema: str | None
    as_: AsName | None
    tool: tuple[str, ...]
    max_steps: int
    confirm: bool


def parse_line(
    line: str, fill: Callable[[str], str], defaults: Mapping[str, object] = NOTHING
) -> tuple[ChatOptions, str]:
    """The options of ``%farm_chat``, and the prompt that follows them; see ``read_line``."""
    values, prompt = read_line(parser(), line, fill, defaults)
    return _options(values), prompt


def parse_cell_line(
    line: str,
    fill: Callable[[str], str],
    defaults: Mapping[str, object] = NOTHING,
    *,
    is_model: Callable[[str], bool],
) -> ChatOptions:
    """The options of ``%%farm_chat``; see ``read_cell_line``."""
    return _options(read_cell_line(parser(), line, fill, defaults, is_model=is_model))


def _options(values: argparse.Namespace) -> ChatOptions:
    options = ChatOptions(**settled(values))
    if options.as_ and options.schema is None:
        raise InvalidRequestError(f"--as {options.as_} needs --schema, which says what the answer is to be.")
    if options.max_steps < 1:
        raise InvalidRequestError(f"--max-steps {options.max_steps} is out of range; it must be at least 1.")
    return options


@cache
def parser() -> LineParser:
    """What parses the options."""
    made = LineParser("%%farm_chat", usage="%%%%farm_chat [options]", help_at="%farm_chat?")
    request = made.add_argument_group("the request")
    add_model_option(request)
    add_request_options(request)
    add_thread_options(made.add_argument_group("conversation memory"))
    told = made.add_argument_group("what of the notebook is told")
    add_context_options(told)
    add_image_option(told)
    add_tool_options(made.add_argument_group("tools"))
    cell = made.add_argument_group("the cell")
    add_schema_options(cell)
    cell.add_argument("-o", "--out", metavar="NAME", help="bind the cell's value to this name")
    add_format_option(cell)
    add_cell_options(cell)
    finish_parser(made, models_alone=1)
    return made
