"""A farm that gives the answers that a test says, whichever model is asked; no provider is made.

What is scripted is what a caller sees, above all policies: an error comes as it was said, and nothing is
tried again. Policies are tried with the scripts of the provider ``scripted``, such as ``scripted:error-429``.
"""

from __future__ import annotations

import inspect
import json
import re
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, cast

from farm_notebook.cassettes import Ask, Tape, scrub_for
from farm_notebook.cassettes.asks import ask_of_request, summary
from farm_notebook.errors import InvalidRequestError, NotRecordedError
from farm_notebook.farm import AsyncFarm, Farm
from farm_notebook.pipeline import Handler
from farm_notebook.providers.scripted import ScriptedProvider
from farm_notebook.providers.scripted.script import usage
from farm_notebook.types import (
    ChatRequest,
    Embeddings,
    Event,
    Finished,
    ModelRef,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCall,
)

__all__ = ["Answer", "Answerer", "ScriptedFarm"]

Piece: TypeAlias = str | TextDelta | ReasoningDelta | ToolCall
Answer: TypeAlias = Piece | Mapping[str, Any] | Exception | Sequence[Piece]
"""A text; a mapping, which becomes JSON; a call of a tool; an error that is raised; or several of an answer's
texts, thoughts and calls."""

Answerer: TypeAlias = Callable[[ChatRequest], Answer | Awaitable[Answer]]
"""Answers a request; may be ``async``."""

MODEL = "scripted:test"
_SETTINGS: Mapping[str, Any] = {"model": MODEL, "cassette": {"mode": "replay", "file": "script"}}
_NOTHING: Mapping[str, Any] = {  # what is told by who has no model
    "context_tokens": None,
    "health": [],
    "list_models": [],
    "loaded": [],
    "unload": False,
    "unload_all": (),
}
_OF_THE_USER = ("function", "tool")  # their work is done as ever


class ScriptedFarm(Farm):
    """A farm whose models answer as they are told.

    Args:
        settings: As for ``Farm``.
    """

    def __init__(self, **settings: Any) -> None:
        settings = {**_SETTINGS, **settings}
        super().__init__(**settings)
        self._script = _Script()
        self.core = _ScriptedCore(self._script, settings)

    def answers(self, *answers: Answer) -> None:
        """Say what is answered next, a request each; more can be said at any time.

        Args:
            answers: In their order.
        """
        self._script.answers.extend(answers)

    def answer_with(self, answer: Answerer) -> None:
        """Have a function answer, also an ``async`` one, whenever no answer is left that was said before.

        Args:
            answer: Gets the request; what it raises is raised to who asked.
        """
        self._script.otherwise = answer

    @property
    def asked(self) -> tuple[ChatRequest, ...]:
        """The requests so far, in the order in which they came."""
        return tuple(self._script.asked)

    @property
    def prompts(self) -> tuple[str, ...]:
        """What the last message of each of them says."""
        return tuple(request.messages[-1].content for request in self._script.asked)

    @property
    def answers_left(self) -> int:
        """How many of the answers that were said nobody has asked for."""
        return len(self._script.answers)


class _Script:
    """What is to be answered, and what was asked; shared by a farm and those that take its place."""

    def __init__(self) -> None:
        self.answers: deque[Answer] = deque()
        self.otherwise: Answerer | None = None
        self.asked: list[ChatRequest] = []

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """The next answer."""
        self.asked.append(request)
        answer = await self._next(request)
        if isinstance(answer, Exception):
            raise answer
        events = list(_events(answer))
        yield Started(request.ref)
        for event in events:
            yield event
        calls = any(isinstance(event, ToolCall) for event in events)
        yield Finished("tool_calls" if calls else "stop", usage(request, events))

    async def _next(self, request: ChatRequest) -> Answer:
        if self.answers:
            return self.answers.popleft()
        if self.otherwise is None:
            raise NotRecordedError(
                f"No answer is left for request {len(self.asked):,}, {summary(ask_of_request(request))}. "
                "Say more by scripted_farm.answers(...), or have a function answer by "
                "scripted_farm.answer_with(...)."
            )
        answer = self.otherwise(request)
        return await answer if inspect.isawaitable(answer) else answer


class _ScriptedCore(AsyncFarm):
    """The farm behind it, which stays scripted when it reads its settings anew."""

    def __init__(self, script: _Script, settings: Mapping[str, Any]) -> None:
        super().__init__(**settings)
        self._script = script
        self.tape = _ScriptedTape(script, self)
        self._handler = self._whole_handler = script.stream

    def reloaded(self, overrides: Mapping[str, Any]) -> AsyncFarm:
        again = super().reloaded(overrides)
        return _ScriptedCore(self._script, again.settings or {})


class _ScriptedTape(Tape):
    """Stands where a cassette would, with the test's answers in it."""

    def __init__(self, script: _Script, farm: AsyncFarm) -> None:
        super().__init__(farm.config.cassette, _Nobody(), scrub=scrub_for(farm.config))
        self._script = script
        self._embedder = ScriptedProvider(farm.config)

    def handler(self, inner: Handler, *, in_pieces: bool = True) -> Handler:
        return self._script.stream

    async def stream(self, asked: Ask, make: Any, **options: Any) -> AsyncGenerator[Any, None]:
        """Loading and the like, which are done at once."""
        nothing: tuple[Event, ...] = ()
        for event in nothing:
            yield event

    async def value(self, asked: Ask, make: Callable[[], Any], kind: Any) -> Any:
        call = asked["call"]
        if call in _OF_THE_USER:
            return await make()
        if call == "embed":
            return await self._embedded(asked)
        if call not in _NOTHING:
            raise NotRecordedError(f"A scripted farm has no answer to {summary(asked)}.")
        return _NOTHING[call]

    async def digest(self, ref: ModelRef) -> str | None:
        return None

    async def _embedded(self, asked: Ask) -> Embeddings:
        """Vectors that depend on the texts alone; equal texts have equal ones."""
        found = await self._embedder.embed(asked["texts"], "echo")
        provider, _, model = asked["model"].partition(":")
        return Embeddings(found.vectors, ModelRef(provider, model), found.usage)


class _Nobody:
    """The models that answer: none."""

    async def digest(self, ref: ModelRef) -> str | None:
        return None

    def runs_here(self, ref: ModelRef) -> bool:
        return False


def _events(answer: Answer) -> Iterator[Event]:
    """The deltas of an answer, a word with the space before it each.

    Raises:
        InvalidRequestError: It is none.
    """
    if isinstance(answer, Mapping):
        answer = json.dumps(answer)
    if isinstance(answer, str):
        yield from map(TextDelta, re.findall(r"\s*\S+|\s+", answer))
    elif isinstance(answer, TextDelta | ReasoningDelta | ToolCall):
        yield answer
    elif isinstance(answer, list | tuple):
        for part in answer:
            yield from _events(cast(Answer, part))
    else:
        raise InvalidRequestError(
            f"{answer!r:.100} is no answer. Valid: a text, a mapping, a ToolCall, an exception, or a list of "
            "texts, TextDelta, ReasoningDelta and ToolCall."
        )
