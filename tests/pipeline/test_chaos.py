"""Ten thousand requests through all policies to three unreliable providers, while the store restarts.

Every one ends in a right answer or in a typed error, and nothing hangs or is left behind. A failure names its
seed; ``FARM_CHAOS_SEED`` runs it with the same one again.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import re
import threading
import time
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

import psutil
import pytest
from chaos_world import (
    A_MINUTE,
    AT_ONCE,
    AT_ONCE_EACH,
    BREAKER,
    NOTEBOOK,
    NOTEBOOK_TOKENS,
    RATED,
    REFS,
    REQUESTS,
    Plan,
    World,
    plans,
    said_by,
)

from farm_notebook.errors import (
    BreakerOpenError,
    BudgetExceededError,
    ContentRefusedError,
    FarmError,
    InvalidRequestError,
    LimitReachedError,
    NoTargetAnsweredError,
)
from farm_notebook.reply import ReplyBuilder
from farm_notebook.types import (
    ChatMessage,
    ChatRequest,
    Event,
    Finished,
    LoadProgress,
    PromptProgress,
    Queued,
    ReasoningDelta,
    Rerouted,
    Retrying,
    Routed,
    Started,
    TextDelta,
)

HANG_S = 60.0  # far more than all waits of a request together
LETTERS: dict[type[Event], str] = {
    Routed: "O",
    Queued: "Q",
    Rerouted: "R",
    LoadProgress: "L",
    Started: "S",
    Retrying: "Y",
    PromptProgress: "P",
    ReasoningDelta: "D",
    TextDelta: "D",
    Finished: "F",
}
LEGAL = re.compile("[OQRLY]*(S[QRLYPS]*(D*F?)?)?")


async def ask(world: World, plan: Plan) -> None:
    """Make a request as planned, and see that what comes of it may come."""
    seen: list[Event] = []
    NOTEBOOK.set(plan.notebook)
    asking = asyncio.create_task(consume(world, plan, seen))
    if plan.leaving == "cancel":
        await asyncio.wait([asking], timeout=plan.after / 1000)
        asking.cancel()
    done, _ = await asyncio.wait([asking], timeout=HANG_S)
    assert done, f"it hangs: {plan}"
    error = asyncio.CancelledError() if asking.cancelled() else asking.exception()
    judge(world, plan, seen, error)


async def consume(world: World, plan: Plan, seen: list[Event]) -> None:
    """Take the events of an answer as its caller would, as long as the caller stays."""
    builder = ReplyBuilder(plan.request)
    async with aclosing(world.handlers[plan.is_whole](plan.request)) as events:
        async for event in events:
            seen.append(event)
            builder.add(event)
            if plan.leaving == "leave" and len(seen) >= plan.after:
                return
    reply = builder.build()
    assert reply.text == "".join(said_by(reply.ref, plan.request.messages[0].content))


def judge(world: World, plan: Plan, seen: Sequence[Event], error: BaseException | None) -> None:
    """What must hold of one request, however it ended."""
    request = plan.request
    targets = (request.ref, *request.route.alternates)
    letters = "".join(LETTERS[type(event)] for event in seen)
    assert LEGAL.fullmatch(letters), letters
    started = [event for event in seen if isinstance(event, Started)]
    text = "".join(event.text for event in seen if isinstance(event, TextDelta))
    if started:
        assert started[-1].ref in targets
        assert seen[0] not in {Started(ref, cached=True) for ref in targets[1:]}, "another's kept answer"
        assert "".join(said_by(started[-1].ref, request.messages[0].content)).startswith(text)
    if isinstance(error, asyncio.CancelledError):
        assert plan.leaving == "cancel"
        outcome = "cancelled"
    elif isinstance(error, FarmError):
        assert not isinstance(seen[-1] if seen else None, Finished)
        if isinstance(error, NoTargetAnsweredError):
            assert not text
            assert len(targets) > 1
            assert len(str(error).splitlines()) == len(targets) + 1
        outcome = "broken" if text else type(error).__name__
    elif error is not None:
        raise error
    elif not isinstance(seen[-1], Finished):
        assert plan.leaving == "leave"
        outcome = "left"
    elif started[-1].cached:
        outcome = "shared"
    else:
        outcome = "right" if started[-1].ref == request.ref else "stood in"
    world.outcomes[outcome] += 1


async def run(world: World) -> None:
    """All requests, some at a time, while the store restarts; no task is left."""
    waiting = plans(world.chance)

    async def work() -> None:
        for plan in waiting:
            await ask(world, plan)

    restarting = asyncio.create_task(world.restart_store())
    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(work())
    assert not world.under_way.total(), "providers work for nobody"
    restarting.cancel()
    await asyncio.wait([restarting])
    await calm(world)
    await world.store.aclose()
    await world.ledger.aclose()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def calm(world: World) -> None:
    """Once nothing fails any more, every provider soon answers again."""
    world.is_calm = True
    await asyncio.sleep(2 * BREAKER.longest_open_s)
    for ref in REFS:
        if ref.provider == RATED:
            continue
        request = ChatRequest(ref, (ChatMessage("user", "7"),), max_tokens=10)
        async with aclosing(world.handlers[False](request)) as events:
            assert [type(event) for event in [event async for event in events]] == [
                Started,
                *[TextDelta] * len(said_by(ref, "7")),
                Finished,
            ]
        assert world.breakers.state(ref.provider) == "closed"


def held() -> tuple[set[threading.Thread], int]:
    """The threads and open files of this process."""
    gc.collect()
    return set(threading.enumerate()), psutil.Process().num_fds()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_every_request_ends_in_a_right_answer_or_a_typed_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seed = int(os.environ.get("FARM_CHAOS_SEED", random.SystemRandom().randrange(10**9)))
    threads, files = held()
    world = World(tmp_path / "answers.sqlite", random.Random(seed))
    try:
        asyncio.run(run(world))
        judge_all(world)
        del world
        gc.collect()
        assert not caplog.records, "neither the store nor asyncio complains"
        give_up_at = time.monotonic() + 5
        while held()[1] > files or held()[0] - threads:
            assert time.monotonic() < give_up_at, f"left behind: {held()[0] - threads or 'open files'}"
            time.sleep(0.05)
    except BaseException as error:
        error.add_note(f"To run it again: FARM_CHAOS_SEED={seed}")
        raise


def judge_all(world: World) -> None:
    """What must hold of all requests together, and that all that was to be seen was seen."""
    outcomes = world.outcomes
    assert outcomes.total() == REQUESTS
    assert outcomes["right"] > REQUESTS / 10
    for outcome in ("stood in", "shared", "broken", "cancelled", "left"):
        assert outcomes[outcome] > REQUESTS / 200, outcomes
    for error in (
        LimitReachedError,
        BudgetExceededError,
        NoTargetAnsweredError,
        BreakerOpenError,
        InvalidRequestError,
        ContentRefusedError,
    ):
        assert outcomes[error.__name__], outcomes
    assert world.restarts > 10
    assert world.store.hits > REQUESTS / 20
    assert world.repeated <= world.store.lost, "a question that was answered was asked again"
    assert world.flights.joins > world.flown + REQUESTS / 40, "some joined others under way"
    assert all(most <= AT_ONCE_EACH for most in world.most_at_once.values()), world.most_at_once
    assert all(tokens <= NOTEBOOK_TOKENS for tokens in world.spent.values()), world.spent
    pairs = zip(world.began, world.began[A_MINUTE:], strict=False)
    assert all(later - earlier > 55 for earlier, later in pairs), "too many within a minute"
