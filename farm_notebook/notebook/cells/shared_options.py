"""What the lines of all cell magics say: the options that they have in common, and how these are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from farm_notebook.errors import InvalidRequestError
from farm_notebook.notebook.jupyter_ai import take_model
from farm_notebook.notebook.options import check_out, unfilled_names

if TYPE_CHECKING:
    import argparse

    from farm_notebook.notebook.context.gather import Wanted
    from farm_notebook.notebook.line import LineParser
    from farm_notebook.types import CacheUse

__all__ = ["NOTHING", "AskOptions", "CellOptions", "read_cell_line", "read_line", "settled"]

NOTHING: Mapping[str, object] = MappingProxyType({})
_REPEATABLE = ("stop", "context", "cell", "file", "image", "tool")


@dataclass(frozen=True, slots=True, kw_only=True)
class CellOptions:
    """What a line says about the request and about the cell."""

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
        """What of the notebook is to be told."""
        from farm_notebook.notebook.context.gather import Wanted  # completion reads options, and needs none

        return Wanted(self.context, self.cell, self.notebook, self.file)

    @property
    def of_request(self) -> dict[str, Any]:
        """What is said of the request, by the names that ``Farm.request`` has."""
        names = ("system", "temperature", "max_tokens", "seed", "stop", "cache", "sample")
        return {**self.model_parameters, **{name: getattr(self, name) for name in names}}


@dataclass(frozen=True, slots=True, kw_only=True)
class AskOptions(CellOptions):
    """The same of a magic that asks one model, and goes on with a conversation."""

    model: str | None
    thread: str
    no_history: bool
    reset: bool


def read_line(
    parser: LineParser, line: str, fill: Callable[[str], str], defaults: Mapping[str, object] = NOTHING
) -> tuple[argparse.Namespace, str]:
    """Split the line of a line magic into its options and the prompt that follows them.

    Args:
        parser: The magic's.
        line: What stands behind the magic's name.
        fill: Replaces ``{names}`` in an option's value; not asked with ``--no-interpolate``.
        defaults: What holds where the line says nothing.

    Raises:
        InvalidRequestError: Quoting the bad option and listing the valid ones.
    """
    return parser.parse_line(line, unfilled_names(fill), defaults)


def read_cell_line(
    parser: LineParser,
    line: str,
    fill: Callable[[str], str],
    defaults: Mapping[str, object] = NOTHING,
    *,
    is_model: Callable[[str], bool],
) -> argparse.Namespace:
    """The options of a cell magic that asks one model, whose name may stand among them by itself.

    Args:
        parser: As for ``read_line``.
        line: As for ``read_line``.
        fill: As for ``read_line``.
        defaults: As for ``read_line``.
        is_model: Whether a word is a model's name, and no prompt that went astray.

    Raises:
        InvalidRequestError: As ``read_line``; or something else stands there, too.
    """
    values, words = parser.parse_cell_line(line, unfilled_names(fill), defaults)
    take_model(values, words, is_model=is_model)
    if words:
        raise InvalidRequestError(
            f"{' '.join(words)!r} stands behind {parser.prog}; the prompt goes on the lines below, a model's "
            "name behind -m, and a variable's behind -c."
        )
    return values


def settled(values: argparse.Namespace, *, without: Sequence[str] = ()) -> dict[str, Any]:
    """The options as they are kept: those that may be repeated as tuples.

    Args:
        values: What was parsed.
        without: Names that are passed over.

    Raises:
        InvalidRequestError: ``--out`` is no name.
    """
    check_out(values.out)
    found = {name: value for name, value in vars(values).items() if name not in without}
    return found | {name: tuple(found[name] or ()) for name in _REPEATABLE if name in found}
