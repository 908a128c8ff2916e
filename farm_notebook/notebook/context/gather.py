"""From what a line asks for to what is put before its prompt."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from farm_notebook.notebook.context.budget import Context, fit
from farm_notebook.notebook.context.cells import NotebookCell, chosen_cells, piece_of, story
from farm_notebook.notebook.context.clean import clean
from farm_notebook.notebook.context.files import read_files
from farm_notebook.notebook.context.piece import Piece
from farm_notebook.notebook.context.variables import read_variables

__all__ = ["DEFAULT_TOKENS", "Wanted", "budget_of", "gather"]

DEFAULT_TOKENS = 4_000  # where nobody says how large the model's window is
MOST_TOKENS = 16_000  # without being asked to: what is read is paid for


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be put before a prompt.

    Args:
        names: Variables, which may go on with ``.attribute`` and ``[constant]``.
        cells: As of ``--cell``.
        notebook: Whether all cells so far are.
        files: Paths and patterns.
    """

    names: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()
    notebook: bool = False
    files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = (name.removeprefix("{").removesuffix("}") for name in self.names)  # {df} is df
        object.__setattr__(self, "names", tuple(names))

    def __bool__(self) -> bool:
        return bool(self.names or self.cells or self.notebook or self.files)


def gather(
    wanted: Wanted,
    namespace: Mapping[str, object],
    cells: Callable[[], Sequence[NotebookCell]],
    *,
    budget_tokens: int,
    mask: Callable[[str], str],
    first: Sequence[Piece] = (),
) -> Context:
    """Read what is wanted, without secrets, and fit it into its room.

    Args:
        wanted: What the user asked for.
        namespace: The notebook's variables.
        cells: Tells those that were run, oldest first; asked only where it matters.
        budget_tokens: How many tokens all of it may take.
        mask: Takes secrets out of a text.
        first: What the magic itself puts before all else.

    Raises:
        InvalidRequestError: Quoting what is not there, and what is valid.
    """
    run = cells() if wanted.cells or wanted.notebook else ()
    chosen = chosen_cells(wanted.cells, run)
    others = [cell for cell in story(run) if cell not in chosen] if wanted.notebook else []
    named = [
        *first,
        *map(piece_of, chosen),
        *read_files(wanted.files),
        *read_variables(wanted.names, namespace),
    ]
    return fit(
        clean(_once(named, others), mask),
        clean(map(piece_of, others), mask),
        budget_tokens=budget_tokens,
    )


def _once(named: Sequence[Piece], cells: Sequence[NotebookCell]) -> list[Piece]:
    """The pieces without those that are told already, such as a function whose cell is told."""
    unique = {(piece.kind, piece.label): piece for piece in reversed(named)}
    sources = [*(piece.text for piece in named if piece.kind == "cell"), *(cell.source for cell in cells)]
    return [
        piece
        for piece in reversed(unique.values())
        if piece.kind != "variable" or not any(piece.text in source for source in sources)
    ]


def budget_of(window_tokens: int | None) -> int:
    """How many tokens a context may take where the user does not say.

    Args:
        window_tokens: Of the model, for prompt and answer together; ``None`` where that is not known.
    """
    return DEFAULT_TOKENS if window_tokens is None else max(1, min(window_tokens // 2, MOST_TOKENS))
