"""What is told of an answer until its first word: who is asked, and what is waited for."""

from __future__ import annotations

from farm_notebook.farm.step_events import Rejected, StepEvent
from farm_notebook.progress.loads import LoadSteps
from farm_notebook.sanitize import printable
from farm_notebook.types import (
    LoadProgress,
    PromptProgress,
    Queued,
    ReasoningDelta,
    Rerouted,
    Retrying,
    Routed,
    Started,
)

__all__ = ["Progress"]

LONGEST_NOTE = 300  # characters; a server's error may be a whole page


class Progress:
    """One line that says how far an answer is. Who is asked stays in it until the first word."""

    def __init__(self) -> None:
        self._way = ""
        self._step = ""
        self._loading = LoadSteps("the model")

    @property
    def note(self) -> str:
        """Plain text of at most 300 characters on one line, without control characters; at first empty."""
        text = " · ".join(part for part in (self._way, self._step) if part)
        return text if len(text) <= LONGEST_NOTE else f"{text[: LONGEST_NOTE - 1]}…"

    def add(self, event: StepEvent) -> bool:
        """Take the stream's next event; whether the line may have changed."""
        match event:
            case Routed(ref, reason):
                self._way = _line(f"Asking {ref}: {reason}") if reason else ""
            case Rerouted(source, target, problem):
                self._way, self._step = _line(f"{source}: {problem}; asking {target}"), ""
            case Started():
                self._step = "" if self._way else "…"
            case LoadProgress():
                self._step = _line(self._loading.describe(event))
            case _:
                step = _describe(event)
                if step is None:
                    return False
                self._step = _line(step)
        return True


def _describe(event: StepEvent) -> str | None:
    """What is waited for at this moment; ``None`` for an event that says nothing of it."""
    match event:
        case PromptProgress(processed, total) if processed < total:
            return f"Reading the prompt … {processed:,} of {total:,} tokens"
        case Queued(_, limit, wait_s):
            return f"Waiting{f' {_seconds(wait_s)} s' if wait_s else ''} for {limit}"
        case Retrying(_, problem, wait_s):
            return f"Asking again in {_seconds(wait_s)} s … {problem}"
        case ReasoningDelta():
            return "Thinking …"
        case Rejected(problem):
            return f"Asking for a correction … {problem}"
        case _:
            return None


def _seconds(value_s: float) -> str:
    return f"{value_s:.1f}" if value_s < 10 else f"{value_s:.0f}"


def _line(text: str) -> str:
    """Errors of servers and names of models are not trusted: one line, and nothing that steers a terminal."""
    return printable(" ".join(text.split()))
