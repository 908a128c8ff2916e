"""The cells of a notebook that were run: what was typed, and what it gave."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from farm_notebook.errors import InvalidRequestError
from farm_notebook.notebook.context.piece import Piece
from farm_notebook.notebook.values import as_text

__all__ = ["NotebookCell", "chosen_cells", "is_ours", "piece_of", "story", "told_cells", "without_place"]

LONGEST_OUTPUT = 4_000  # characters of what a cell printed
_OUR_LINE = re.compile(r"\s*(?:\w+\s*=\s*)?%farm")
_RANGE = re.compile(r"(?:In)?\[?(-?\d+)\]?(?:\s*-\s*(?:In)?\[?(-?\d+)\]?)?")


@dataclass(frozen=True, slots=True)
class NotebookCell:
    """One cell that was run.

    Args:
        number: The n of ``In[n]``.
        source: As it was typed.
        output: As text: what it printed and displayed, its value, its error.
    """

    number: int
    source: str
    output: str = ""

    @property
    def label(self) -> str:
        """``In[n]``."""
        return f"In[{self.number}]"


def told_cells(
    inputs: Sequence[str],
    results: Mapping[int, object],
    shown: Mapping[int, Iterable[Any]],
    errors: Mapping[int, Mapping[str, Any]],
    printed: Callable[[int], str] = lambda number: "",
) -> list[NotebookCell]:
    """The cells that a shell remembers, oldest first.

    Args:
        inputs: What was typed, by number; the first stands for none.
        results: The values of cells, by number.
        shown: What else they gave, by number, each with ``output_type`` and ``bundle``.
        errors: How they failed, by number, with ``ename`` and ``evalue``.
        printed: What else they gave, in one text, where that is known better.
    """
    return [
        NotebookCell(number, source.strip("\n"), _output(number, results, shown, errors, printed(number)))
        for number, source in enumerate(inputs)
        if number and source.strip()
    ]


def chosen_cells(specs: Iterable[str], cells: Sequence[NotebookCell]) -> list[NotebookCell]:
    """The cells of ``--cell``, in the notebook's order, each once.

    Args:
        specs: Each a number, as ``3``; from the end, as ``-1``; a range, as ``3-5``; or several with commas.
        cells: All there are.

    Raises:
        InvalidRequestError: Quoting what names no cell.
    """
    parts = [part.strip() for spec in specs for part in spec.split(",") if part.strip()]
    numbers = {number for part in parts for number in _numbers(part, cells)}
    return [cell for cell in cells if cell.number in numbers]


def without_place(message: str) -> str:
    """An error's words without the place that a SyntaxError ends with; the file's name is IPython's own."""
    return re.sub(r" \([^()\n]+, line \d+\)$", "", message)


def story(cells: Sequence[NotebookCell]) -> list[NotebookCell]:
    """The notebook so far: of a cell that was run again only its last run, and none that asks a model,
    because a conversation is sent by itself.
    """
    last = {cell.source: cell for cell in cells}
    return [cell for cell in cells if last[cell.source] is cell and not is_ours(cell.source)]


def is_ours(source: str) -> bool:
    """Whether a cell holds nothing but magics of this package, and no code of the user's."""
    lines = [line for line in source.splitlines() if line.strip()]
    return bool(lines) and (lines[0].lstrip().startswith("%%farm") or all(map(_OUR_LINE.match, lines)))


def piece_of(cell: NotebookCell) -> Piece:
    """A cell as a part of a context."""
    return Piece(cell.label, "cell", cell.source, cell.output)


def _numbers(part: str, cells: Sequence[NotebookCell]) -> Iterator[int]:
    match = _RANGE.fullmatch(part)
    if match is None:
        raise InvalidRequestError(f"{part!r} names no cell. {_valid(cells)}")
    first = _number(match[1], cells)
    last = first if match[2] is None else _number(match[2], cells)
    found = [cell.number for cell in cells if first <= cell.number <= last]
    if not found or (match[2] is None and first not in found):
        raise InvalidRequestError(f"{part!r} names no cell that was run. {_valid(cells)}")
    yield from found


def _number(text: str, cells: Sequence[NotebookCell]) -> int:
    number = int(text)
    if number < 0:
        return cells[number].number if -number <= len(cells) else 0
    return number


def _valid(cells: Sequence[NotebookCell]) -> str:
    if not cells:
        return "No cell was run yet."
    span = f"{cells[0].number} to {cells[-1].number}" if len(cells) > 1 else f"{cells[0].number}"
    return f"Valid: {span}; -1 for the last; a range, as in 3-5."


def _output(
    number: int,
    results: Mapping[int, object],
    shown: Mapping[int, Iterable[Any]],
    errors: Mapping[int, Mapping[str, Any]],
    printed: str,
) -> str:
    value = results.get(number)
    if hasattr(type(value), "_farm_brief_"):  # a model's answer, which is what was shown
        return as_text(value)
    parts = [_shortened(printed)] if printed else list(filter(None, map(_shown, shown.get(number, ()))))
    if number in results:
        parts.append(as_text(value))
    if (error := errors.get(number)) is not None:
        parts.append(f"{error.get('ename', '')}: {without_place(str(error.get('evalue', '')))}")
    return "\n".join(part.strip("\n") for part in parts)


def _shown(output: Any) -> str:
    """What a cell printed or displayed; its value is known better from ``Out``."""
    if output.output_type in ("out_stream", "err_stream"):
        return _shortened("".join(output.bundle.get("stream", ())))
    if output.output_type == "display_data":
        text = output.bundle.get("text/markdown") or output.bundle.get("text/plain") or ""
        return _shortened("".join(text))
    return ""


def _shortened(text: str) -> str:
    """Its end, which tells how it came out."""
    more = len(text) - LONGEST_OUTPUT
    return text if more <= 0 else f"({more:,} characters before)\n{text[-LONGEST_OUTPUT:]}"
