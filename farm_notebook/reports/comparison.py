"""The answers of several models to one prompt: side by side, in figures, and as a frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

from farm_notebook.reply import Reply
from farm_notebook.reports import tables
from farm_notebook.reports.outcome import FIGURES, NUMBERS, RARE, Outcome, frame_row
from farm_notebook.reports.side_by_side import Part, side_by_side
from farm_notebook.reports.tables import Column
from farm_notebook.sanitize import printable

__all__ = ["Comparison"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The answers of several models to one prompt; shows itself, in a notebook and in a terminal.

    Args:
        prompt: What all of them were asked.
        outcomes: One a model, in the order in which they were named.
        rivals: Names of those that answered on this machine at the same time.
        told: What of a notebook was told with the prompt, in a line.
    """

    prompt: str
    outcomes: tuple[Outcome, ...]
    rivals: tuple[str, ...] = ()
    told: str = ""

    @overload
    def __getitem__(self, key: int | str) -> Outcome: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[Outcome, ...]: ...
    def __getitem__(self, key: int | str | slice) -> Outcome | tuple[Outcome, ...]:
        """The outcome at a place, or of a model by the name it was asked for.

        Raises:
            KeyError: No model of that name was asked; with the names of those that were.
        """
        if not isinstance(key, str):
            return self.outcomes[key]
        for outcome in self.outcomes:
            if outcome.name == key:
                return outcome
        raise KeyError(f"{key!r} was not asked. Valid: {', '.join(self.names)}.")

    def __iter__(self) -> Iterator[Outcome]:
        return iter(self.outcomes)

    def __len__(self) -> int:
        return len(self.outcomes)

    @property
    def names(self) -> tuple[str, ...]:
        """The models as they were asked for."""
        return tuple(outcome.name for outcome in self.outcomes)

    @property
    def replies(self) -> dict[str, Reply]:
        """The answers by the names of their models, partial ones too; who said nothing is not there."""
        return {outcome.name: outcome.reply for outcome in self.outcomes if outcome.reply is not None}

    @property
    def note(self) -> str:
        """What the speeds do not say, and what of a notebook was told; maybe empty."""
        if not self.rivals:
            return self.told
        competed = (
            f"{_listed(self.rivals)} ran on this machine at the same time, each slower than alone. "
            "To compare speeds, ask them in turn: --one-by-one, or one_by_one=True."
        )
        return " · ".join(filter(None, (self.told, competed)))

    def to_dataframe(self) -> Any:
        """A ``pandas.DataFrame`` with a row a model.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        return tables.frame([frame_row(outcome) for outcome in self.outcomes])

    def plain(self, *, longest: int | None = None) -> str:
        """All of it as text: the figures, then the answers one below the other.

        Args:
            longest: Characters of an answer; ``None`` shows all.
        """
        parts = [tables.text(*self._table(), self.note), *(_section(each, longest) for each in self.outcomes)]
        return "\n\n".join(parts)

    def figures(self) -> str:
        """The figures alone, as text."""
        return tables.text(*self._table(), self.note)

    def markdown(self) -> str:
        """All of it as Markdown, safe to show: the figures, then the answers side by side."""
        parts = [Part(each.title, each.text, remark=each.remark) for each in self.outcomes]
        return f"{tables.markdown(*self._table(), self.note)}\n\n{side_by_side(parts)}"

    def provenance(self) -> dict[str, Any]:
        """Where the answers came from, as plain JSON values, for an output's metadata."""
        return {"compared": [outcome.provenance() for outcome in self.outcomes]}

    def __str__(self) -> str:
        return self.plain()

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """In a terminal."""
        printer.text(str(self))

    def _farm_brief_(self) -> str:
        """One line, where the comparison was just shown."""
        return f"<Comparison of {', '.join(tables.line(name) for name in self.names)}>"

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        return {"text/markdown": self.markdown(), "text/plain": self.plain()}, {"farm": self.provenance()}

    def _table(self) -> tuple[tuple[Column, ...], list[list[str]]]:
        """The columns that say something of any model, and their cells."""
        shown = {title: [cell(outcome) for outcome in self.outcomes] for title, cell in FIGURES.items()}
        told = {title: cells for title, cells in shown.items() if title not in RARE or any(cells)}
        columns = (Column("model"), *(Column(title, is_number=title in NUMBERS) for title in told))
        rows = [
            [outcome.title, *(cells[place] for cells in told.values())]
            for place, outcome in enumerate(self.outcomes)
        ]
        return columns, rows


def _section(outcome: Outcome, longest: int | None) -> str:
    text = printable(outcome.text.strip("\n"))
    if longest is not None and len(text) > longest:
        text = f"{text[:longest]}…\n({len(text) - longest:,} more characters)"
    remark = f"({outcome.remark})" if outcome.remark else ""
    return "\n".join(filter(None, (f"--- {tables.line(outcome.title)}", text, remark)))


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"
