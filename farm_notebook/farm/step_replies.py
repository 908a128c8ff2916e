"""The ``Reply`` of a prompt that took several requests."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from typing import TypeVar

from farm_notebook.farm.step_events import Rejected, StepEvent, StepStarted, ToolFinished, Validated
from farm_notebook.reply import Reply, ReplyBuilder, Step
from farm_notebook.types import ChatRequest, Finished, FinishReason, ModelRef, TextDelta, Usage

__all__ = ["StepsBuilder"]

N = TypeVar("N", int, float)


class StepsBuilder:
    """Gathers the events of ``steps``, as ``ReplyBuilder`` those of one stream.

    Args:
        request: What is asked first.
    """

    def __init__(self, request: ChatRequest) -> None:
        self.digest: str | None = None
        self.value: object = None
        self.is_valid = False
        self._steps: list[Step] = []
        self._now = ReplyBuilder(request)
        self._has_finished = False
        self._results: list[ToolFinished] = []
        self._problem = ""

    @property
    def request(self) -> ChatRequest:
        """The request that was sent last."""
        return self._now.request

    @property
    def text(self) -> str:
        """The answer so far, without what was said before tools were called."""
        return self._now.text

    @property
    def ref(self) -> ModelRef:
        """The model that answers, as far as is known."""
        return self._now.ref

    @property
    def is_empty(self) -> bool:
        """Whether nothing of an answer has arrived yet."""
        return self._now.is_empty and not self._steps

    def add(self, event: StepEvent) -> None:
        """Take the next event."""
        if type(event) is TextDelta:
            self._now.add(event)
            return
        match event:
            case StepStarted(request):
                self._begin(request)
            case ToolFinished():
                self._results.append(event)
            case Rejected(problem):
                self._problem = problem
            case Validated(value):
                self.value, self.is_valid = value, True
            case Finished():
                self._has_finished = True
                self._now.add(event)
            case _:
                self._now.add(event)  # type: ignore[arg-type]  # what else there is says nothing to it

    def build(self) -> Reply:
        """The whole answer.

        Raises:
            IncompleteStreamError: The last stream ended without its finish mark.
        """
        self._now.digest = self.digest
        return self._with_steps(self._now.build())

    def partial(self, reason: FinishReason) -> Reply:
        """What has arrived, marked as cut off for ``reason``."""
        self._now.digest = self.digest
        whole = self._now.build() if self._has_finished else self._now.partial(reason)
        return replace(self._with_steps(whole), finish_reason=reason)

    def _begin(self, request: ChatRequest) -> None:
        if self._has_finished:
            self._take_step()
        self._now, self._has_finished = ReplyBuilder(request), False

    def _take_step(self) -> None:
        results = tuple(each.result for each in self._results)
        self._steps.append(Step(self._now.build(), results, self._problem))
        self._results.clear()
        self._problem = ""

    def _with_steps(self, last: Reply) -> Reply:
        """The last reply, with the sums of all; what one of them did not tell is unknown."""
        if not self._steps:
            return last
        replies = [*(step.reply for step in self._steps), last]
        tools_s = sum(result.took_s for step in self._steps for result in step.results)
        timings = replace(
            last.timings,
            load_s=sum(reply.timings.load_s for reply in replies),
            queue_s=sum(reply.timings.queue_s for reply in replies),
            total_s=sum(reply.timings.total_s for reply in replies) + tools_s,
        )
        usage = Usage(
            **{
                each.name: _sum(getattr(reply.usage, each.name) for reply in replies)
                for each in fields(Usage)
            }
        )
        return replace(
            last,
            steps=tuple(self._steps),
            usage=usage,
            timings=timings,
            cost=_sum(reply.cost for reply in replies),
            cached=all(reply.cached for reply in replies),
            routed=next((reply.routed for reply in replies if reply.routed), ""),
        )


def _sum(values: Iterable[N | None]) -> N | None:
    known = list(values)
    return None if None in known else sum(value for value in known if value is not None)
