"""What happens between the requests of one prompt: events beside those of a stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from farm_notebook.types import ChatRequest, Event, ToolCall, ToolResult

__all__ = [
    "Rejected",
    "StepEvent",
    "StepStarted",
    "ToolFinished",
    "ToolStarted",
    "Unenforced",
    "Validated",
]


@dataclass(frozen=True, slots=True)
class StepStarted:
    """The next request is about to be sent; the events of its stream follow."""

    request: ChatRequest


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """A call of the last stream is next; the user may still refuse it."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """What came of it."""

    result: ToolResult


@dataclass(frozen=True, slots=True)
class Unenforced:
    """The model cannot be held to a schema, as ``problem`` says, so it is asked in words."""

    problem: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """The answer does not fit the schema, as ``problem`` says; the model is asked once to correct it."""

    problem: str


@dataclass(frozen=True, slots=True)
class Validated:
    """The answer fits: the last event."""

    value: Any


StepEvent: TypeAlias = Event | StepStarted | ToolStarted | ToolFinished | Unenforced | Rejected | Validated
