"""The line of ``%farm_compare`` and ``%%farm_compare``: options first, then the prompt as it stands."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from farm_notebook.errors import InvalidRequestError
from farm_notebook.notebook.cells.shared_options import NOTHING, CellOptions, read_line, settled
from farm_notebook.notebook.jupyter_ai import Parameters, our_name
from farm_notebook.notebook.line import LineParser
from farm_notebook.notebook.options import (
    add_cell_options,
    add_context_options,
    add_image_option,
    add_request_options,
    finish_parser,
    unfilled_names,
)

__all__ = ["CompareOptions", "parse_cell_line", "parse_line", "parser"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareOptions(CellOptions):
    """What the line says about the models, the request and the cell."""

    models: tuple[str, ...]
    one_by_one: bool


def parse_line(
    line: str, fill: Callable[[str], str], defaults: Mapping[str, object] = NOTHING
) -> tuple[CompareOptions, str]:
    """The options of ``%farm_compare``, and the prompt that follows them; see ``read_line``."""
    values, prompt = read_line(parser(), line, fill, defaults)
    return _options(values, values.model or ()), prompt


def parse_cell_line(
    line: str,
    fill: Callable[[str], str],
    defaults: Mapping[str, object] = NOTHING,
    *,
    is_model: Callable[[str], bool],
) -> CompareOptions:
    """The options of ``%%farm_compare``, among which models' names may stand by themselves.

    Args:
        line: What stands behind the magic's name.
        fill: As for ``parse_line``.
        defaults: As for ``parse_line``.
        is_model: Whether a word is a model's name, and no prompt that went astray.

    Raises:
        InvalidRequestError: As ``parse_line``; or something else stands there, too.
    """
    values, words = parser().parse_cell_line(line, unfilled_names(fill), defaults)
    options = _options(values, (*words, *(values.model or ())))
    if astray := [name for name in _names(words) if not is_model(name)]:
        raise InvalidRequestError(
            f"{' '.join(astray)!r} stands behind %%farm_compare; the prompt goes on the lines below, "
            "and each model's name behind a -m."
        )
    return options


def _options(values: argparse.Namespace, named: Sequence[str]) -> CompareOptions:
    if objects := [words for words in named if words.startswith("{")]:
        raise InvalidRequestError(f"{objects[0]!r} is no model. Parameters stand behind --model-parameters.")
    models = tuple(our_name(name) for name in _names(named))
    return CompareOptions(models=models, **settled(values, without=("model",)))


def _names(named: Iterable[str]) -> list[str]:
    """Each name by itself: ``A,B`` names two."""
    return [name for words in named for each in words.split(",") if (name := each.strip())]


@cache
def parser() -> LineParser:
    """What parses the options."""
    made = LineParser("%%farm_compare", usage="%%%%farm_compare [options]", help_at="%farm_compare?")
    models = made.add_argument_group("the models")
    models.add_argument(
        "-m", "--model", action="append", metavar="NAME", help="a model; repeatable, and A,B names two"
    )
    models.add_argument(
        "--one-by-one", action="store_true", help="ask them in turn: none takes the machine from another"
    )
    request = made.add_argument_group("the request")
    add_request_options(request)
    request.add_argument(
        "--model-parameters",
        action=Parameters,
        default=NOTHING,
        metavar="JSON",
        help='what no option says, e.g. {"top_p": 0.9}',
    )
    told = made.add_argument_group("what of the notebook is told")
    add_context_options(told)
    add_image_option(told)
    cell = made.add_argument_group("the cell")
    cell.add_argument("-o", "--out", metavar="NAME", help="bind a DataFrame with a row a model to this name")
    add_cell_options(cell)
    finish_parser(made, models_alone=math.inf)
    return made
