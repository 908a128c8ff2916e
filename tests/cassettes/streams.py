"""Random streams, as strategies; and a tape on a file, without a farm around it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from random_events import COUNTS, SECONDS, random_events

from farm_notebook import errors
from farm_notebook.cassettes import Tape, rewind
from farm_notebook.cassettes.scrub import Scrub
from farm_notebook.config import CassetteConfig
from farm_notebook.errors import FarmError
from farm_notebook.pipeline import Handler
from farm_notebook.types import ChatMessage, ChatRequest, Event, ModelRef, TextDelta

REF = ModelRef("near", "m:1")
text = st.text(st.characters(codec="utf-8"), max_size=12)
refs = st.builds(ModelRef, st.sampled_from(["near", "far"]), st.text("ab:/.-1", min_size=1, max_size=6))
kinds = random_events(text=text, refs=refs)
events: st.SearchStrategy[Event] = st.one_of(
    kinds[TextDelta], *kinds.values()
)  # most of what is said is text
streams = st.lists(events, max_size=25)


def failures() -> st.SearchStrategy[FarmError]:
    """An error of any type that there is, with any fields."""
    kinds = [getattr(errors, name) for name in errors.__all__]
    return st.one_of([_failures(kind) for kind in kinds if isinstance(kind, type)])


def _failures(kind: type[FarmError]) -> st.SearchStrategy[FarmError]:
    common: dict[str, Any] = {"provider": text, "partial_text": text}
    if kind is errors.NoTargetAnsweredError:
        causes = st.lists(
            st.builds(errors.LoadError, text) | st.builds(errors.QuotaExceededError, text), min_size=1
        )
        return st.builds(kind, text, causes, provider=text)
    if kind is errors.BudgetExceededError:
        return st.builds(kind, text, budget=text)
    if kind is errors.InvalidAnswerError:
        return st.builds(kind, text, text=text)
    if kind is errors.ProviderTimeoutError:
        return st.builds(kind, text, timer=st.sampled_from(["connect", "idle"]), **common)
    if issubclass(kind, errors.ContextLengthError):
        return st.builds(kind, text, tokens=st.none() | COUNTS, limit=st.none() | COUNTS, **common)
    if issubclass(kind, errors.ProviderError):
        return st.builds(kind, text, status=st.none() | COUNTS, retry_after_s=st.none() | SECONDS, **common)
    return st.builds(kind, text)


def same_failure(one: BaseException | None, other: BaseException | None) -> bool:
    """Whether two errors are alike in all that a caller can see."""
    if one is None or other is None:
        return one is other
    inner = [getattr(each, "exceptions", ()) for each in (one, other)]
    return (
        type(one) is type(other)
        and str(one) == str(other)
        and vars(one) == vars(other)
        and len(inner[0]) == len(inner[1])
        and all(map(same_failure, *inner))
    )


def request(prompt: str = "Hi", **fields: Any) -> ChatRequest:
    return ChatRequest(REF, (ChatMessage("user", prompt),), **fields)


class Models:
    """What is known of models: nothing, but for the digests that are given."""

    def __init__(self, **digests: str) -> None:
        self.digests = digests

    async def digest(self, ref: ModelRef) -> str | None:
        return self.digests.get(ref.provider)

    def runs_here(self, ref: ModelRef) -> bool:
        return ref.provider == "near"


def tape(
    path: Path, mode: Any, models: Models | None = None, *, scrub: Scrub | None = None, **settings: Any
) -> Tape:
    """A tape on a file, from its beginning."""
    rewind(path)
    return Tape(
        CassetteConfig(mode=mode, file=path, **settings),
        models or Models(),
        scrub=scrub or Scrub(),
        clock=Clock(),
    )


class Clock:
    """Goes on by 7 ms whenever someone looks."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.007
        return self.now


def saying(given: Sequence[Event], error: FarmError | None = None) -> Handler:
    """A handler that gives these events, and then fails if it is to."""

    async def handler(request: ChatRequest) -> AsyncGenerator[Event, None]:
        for event in given:
            yield event
            await asyncio.sleep(0)
        if error is not None:
            raise error

    return handler


async def nobody(request: ChatRequest) -> AsyncGenerator[Event, None]:
    """A handler that must not be asked."""
    for event in list[Event]():
        yield event
    raise AssertionError("somebody was asked")


async def heard(
    handler: Handler, asked: ChatRequest, leave_after: int | None = None
) -> tuple[list[Event], FarmError | None]:
    """What a caller gets: the events, and the error at the end if there is one.

    Args:
        handler: Answers.
        asked: The request.
        leave_after: The number of events after which the caller leaves.
    """
    got: list[Event] = []
    try:
        async with aclosing(handler(asked)) as stream:
            if leave_after == 0:
                return got, None
            async for event in stream:
                got.append(event)
                if len(got) == leave_after:
                    break
    except FarmError as error:
        return got, error
    return got, None


async def cancelled(handler: Handler, asked: ChatRequest, after: int) -> list[Event]:
    """What a task got that is cancelled while it waits for what follows its first so many events."""
    got: list[Event] = []

    async def listen() -> None:
        async with aclosing(handler(asked)) as stream:
            async for event in stream:
                got.append(event)
                if len(got) == after:
                    task.cancel()

    task = asyncio.create_task(listen())
    await asyncio.wait([task])
    return got
