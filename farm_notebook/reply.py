"""The ``Reply``: what a caller keeps of an answer, and how it is gathered from stream events."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from farm_notebook.errors import IncompleteStreamError, InvalidAnswerError
from farm_notebook.types import (
    ChatMessage,
    ChatRequest,
    Event,
    Finished,
    FinishReason,
    ModelRef,
    ReasoningDelta,
    Rerouted,
    Routed,
    Started,
    TextDelta,
    Timings,
    TokenLogprob,
    ToolCall,
    ToolResult,
    Usage,
)

__all__ = ["Reply", "ReplyBuilder", "Step"]

T = TypeVar("T")

LONGEST_TOLD = 1_000  # characters of a call's arguments or result in the provenance

_OPEN = "auto"  # in a reference, what is still to be chosen


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Reply:
    """One answer, whole or partial.

    Args:
        text: The answer.
        ref: The model that answered.
        finish_reason: ``interrupted`` and ``error`` mark a partial answer.
        reasoning: The model's thinking, where it shows it.
        tool_calls: What the model asks to be called.
        usage: Tokens, as the provider counted them.
        timings: Wall-clock seconds.
        cached: Whether no model had to be asked.
        cost: US dollars; 0 for what was kept or runs on this machine, ``None`` where no price is known.
        routed: Why this model was asked, where the request named none or one of several.
        rerouted: Who was asked before and could not answer, with the reason.
        fingerprint: SHA-256 of the request and the model's digest.
        digest: The model's file digest or revision, where known.
        parameters: The sampling parameters that were set.
        steps: What came before the answer, where it took several requests; usage, cost and seconds are then
            those of all of them.
        logprobs: How likely the model took each token that it wrote to be, where that was asked for and the
            answer is whole. Tokens that are no part of the text, as those of thoughts, may be told too.
    """

    text: str
    ref: ModelRef
    finish_reason: FinishReason
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage = field(default_factory=Usage)
    timings: Timings = field(default_factory=Timings)
    cached: bool = False
    cost: float | None = None
    routed: str = ""
    rerouted: tuple[Rerouted, ...] = ()
    fingerprint: str = ""
    digest: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        return self.text

    @property
    def is_partial(self) -> bool:
        """Whether the answer was cut off before the model finished it."""
        return self.finish_reason in ("interrupted", "error")

    @property
    def parsed(self) -> Any:
        """The answer as JSON.

        Raises:
            InvalidAnswerError: It is none.
        """
        try:
            return json.loads(self.text)
        except ValueError as error:
            raise self._misfit("JSON", str(error)) from None

    def parsed_as(self, type_: type[T]) -> T:
        """The answer as a pydantic model, a dataclass, a ``TypedDict`` or any other annotated type.

        It may stand between words or in a code block.

        Raises:
            InvalidAnswerError: It does not fit.
            InvalidRequestError: ``type_`` is nothing that an answer could be.
        """
        from farm_notebook.schemas import as_shape

        shape = as_shape(type_)
        try:
            found: T = shape.parse(self.text)
        except ValueError as error:
            raise self._misfit(shape.name, str(error)) from None
        return found

    def _misfit(self, what: str, problem: str) -> InvalidAnswerError:
        cut = {
            "length": " It was cut at the token limit: ask again with a larger max_tokens.",
            "interrupted": " It was stopped before it ended.",
            "error": " It broke off before it ended.",
        }
        told = f"The answer of {self.ref} is no {what}: {problem}.{cut.get(self.finish_reason, '')}"
        return InvalidAnswerError(told, text=self.text)

    @property
    def message(self) -> ChatMessage:
        """The answer as a turn of a conversation, to be continued."""
        return ChatMessage("assistant", self.text, tool_calls=self.tool_calls)

    @property
    def footer(self) -> str:
        """One line of what is known: model, calls, tokens, cost, time to first token, speed, how it ended."""
        facts = [str(self.ref)] if _OPEN not in (self.ref.provider, self.ref.model) else []
        facts += [f"instead of {each.source} ({each.problem})" for each in self.rerouted]
        facts += [step.summary for step in self.steps]
        if self.tool_calls:
            facts.append(f"calls {', '.join(call.name for call in self.tool_calls)}")
        if self.usage.output_tokens is not None:
            facts.append(f"{self.usage.output_tokens:,} token{'s' * (self.usage.output_tokens != 1)}")
        if self.cost:
            facts.append(f"${self.cost:.{_decimals(self.cost)}f}")
        if self.cached:
            facts.append("cached")  # the timings are those of a look-up
        else:
            if self.timings.first_token_s is not None:
                facts.append(f"first token {self.timings.first_token_s:.2f} s")
            if self.timings.tokens_per_s is not None:
                facts.append(f"{self.timings.tokens_per_s:.0f} tokens/s")
        if self.finish_reason == "length":
            facts.append("cut at the token limit")
        elif self.finish_reason == "content_filter":
            facts.append("cut by the content filter")
        elif self.is_partial:
            facts.append("interrupted" if self.finish_reason == "interrupted" else "incomplete")
        return " · ".join(facts)

    def _farm_brief_(self) -> str:
        """One line for a terminal that shows the answer above already."""
        return f"<Reply of {self.ref}, {len(self.text):,} characters>"

    def provenance(self) -> dict[str, Any]:
        """Where the answer came from, as plain JSON values, for an output's metadata."""
        usage = {name: getattr(self.usage, name) for name in Usage.__slots__}
        timings = {name: getattr(self.timings, name) for name in Timings.__slots__}
        told = {
            "model": str(self.ref),
            "digest": self.digest,
            "parameters": dict(self.parameters),
            "seed": self.parameters.get("seed"),
            "usage": usage,
            "timings": {
                name: round(value, 4) if value is not None else None for name, value in timings.items()
            },
            "finish_reason": self.finish_reason,
            "cached": self.cached,
            "cost": self.cost,
            "routed": self.routed,
            "rerouted": [{"model": str(each.source), "problem": each.problem} for each in self.rerouted],
            "fingerprint": self.fingerprint,
        }
        return told | ({"steps": [step.provenance() for step in self.steps]} if self.steps else {})

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Sanitised Markdown and plain text, with the provenance under ``farm`` in the metadata."""
        from farm_notebook.sanitize import (
            as_inline_text,
            closed,
            printable,
            safe_markdown,
        )  # only for a display

        answer = closed(safe_markdown(self.text))
        data = {
            "text/markdown": f"{answer}\n\n<small>{as_inline_text(self.footer)}</small>",
            "text/plain": printable(f"{self.text}\n\n{self.footer}"),
        }
        return data, {"farm": self.provenance()}


@dataclass(frozen=True, slots=True)
class Step:
    """One of several requests that led to an answer, and what was done about its reply.

    Args:
        reply: What the model said.
        results: Of the calls that it asked for.
        problem: Why its answer was not accepted; empty where it asked for calls.
    """

    reply: Reply
    results: tuple[ToolResult, ...] = ()
    problem: str = ""

    @property
    def summary(self) -> str:
        """A few words for the user."""
        if self.problem:
            return "corrected"
        return f"called {', '.join(result.call.name for result in self.results)}"

    def provenance(self) -> dict[str, Any]:
        """The same as plain JSON values, long texts cut."""
        calls = [
            {
                "name": result.call.name,
                "arguments": _cut(result.call.arguments),
                "result": _cut(result.text),
                "is_error": result.is_error,
                "took_s": round(result.took_s, 4),
            }
            for result in self.results
        ]
        return {"calls": calls, "problem": _cut(self.problem)}


class ReplyBuilder:
    """Gathers the events of one stream; usable at any moment, also after the stream broke.

    Args:
        request: What was asked.
    """

    def __init__(self, request: ChatRequest) -> None:
        self.request = request
        self.digest: str | None = None
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._tool_calls: list[ToolCall] = []
        self._routed = ""
        self._chosen: ModelRef | None = None
        self._rerouted: list[Rerouted] = []
        self._started: Started | None = None
        self._finished: Finished | None = None

    def add(self, event: Event) -> None:
        """Take the stream's next event."""
        if type(event) is TextDelta:  # nearly all are, and a match takes several times as long
            self._text.append(event.text)
            return
        match event:
            case ReasoningDelta(text):
                self._reasoning.append(text)
            case ToolCall():
                self._tool_calls.append(event)
            case Routed(ref, reason):
                self._routed, self._chosen = reason, ref
            case Rerouted(_, target):
                self._rerouted.append(event)
                self._chosen = target
            case Started():
                self._started = event
            case Finished():
                self._finished = event
            case _:
                pass

    @property
    def text(self) -> str:
        """The answer so far."""
        return "".join(self._text)

    @property
    def ref(self) -> ModelRef:
        """The model that answers, as far as is known: before it started, the one that is asked."""
        return self._started.ref if self._started else self._chosen or self.request.ref

    @property
    def is_empty(self) -> bool:
        """Whether nothing of an answer has arrived yet."""
        return not (self._text or self._reasoning or self._tool_calls)

    def build(self) -> Reply:
        """The whole answer.

        Raises:
            IncompleteStreamError: The stream ended without its finish mark.
        """
        if self._finished is None:
            raise IncompleteStreamError(
                f"The answer of {self.request.ref} ended without its finish mark; "
                f"{len(self.text)} characters had arrived.",
                provider=self.request.ref.provider,
                partial_text=self.text,
            )
        return self._reply(self._finished)

    def partial(self, reason: FinishReason) -> Reply:
        """What has arrived, marked as cut off for ``reason``."""
        return self._reply(Finished(reason))

    def _reply(self, finished: Finished) -> Reply:
        ref = self.ref
        asked = self.request if ref == self.request.ref else replace(self.request, ref=ref)
        return Reply(
            text=self.text,
            reasoning="".join(self._reasoning),
            tool_calls=tuple(self._tool_calls),
            ref=ref,
            finish_reason=finished.reason,
            usage=finished.usage,
            timings=finished.timings,
            cached=self._started is not None and self._started.cached,
            cost=finished.cost,
            routed=self._routed,
            rerouted=tuple(each for each in self._rerouted if each.source != ref),  # it may be asked last
            fingerprint=asked.fingerprint(self.digest),
            digest=self.digest,
            parameters=self.request.parameters() | self._sample(),
            logprobs=finished.logprobs,
        )

    def _sample(self) -> dict[str, int]:
        """Which of several answers this is; no parameter that was sent, but needed to have it again."""
        return {} if self.request.sample is None else {"sample": self.request.sample}


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_TOLD else f"{text[:LONGEST_TOLD]}…"


def _decimals(cost: float) -> int:
    """How many it takes to show two figures of a small sum, and at least cents."""
    return max(2, 1 - math.floor(math.log10(cost)))
