"""What a recorded call says of itself, and how it is given again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from itertools import groupby
from typing import Any, TypeAlias, cast

from farm_notebook.cassettes.events import Timed, read_events
from farm_notebook.cassettes.failures import read_failure
from farm_notebook.cassettes.lines import Line
from farm_notebook.cassettes.values import build
from farm_notebook.cassettes.vectors import read_embeddings
from farm_notebook.errors import CassetteError, FarmError, InterruptedReply
from farm_notebook.types import Embeddings, Event, ModelRef, TextDelta

__all__ = ["Sleep", "answerer", "play", "recorded_value"]

Sleep: TypeAlias = Callable[[float], Awaitable[None]]

EVENTS_AT_ONCE = 1000  # before others on the loop get their turn


async def play(
    line: Line, *, in_pieces: bool = True, sleep: Sleep | None = None
) -> AsyncGenerator[Event, None]:
    """The events of a recorded stream, and what it ended with.

    Args:
        line: The call.
        in_pieces: Give a text in the pieces it came in.
        sleep: Waits, so that they come when they came; without it they come at once.

    Raises:
        FarmError: As it was recorded; ``InterruptedReply`` where its caller had left.
        CassetteError: What is recorded cannot be read.
    """
    try:
        timed = read_events(line.events or [])
    except ValueError as error:
        raise _unreadable(line, error) from None
    now_ms = 0
    for count, (at_ms, event) in enumerate(timed if in_pieces else _whole(timed), 1):
        if sleep is not None and at_ms > now_ms:
            await sleep((at_ms - now_ms) / 1000)
            now_ms = at_ms
        elif count % EVENTS_AT_ONCE == 0:
            await asyncio.sleep(0)
        yield event
    if sleep is not None:
        await sleep(max(0, line.took_ms - now_ms) / 1000)
    _raise(line)


def recorded_value(line: Line, kind: Any) -> Any:
    """The outcome of a recorded call that is no stream.

    Args:
        line: The call.
        kind: Its type, as an annotation writes it.

    Raises:
        FarmError: As it was recorded.
        CassetteError: What is recorded cannot be read.
    """
    _raise(line)
    try:
        return read_embeddings(line.value) if kind is Embeddings else build(kind, line.value)
    except ValueError as error:
        raise _unreadable(line, error) from None


def answerer(line: Line) -> ModelRef | None:
    """The model that answered, where one did."""
    names = [entry[2]["ref"] for entry in line.events or () if entry[0] == "started"]
    return build(ModelRef, names[-1]) if names else None


def _raise(line: Line) -> None:
    """What a recorded call ended with, where that is no answer."""
    if line.error is not None:
        try:
            error: FarmError = read_failure(line.error)
        except ValueError as problem:
            error = _unreadable(line, problem)
        raise error
    if line.is_interrupted:
        raise InterruptedReply("You stopped the answer; what had arrived is kept.")  # as it was told then


def _unreadable(line: Line, error: ValueError) -> CassetteError:
    return CassetteError(f"The recorded call {line.id}, take {line.take}, cannot be read: {error}.")


def _whole(timed: Iterable[Timed]) -> Iterable[Timed]:
    """The same with the pieces of a text put together."""
    for is_text, alike in groupby(timed, lambda each: type(each.event) is TextDelta):
        stretch = list(alike)
        if is_text:
            text = "".join(cast(TextDelta, each.event).text for each in stretch)
            yield Timed(stretch[-1].at_ms, TextDelta(text))
        else:
            yield from stretch
