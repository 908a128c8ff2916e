"""What comes of a request: the events of a stream, and what is counted and measured of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from farm_notebook.types.messages import ToolCall
from farm_notebook.types.models import ModelRef

__all__ = [
    "Embeddings",
    "Event",
    "FinishReason",
    "Finished",
    "LoadProgress",
    "LoadStage",
    "PromptProgress",
    "Queued",
    "ReasoningDelta",
    "Rerouted",
    "Retrying",
    "Routed",
    "Started",
    "TextDelta",
    "Timings",
    "TokenLogprob",
    "Usage",
]

FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "interrupted", "error"]
LoadStage = Literal["fetch", "verify", "load"]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens counted by the provider; ``None`` where it did not say, never a guessed 0.

    ``cached_tokens`` are a part of ``input_tokens``, ``reasoning_tokens`` of ``output_tokens``.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Timings:
    """Wall-clock seconds of one request, measured where the caller waits.

    Args:
        load_s: Fetching and loading the model before the request was sent; 0 where it was there.
        first_token_s: From sending the request to its first text or reasoning.
        total_s: From the call to the last event, loading included.
        tokens_per_s: Output tokens after the first, over the time after the first.
        queue_s: Waiting for a limit of ours before the request was sent.
    """

    load_s: float = 0.0
    first_token_s: float | None = None
    total_s: float = 0.0
    tokens_per_s: float | None = None
    queue_s: float = 0.0


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token of an answer, and how likely the model took it to be in its place.

    Args:
        token: Its text; U+FFFD where it is no whole character.
        logprob: The natural logarithm of its probability, 0 at most.
        top_logprobs: The likeliest tokens in that place and theirs, the likeliest first. The one that was
            chosen need not be among them.
    """

    token: str
    logprob: float
    top_logprobs: tuple[tuple[str, float], ...] = ()


# Stream events. A stream is (Routed | Queued | Rerouted | Retrying | LoadProgress)*, Started,
# (Queued | Rerouted | Retrying | PromptProgress | LoadProgress | Started)*,
# (TextDelta | ReasoningDelta | ToolCall)*, Finished; one that ends without Finished did not succeed.
# Where there is more than one Started, the last one tells who answers.


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """How far a model is on its way into memory; ``total`` is ``None`` where unknown.

    Args:
        stage: What is done.
        completed_bytes: So far.
        total_bytes: In all.
        device: Where it goes to, told once, before the first byte: ``cuda:0``, ``cpu``.
        free_bytes: What is free there, told at the same time.
    """

    stage: LoadStage
    completed_bytes: int
    total_bytes: int | None = None
    device: str | None = None
    free_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """The provider took the request. Not yet a commitment: nothing was said."""

    ref: ModelRef
    cached: bool = False


@dataclass(frozen=True, slots=True)
class Routed:
    """A model was chosen where none was named, or one of several; once it was told, ``reason`` is empty."""

    ref: ModelRef
    reason: str


@dataclass(frozen=True, slots=True)
class Queued:
    """The request waits, for about ``wait_s`` seconds, until a limit of ours lets it pass."""

    ref: ModelRef
    limit: str
    wait_s: float


@dataclass(frozen=True, slots=True)
class Rerouted:
    """``source`` could not answer because of ``problem``, so ``target`` is asked; nothing was said so far."""

    source: ModelRef
    target: ModelRef
    problem: str


@dataclass(frozen=True, slots=True)
class Retrying:
    """The model could not answer yet and is asked again after ``wait_s`` seconds; nothing was said so far."""

    ref: ModelRef
    problem: str
    wait_s: float


@dataclass(frozen=True, slots=True)
class PromptProgress:
    """How many of the prompt's tokens the model has read."""

    processed_tokens: int
    total_tokens: int


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """The next piece of the model's thinking, kept apart from the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The provider's own finish mark, and what is known of the answer by then."""

    reason: FinishReason
    usage: Usage = Usage()
    timings: Timings = Timings()
    cost: float | None = None  # US dollars; 0 for what was kept or runs here, None where no price is known
    logprobs: tuple[TokenLogprob, ...] = ()  # of all that the model wrote, where they were asked for


Event: TypeAlias = (
    LoadProgress
    | Routed
    | Queued
    | Started
    | Rerouted
    | Retrying
    | PromptProgress
    | TextDelta
    | ReasoningDelta
    | ToolCall
    | Finished
)


@dataclass(frozen=True, slots=True, repr=False)
class Embeddings:
    """One vector a text, in the order asked. ``numpy.asarray`` makes a matrix of them, a row each.

    Args:
        vectors: ``len(texts)`` rows of the model's embedding width, each of unit L2 norm.
        ref: The model that made them.
        usage: Input tokens.
    """

    vectors: tuple[tuple[float, ...], ...]
    ref: ModelRef
    usage: Usage = Usage()

    def __len__(self) -> int:
        return len(self.vectors)

    def __repr__(self) -> str:
        """How many of which width: the numbers would fill pages."""
        width = len(self.vectors[0]) if self.vectors else 0
        return f"<Embeddings: {len(self):,} x {width:,}, by {self.ref}>"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """For numpy, which is only imported by whoever has it."""
        import numpy

        return numpy.array(self.vectors, dtype=dtype)
