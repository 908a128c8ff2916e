"""The calls of a farm that may take several requests: tools are run in between, or a value is made to fit."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from typing import Any, Protocol

from typing_extensions import Unpack

from farm_notebook.cassettes import Tape, ask
from farm_notebook.config import FarmConfig
from farm_notebook.errors import FarmError, InvalidRequestError, ProviderError
from farm_notebook.farm import caller
from farm_notebook.farm.step_events import StepEvent
from farm_notebook.farm.step_replies import StepsBuilder
from farm_notebook.farm.steps import MAX_STEPS, steps
from farm_notebook.farm.toolbox import Confirm, Toolbox
from farm_notebook.reply import Reply
from farm_notebook.request import Options, Prompt
from farm_notebook.schemas import as_shape
from farm_notebook.stores.redaction import Redaction, secrets_of
from farm_notebook.tools import ToolSource
from farm_notebook.types import ChatRequest, Event, ModelRef, RequestKind, ToolCall

__all__ = ["StepCalls"]


class _Asking(Protocol):
    """What these calls need of a farm."""

    config: FarmConfig
    tape: Tape

    def request(
        self, prompt: Prompt, *, kind: RequestKind = "chat", **options: Unpack[Options]
    ) -> ChatRequest: ...

    def events(self, request: ChatRequest) -> AsyncGenerator[Event, None]: ...

    async def digest(self, ref: ModelRef) -> str | None: ...

    def toolbox(
        self, functions: Sequence[ToolSource], *, render: Callable[[object], str] = str
    ) -> Toolbox: ...


class StepCalls:
    """What ``AsyncFarm`` has of them."""

    def toolbox(
        self: _Asking, functions: Sequence[ToolSource], *, render: Callable[[object], str] = str
    ) -> Toolbox:
        """Functions that a model may have called, see ``Toolbox``; it is told no secret of the settings."""

        async def took(call: ToolCall, measured_s: float) -> float:
            return await self.tape.measured(ask("tool", name=call.name, arguments=call.arguments), measured_s)

        redact = Redaction(lambda: secrets_of(self.config))
        return Toolbox(functions, render=render, redact=redact, took=took)

    def steps(
        self: _Asking,
        prompt: Prompt,
        *,
        max_steps: int = MAX_STEPS,
        confirm: Confirm | None = None,
        **options: Unpack[Options],
    ) -> AsyncGenerator[StepEvent, None]:
        """All events of an answer for which the tools are called, and which is made to fit the schema.

        Args:
            prompt: As for ``chat``.
            max_steps: How many requests may be sent until the answer, at least 1.
            confirm: Asked before each call; where it says no, the model is told so.
            options: As for ``chat``; tools are functions.

        Raises:
            InvalidRequestError: A tool is described only, and nothing could be called.
        """
        return caller.iterate(_planned(self, prompt, options, max_steps, confirm)[1])

    async def run_tools(
        self: _Asking,
        prompt: Prompt,
        *,
        max_steps: int = MAX_STEPS,
        confirm: Confirm | None = None,
        **options: Unpack[Options],
    ) -> Reply:
        """The answer after the tools that the model asked for were called; see ``steps``.

        Functions are called in the thread that waits, and ``async`` ones on its loop.

        Returns:
            The last reply. Its ``steps`` hold the calls and what came of them; it has ``tool_calls`` only
            where ``max_steps`` was reached.
        """
        return (await caller.run(_answered(self, *_planned(self, prompt, options, max_steps, confirm))))[0]

    async def chat_structured(
        self: _Asking,
        prompt: Prompt,
        *,
        max_steps: int = MAX_STEPS,
        confirm: Confirm | None = None,
        **options: Unpack[Options],
    ) -> Any:
        """The answer as what the option ``schema`` asks for; one that does not fit is corrected once.

        Returns:
            An instance of the class, or whatever the type says; of a JSON schema plain values.

        Raises:
            InvalidAnswerError: It does not fit after that either.
        """
        if options.get("schema") is None:
            raise InvalidRequestError("What is the answer to be? Give a type, or a JSON schema, as schema=.")
        return (await caller.run(_answered(self, *_planned(self, prompt, options, max_steps, confirm))))[1]


def _planned(
    farm: _Asking, prompt: Prompt, options: Options, max_steps: int, confirm: Confirm | None
) -> tuple[ChatRequest, AsyncGenerator[StepEvent, None]]:
    """The first request, and the events of all that follow from it.

    Raises:
        InvalidRequestError: An option or the prompt is wrong, or a tool is no function.
        MissingExtraError: The schema is a JSON schema, and nothing is installed to check it by.
    """
    request = farm.request(prompt, **options)
    functions, schema = options.get("tools"), options.get("schema")
    listed = functions if isinstance(functions, list | tuple) else (functions,) if functions else ()
    events = steps(
        farm.events,
        request,
        toolbox=farm.toolbox(listed),
        shape=None if schema is None else as_shape(schema),
        max_steps=max_steps,
        confirm=confirm,
    )
    return request, events


async def _answered(
    farm: _Asking, request: ChatRequest, events: AsyncGenerator[StepEvent, None]
) -> tuple[Reply, object]:
    """The last reply, with what led to it, and the value that fits the schema, if one was asked for."""
    builder = StepsBuilder(request)
    try:
        async with aclosing(events):
            async for event in events:
                builder.add(event)
    except ProviderError as error:
        error.partial_text = error.partial_text or builder.text
        raise
    with suppress(FarmError):  # an answer is not lost because its model's digest cannot be told
        builder.digest = await farm.digest(builder.ref)
    return builder.build(), builder.value
