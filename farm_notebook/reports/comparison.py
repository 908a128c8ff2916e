"""The answers of several models to one prompt: side by side, in figures, and as a frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

from farm_notebook.errors import FarmError
from farm_notebook.reply import Reply
from farm_notebook.reports import tables
from farm_notebook.reports.side_by_side import Part, side_by_side
from farm_notebook.reports.tables import Column
from farm_notebook.sanitize import printable
from farm_notebook.types import FinishReason, Timings, Usage

__all__ = ["Comparison", "Outcome"]

SHORTEST_LOAD_S = 0.1  # what takes less is not worth a column
LONGEST_PROBLEM = 500  # characters; a server's error may be a whole page

_ENDINGS: dict[FinishReason, str] = {
    "stop": "done",
    "length": "cut at the token limit",
    "tool_calls": "calls tools",
    "content_filter": "cut by the content filter",
    "interrupted": "interrupted",
    "error": "failed",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one model.

    Args:
        name: The model as it was asked for.
        reply: Its answer, whole or partial; ``None`` where nothing had arrived.
        error: Why it is not whole; ``None`` where it is, and where the user stopped it.
    """

    name: str
    reply: Reply | None = None
    error: FarmError | None = None

    @property
    def text(self) -> str:
        """The answer as far as it came; maybe empty."""
        return self.reply.text if self.reply else ""

    @property
    def status(self) -> str:
        """How it ended, in a few words: ``done``, ``failed``, ``interrupted``, ..."""
        if self.error is not None:
            return "failed"
        if self.reply is None:
            return "interrupted"
        return f"{_ENDINGS[self.reply.finish_reason]}{', cached' if self.reply.cached else ''}"

    @property
    def problem(self) -> str:
        """The error in one line of at most 500 characters; empty where there is none."""
        if self.error is None:
            return ""
        line = printable(" ".join(f"{type(self.error).__name__}: {self.error}".split()))
        return line if len(line) <= LONGEST_PROBLEM else f"{line[: LONGEST_PROBLEM - 1]}…"

    @property
    def title(self) -> str:
        """The name, and the model that answered where the name was not its own."""
        if self.reply is None or str(self.reply.ref) == self.name:
            return self.name
        return f"{self.name} → {self.reply.ref}"

    @property
    def remark(self) -> str:
        """What is to be said below the answer: why it is not whole, or that there is none."""
        if self.error is not None:
            return self.problem
        if self.reply is None or self.reply.is_partial:
            return "interrupted"
        if self.reply.tool_calls:
            return f"calls {', '.join(call.name for call in self.reply.tool_calls)}"
        return "" if self.reply.text.strip() else "an empty answer"

    @property
    def facts(self) -> str:
        """What is known of the answer, in one line: tokens, cost, speed; maybe empty."""
        return self.reply.footer.removeprefix(f"{self.reply.ref} · ") if self.reply else ""

    def provenance(self) -> dict[str, Any]:
        """Where the answer came from, as plain JSON values, for an output's metadata."""
        told = self.reply.provenance() if self.reply else {}
        return {"name": self.name, "status": self.status, "error": self.problem or None, **told}


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
        return tables.frame([_values(outcome) for outcome in self.outcomes])

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
        shown = {title: [cell(outcome) for outcome in self.outcomes] for title, cell in _FIGURES.items()}
        told = {title: cells for title, cells in shown.items() if title not in _RARE or any(cells)}
        columns = (Column("model"), *(Column(title, is_number=title in _NUMBERS) for title in told))
        rows = [
            [outcome.title, *(cells[place] for cells in told.values())]
            for place, outcome in enumerate(self.outcomes)
        ]
        return columns, rows


def _usage(outcome: Outcome) -> Usage:
    return outcome.reply.usage if outcome.reply else Usage()


def _timings(outcome: Outcome) -> Timings:
    """Those of a kept answer are of a look-up, and would be unfair to the others."""
    return outcome.reply.timings if outcome.reply and not outcome.reply.cached else Timings()


def _load(outcome: Outcome) -> str:
    load_s = _timings(outcome).load_s
    return tables.seconds(load_s) if load_s >= SHORTEST_LOAD_S else ""


def _tokens(outcome: Outcome) -> str:
    tokens = _usage(outcome).output_tokens
    return tables.UNKNOWN if tokens is None else tables.count(tokens)


def _speed(outcome: Outcome) -> str:
    speed = _timings(outcome).tokens_per_s
    return tables.UNKNOWN if speed is None else f"{speed:,.0f}"


def _total(outcome: Outcome) -> str:
    return tables.seconds(_timings(outcome).total_s or None)


def _cost(outcome: Outcome) -> str:
    if outcome.reply is None or outcome.reply.is_partial:
        return tables.UNKNOWN
    return tables.dollars(outcome.reply.cost)


_FIGURES: dict[str, Callable[[Outcome], str]] = {
    "load": _load,
    "first token": lambda outcome: tables.seconds(_timings(outcome).first_token_s),
    "tokens/s": _speed,
    "tokens": _tokens,
    "total": _total,
    "cost": _cost,
    "outcome": lambda outcome: outcome.status,
}
_RARE = ("load",)
_NUMBERS = _FIGURES.keys() - {"outcome"}


def _section(outcome: Outcome, longest: int | None) -> str:
    text = printable(outcome.text.strip("\n"))
    if longest is not None and len(text) > longest:
        text = f"{text[:longest]}…\n({len(text) - longest:,} more characters)"
    remark = f"({outcome.remark})" if outcome.remark else ""
    return "\n".join(filter(None, (f"--- {tables.line(outcome.title)}", text, remark)))


def _values(outcome: Outcome) -> dict[str, object]:
    """A row of the frame; what nobody told is ``None``."""
    reply, usage, timings = outcome.reply, _usage(outcome), _timings(outcome)
    return {
        "model": outcome.name,
        "ref": str(reply.ref) if reply else None,
        "text": reply.text if reply else None,
        "outcome": outcome.status,
        "finish_reason": reply.finish_reason if reply else None,
        "load_s": timings.load_s if reply else None,
        "first_token_s": timings.first_token_s,
        "tokens_per_s": timings.tokens_per_s,
        "total_s": timings.total_s if reply else None,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cost": reply.cost if reply else None,
        "cached": reply.cached if reply else None,
        "error": outcome.problem or None,
        "fingerprint": reply.fingerprint if reply else None,
        "digest": reply.digest if reply else None,
    }


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"
