"""What is remembered of a call: as it is told when the call ends, as it is read again, and summed up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from farm_notebook.types import (
    ChatRequest,
    FinishReason,
    ModelRef,
    RequestKind,
    Role,
    Timings,
    ToolCall,
    Usage,
)

__all__ = ["CANCELLED", "Call", "CallKind", "CallRecord", "Turn", "UsageBy", "UsageRow"]

CallKind: TypeAlias = RequestKind | Literal["embedding"]
UsageBy: TypeAlias = Literal["model", "day", "provider", "notebook"]
CANCELLED = "cancelled"  # stands where an error's type would, and is none


@dataclass(frozen=True, slots=True)
class CallRecord:
    """A call that has ended, however it did. What takes time to find out is left to whoever reads it.

    Args:
        at: When it was made, in seconds since 1970.
        kind: ``chat``, ``completion`` or ``embedding``, whose texts are the messages of ``request``.
        request: What was asked, of which model, under which name.
        ref: The model that answered, or the last one that was asked.
        texts: The answer, in the pieces it came in; as much of it as there was.
        reasoning: The model's thinking, likewise.
        tool_calls: What the model asked to be called.
        usage: Tokens, as the provider counted them.
        cost: US dollars; ``None`` where that is not known.
        timings: As far as the call came.
        finish_reason: ``None`` where it ended without a finish mark.
        error: The type of the error it ended with; ``cancelled`` where the caller left.
        problem: What the error says, in one line.
        is_taken: Whether a model took the request; else there is nothing to count.
        is_cached: Whether the answer was kept, and no model asked.
        rerouted: Why the model that was asked first did not answer, where another one did.
        notebook: Where the call came from, if that is known.
        environment: The setting of that name.
    """

    at: float
    kind: CallKind
    request: ChatRequest
    ref: ModelRef
    texts: tuple[str, ...] = ()
    reasoning: tuple[str, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage = field(default_factory=Usage)
    cost: float | None = None
    timings: Timings = field(default_factory=Timings)
    finish_reason: FinishReason | None = None
    error: str | None = None
    problem: str | None = None
    is_taken: bool = False
    is_cached: bool = False
    rerouted: str | None = None
    notebook: str | None = None
    environment: str = ""

    @property
    def fingerprint(self) -> str | None:
        """Of the request, without a model's digest; equal for equal requests. Embeddings have none."""
        return None if self.kind == "embedding" else self.request.fingerprint()


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a remembered conversation.

    Args:
        role: Who spoke.
        text: What was said.
        images: Kind and SHA-256 of each picture; pictures themselves are not kept.
        tool_calls: What the assistant asked for.
        tool_call_id: The call that a ``tool`` turn answers.
    """

    role: Role
    text: str
    images: tuple[str, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A call as it is remembered; see ``CallRecord``.

    Args:
        id: Its number in the history.
        name: What the user wrote for a model, where that was an alias or nothing.
        asked: The model that was meant.
        model: The one that answered, or was asked last.
        question: The text of the last turn; ``None`` where no texts are kept.
        text: The answer; ``None`` likewise, or where there was none.
        messages: The whole conversation that was sent. Only ``History.call`` gives it.
    """

    id: int
    at: float
    kind: CallKind
    name: str
    asked: str
    model: str
    question: str | None
    text: str | None
    reasoning: str | None
    tool_calls: tuple[ToolCall, ...]
    usage: Usage
    cost: float | None
    timings: Timings
    finish_reason: FinishReason | None
    error: str | None
    problem: str | None
    is_taken: bool
    is_cached: bool
    rerouted: str | None
    notebook: str | None
    environment: str
    fingerprint: str | None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    messages: tuple[Turn, ...] = ()


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What some calls came to. Kept answers are counted, and nothing else of them: they used nothing.

    Args:
        key: What the calls have in common: a model, a day, ...; empty where that is not known.
        day: The day they were made on, as ``2026-01-31``; empty where days are not told apart.
        requests: Calls that asked a model.
        cached: Calls that were answered by what was kept.
        refused: Calls that no model took: a limit, a budget, a breaker or a connection stood in their way,
            or their caller left before.
        failed: Of the requests, those that ended in an error.
        cancelled: Of the requests, those whose caller left.
        input_tokens: Of prompts; of the requests that were counted.
        output_tokens: Of answers, likewise.
        uncounted: Requests whose tokens nobody told; not those that failed before their answer began.
        cost: US dollars; of the requests whose price is known.
        unpriced: Requests whose price is not known, likewise.
        first_token_mean_s: From sending to the first text, of the requests that came so far.
        first_token_median_s: Likewise.
        tokens_per_s_mean: Output tokens a second, likewise.
        tokens_per_s_median: Likewise.
    """

    key: str
    day: str = ""
    requests: int = 0
    cached: int = 0
    refused: int = 0
    failed: int = 0
    cancelled: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    uncounted: int = 0
    cost: float = 0.0
    unpriced: int = 0
    first_token_mean_s: float | None = None
    first_token_median_s: float | None = None
    tokens_per_s_mean: float | None = None
    tokens_per_s_median: float | None = None
