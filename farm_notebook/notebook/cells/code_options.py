"""The line of ``%farm_code`` and ``%%farm_code``: options first, then what the code is to do."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from farm_notebook.errors import InvalidRequestError
from farm_notebook.notebook.jupyter_ai import FOREIGN_OPTIONS, take_model
from farm_notebook.notebook.line import LineParser
from farm_notebook.notebook.options import (
    CONTEXT_KINDS,
    add_cell_options,
    add_context_options,
    add_image_option,
    add_model_option,
    add_request_options,
    add_thread_options,
    check_out,
    unfilled_names,
)

if TYPE_CHECKING:
    from farm_notebook.notebook.context.gather import Wanted
    from farm_notebook.types import CacheUse

__all__ = ["CodeOptions", "parse_cell_line", "parse_line", "parser"]

_NOTHING: Mapping[str, object] = MappingProxyType({})
_REPEATABLE = ("stop", "context", "cell", "file", "image")


@dataclass(frozen=True, slots=True)
class CodeOptions:
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
    context: tuple[str, ...]
    cell: tuple[str, ...]
    notebook: bool
    file: tuple[str, ...]
    context_tokens: int | None
    image: tuple[str, ...]
    thread: str
    no_history: bool
    reset: bool
    replace: bool
    out: str | None
    dry_run: bool
    no_stream: bool
    no_interpolate: bool

    @property
    def cache(self) -> CacheUse:
        """How a kept answer may be used."""
        return "off" if self.no_cache else "refresh" if self.refresh else "use"

    @property
    def wanted(self) -> Wanted:
        """What of the notebook is to be told, besides what the prompt mentions."""
        from farm_notebook.notebook.context.gather import Wanted  # completion reads options, and needs none

        return Wanted(self.context, self.cell, self.notebook, self.file)


def parse_line(
    line: str, fill: Callable[[str], str], defaults: Mapping[str, object] = _NOTHING
) -> tuple[CodeOptions, str]:
    """Split the line of ``%farm_code`` into its options and the prompt that follows them.

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
) -> CodeOptions:
    """The options of ``%%farm_code``, among which a model's name may stand by itself.

    Args:
        line: What stands behind the magic's name.
        fill: As for ``parse_line``.
        defaults: As for ``parse_line``.
        is_model: Whether a word is a model's name.

    Raises:
        InvalidRequestError: As ``parse_line``; or something else stands there, too.
    """
    values, words = parser().parse_cell_line(line, unfilled_names(fill), defaults)
    take_model(values, words, is_model=is_model)
    if words:
        raise InvalidRequestError(
            f"{' '.join(words)!r} stands behind %%farm_code; what is to be done goes on the lines below, a "
            "variable's name behind -c, and a model's behind -m."
        )
    return _options(values)


def _options(values: argparse.Namespace) -> CodeOptions:
    repeated = {name: tuple(getattr(values, name) or ()) for name in _REPEATABLE}
    options = CodeOptions(**vars(values) | repeated)
    check_out(options.out)
    return options


@cache
def parser() -> LineParser:
    """What parses the options."""
    made = LineParser("%%farm_code", usage="%%farm_code [options]", help_at="%farm_code?")
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
    made.explain_foreign(FOREIGN_OPTIONS)
    for name, kind in CONTEXT_KINDS.items():
        made.suggest_names(name, kind)
    return made
