"""The line of ``%farm_code`` and ``%%farm_code``: options first, then what the code is to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from farm_notebook.notebook.cells.shared_options import (
    NOTHING,
    AskOptions,
    read_cell_line,
    read_line,
    settled,
)
from farm_notebook.notebook.line import LineParser
from farm_notebook.notebook.options import (
    add_cell_options,
    add_context_options,
    add_image_option,
    add_model_option,
    add_request_options,
    add_thread_options,
    finish_parser,
)

__all__ = ["CodeOptions", "parse_cell_line", "parse_line", "parser"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeOptions(AskOptions):
    """What the line says about the request and about the cell."""

    replace: bool


def parse_line(
    line: str, fill: Callable[[str], str], defaults: Mapping[str, object] = NOTHING
) -> tuple[CodeOptions, str]:
    """The options of ``%farm_code``, and the prompt that follows them; see ``read_line``."""
    values, prompt = read_line(parser(), line, fill, defaults)
    return CodeOptions(**settled(values)), prompt


def parse_cell_line(
    line: str,
    fill: Callable[[str], str],
    defaults: Mapping[str, object] = NOTHING,
    *,
    is_model: Callable[[str], bool],
) -> CodeOptions:
    """The options of ``%%farm_code``; see ``read_cell_line``."""
    return CodeOptions(**settled(read_cell_line(parser(), line, fill, defaults, is_model=is_model)))


@cache
def parser() -> LineParser:
    """What parses the options."""
    made = LineParser("%%farm_code", usage="%%%%farm_code [options]", help_at="%farm_code?")
    request = made.add_argument_group("the request")
    add_model_option(request)
    add_request_options(request)
    told = made.add_argument_group("what of the notebook is told")
    add_context_options(told)
    add_image_option(told)
    add_thread_options(made.add_argument_group("conversation memory"))
    cell = made.add_argument_group("the cell")
    cell.add_argument("--replace", action="store_true", help="put the code into this cell, not into the next")
    cell.add_argument("-o", "--out", metavar="NAME", help="bind the Reply to this name")
    add_cell_options(cell)
    finish_parser(made, models_alone=1)
    return made
