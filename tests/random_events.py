"""Random events of every kind that there is, as strategies of hypothesis."""

from __future__ import annotations

from typing import get_args

from hypothesis import strategies as st

from farm_notebook.types import (
    Event,
    Finished,
    FinishReason,
    LoadProgress,
    LoadStage,
    ModelRef,
    PromptProgress,
    Queued,
    ReasoningDelta,
    Rerouted,
    Retrying,
    Routed,
    Started,
    TextDelta,
    Timings,
    TokenLogprob,
    ToolCall,
    Usage,
)

__all__ = ["COUNTS", "SECONDS", "Strategies", "random_events"]

Strategies = dict[type[Event], st.SearchStrategy[Event]]

COUNTS = st.integers(0, 2**53)
SECONDS = st.floats(0, 1e6)


def random_events(*, text: st.SearchStrategy[str], refs: st.SearchStrategy[ModelRef]) -> Strategies:
    """A strategy for each kind of event.

    Args:
        text: Of what is said, and of what is told of it.
        refs: Of the models that are named.
    """
    some, logprobs, seconds = st.none() | COUNTS, st.floats(-9999, 0), st.none() | SECONDS
    likeliest = st.lists(st.tuples(text, logprobs), max_size=3).map(tuple)
    tokens = st.lists(st.builds(TokenLogprob, text, logprobs, likeliest), max_size=3).map(tuple)
    return {
        LoadProgress: st.builds(
            LoadProgress, st.sampled_from(get_args(LoadStage)), COUNTS, some, st.none() | text, some
        ),
        Started: st.builds(Started, refs, st.booleans()),
        Routed: st.builds(Routed, refs, text),
        Queued: st.builds(Queued, refs, text, SECONDS),
        Rerouted: st.builds(Rerouted, refs, refs, text),
        Retrying: st.builds(Retrying, refs, text, SECONDS),
        PromptProgress: st.builds(PromptProgress, COUNTS, COUNTS),
        TextDelta: st.builds(TextDelta, text),
        ReasoningDelta: st.builds(ReasoningDelta, text),
        ToolCall: st.builds(ToolCall, text, text, text),
        Finished: st.builds(
            Finished,
            st.sampled_from(get_args(FinishReason)),
            st.builds(Usage, some, some, some, some),
            st.builds(Timings, SECONDS, seconds, SECONDS, seconds, SECONDS),
            seconds,
            tokens,
        ),
    }
