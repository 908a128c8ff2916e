"""What came of one model in a comparison: its answer or why there is none, and its figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from farm_notebook.errors import FarmError
from farm_notebook.reply import Reply
from farm_notebook.reports import tables
from farm_notebook.sanitize import printable
from farm_notebook.types import FinishReason, Timings, Usage

__all__ = ["FIGURES", "NUMBERS", "RARE", "Outcome", "frame_row"]

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
    if speed is None:
        return tables.UNKNOWN
    return f"{speed:,.0f}" if speed >= 10 else f"{speed:.1f}"


def _total(outcome: Outcome) -> str:
    return tables.seconds(_timings(outcome).total_s or None)


def _cost(outcome: Outcome) -> str:
    if outcome.reply is None or outcome.reply.is_partial:
        return tables.UNKNOWN
    return tables.dollars(outcome.reply.cost)


# The columns of the table, by their titles.
FIGURES: dict[str, Callable[[Outcome], str]] = {
    "load": _load,
    "first token": lambda outcome: tables.seconds(_timings(outcome).first_token_s),
    "tokens/s": _speed,
    "tokens": _tokens,
    "total": _total,
    "cost": _cost,
    "outcome": lambda outcome: outcome.status,
}
RARE = ("load",)  # shown only where there is something in them
NUMBERS = FIGURES.keys() - {"outcome"}


def frame_row(outcome: Outcome) -> dict[str, object]:
    """A row of the frame; what nobody told is ``None``."""
    reply, usage, timings = outcome.reply, _usage(outcome), _timings(outcome)
    is_measured = reply is not None and not reply.cached
    return {
        "model": outcome.name,
        "ref": str(reply.ref) if reply else None,
        "text": reply.text if reply else None,
        "outcome": outcome.status,
        "finish_reason": reply.finish_reason if reply else None,
        "load_s": timings.load_s if is_measured else None,
        "first_token_s": timings.first_token_s,
        "tokens_per_s": timings.tokens_per_s,
        "total_s": timings.total_s if is_measured else None,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cost": reply.cost if reply else None,
        "cached": reply.cached if reply else None,
        "error": outcome.problem or None,
        "fingerprint": reply.fingerprint if reply else None,
        "digest": reply.digest if reply else None,
    }
