"""The line of ``%farm_compare`` and ``%%farm_compare``: options first, then the prompt as it stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from farm_notebook.notebook.line import LineParser
from farm_notebook.notebook.options import add_cell_options, add_request_options, check_out

if TYPE_CHECKING:
    from farm_notebook.types import CacheUse

__all__ = ["CompareOptions", "parse_line", "parser"]


@dataclass(frozen=True, slots=True)
class CompareOptions:
    """What the line says about the models, the request and the cell."""

    models: tuple[str, ...]
    one_by_one: bool
    temperature: float | None
    max_tokens: int | None
    system: str | None
    seed: int | None
    stop: tuple[str, ...]
    no_cache: bool
    refresh: bool
    sample: int | None
    out: str | None
    dry_run: bool
    no_stream: bool
    no_interpolate: bool

    @property
    def cache(self) -> CacheUse:
        """How a kept answer may be used."""
        return "off" if self.no_cache else "refresh" if self.refresh else "use"


def parse_line(line: str, fill: Callable[[str], str]) -> tuple[CompareOptions, str]:
    """Split the line of ``%farm_compare`` into its options and the prompt that follows them.

    Args:
        line: What stands behind the magic's name.
        fill: Replaces ``{names}`` in an option's value; not asked with ``--no-interpolate``.

    Raises:
        InvalidRequestError: Quoting the bad option and listing the valid ones.
    """
    values, prompt = parser().parse_line(line, fill)
    given = vars(values)
    named = (name.strip() for value in given.pop("model") or () for name in value.split(","))
    given |= {"models": tuple(filter(None, named)), "stop": tuple(values.stop or ())}
    options = CompareOptions(**given)
    check_out(options.out)
    return options, prompt


@cache
def parser() -> LineParser:
    """What parses the options."""
    parser = LineParser("%%farm_compare", usage="%%farm_compare [options]", help_at="%farm_compare?")
    models = parser.add_argument_group("the models")
    models.add_argument(
        "-m", "--model", action="append", metavar="NAME", help="a model; repeatable, and A,B names two"
    )
    models.add_argument(
        "--one-by-one", action="store_true", help="ask them in turn: none takes the machine from another"
    )
    add_request_options(parser.add_argument_group("the request"))
    cell = parser.add_argument_group("the cell")
    cell.add_argument("-o", "--out", metavar="NAME", help="bind a DataFrame with a row a model to this name")
    add_cell_options(cell)
    return parser
