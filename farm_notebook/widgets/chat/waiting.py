"""What is waited for until an answer begins, in a line."""

from __future__ import annotations

from farm_notebook.sanitize import printable
from farm_notebook.types import (
    Event,
    LoadProgress,
    PromptProgress,
    Queued,
    ReasoningDelta,
    Rerouted,
    Retrying,
    Routed,
    TextDelta,
)

__all__ = ["waiting_note"]

LONGEST = 200  # characters; a server's error may be a whole page
_STAGES = {"fetch": "Fetching the model", "verify": "Checking the model's files", "load": "Loading the model"}


def waiting_note(event: Event) -> str | None:
    """One line of plain text; empty when nothing is waited for any more, ``None`` where nothing changed."""
    match event:
        case TextDelta() | ReasoningDelta():
            return ""
        case Routed(ref, reason) if reason:
            return _line(f"Asking {ref}: {reason}")
        case Rerouted(source, target, problem):
            return _line(f"{source}: {problem}; asking {target}")
        case Queued(_, limit, wait_s):
            return _line(f"Waiting{f' {wait_s:.0f} s' if wait_s >= 1 else ''} for {limit}")
        case Retrying(_, problem, wait_s):
            return _line(f"Asking again in {wait_s:.0f} s: {problem}")
        case LoadProgress(stage, completed, total):
            share = f" {completed / total:.0%}" if total else ""
            return f"{_STAGES[stage]}{share}"
        case PromptProgress(processed, total) if processed < total:
            return f"Reading the prompt, {processed:,} of {total:,} tokens"
        case _:
            return None


def _line(text: str) -> str:
    line = printable(" ".join(text.split()))
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
