"""A provider's list is asked for once by all who want it, and remembered; a failure is too, but shortly."""

from __future__ import annotations

import asyncio
import time

import pytest

from farm_notebook.errors import ProviderConnectionError, ProviderTimeoutError
from farm_notebook.router.listing import FAILED_TTL_S, TTL_S, ModelLists
from farm_notebook.types import ModelInfo
from router.doubles import Clock, Lists, model

ONE = model("a:x")
LONG_S = 60.0  # a deadline that no test meets
DOWN = ProviderConnectionError("Nothing answers.", provider="a")


async def test_a_list_is_asked_for_again_when_it_is_old() -> None:
    lists, clock = Lists(ONE), Clock()
    models = ModelLists(lists, clock=clock)
    for _ in range(3):
        assert await models.get("a", deadline_s=LONG_S) == [ONE]
    assert lists.asked == ["a"]
    clock.now += TTL_S - 1
    await models.get("a", deadline_s=LONG_S)
    assert lists.asked == ["a"]
    await models.get("a", deadline_s=LONG_S, max_age_s=TTL_S - 2)
    assert lists.asked == ["a", "a"]
    clock.now += TTL_S
    await models.get("a", deadline_s=LONG_S)
    assert lists.asked == ["a", "a", "a"]


async def test_concurrent_askers_share_one_question() -> None:
    lists = Lists(ONE)
    models = ModelLists(lists)
    found = await asyncio.gather(*(models.get("a", deadline_s=LONG_S) for _ in range(10)))
    assert found == [[ONE]] * 10
    assert lists.asked == ["a"]


async def test_the_question_goes_on_for_those_who_stay_and_ends_with_the_last_who_leaves() -> None:
    lists = Lists(a=None)
    models = ModelLists(lists)
    first, second = (asyncio.create_task(models.get("a", deadline_s=LONG_S)) for _ in range(2))
    await lists.was_asked.wait()
    for task, left in ((first, []), (second, ["a"])):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        assert lists.left == left
    lists.found["a"] = [ONE]
    assert await models.get("a", deadline_s=LONG_S) == [ONE], "a cancelled question is no failure"


async def test_a_failure_is_remembered_shortly_and_by_whom_asks_on_purpose_not_at_all() -> None:
    lists, clock = Lists(a=DOWN), Clock()
    models = ModelLists(lists, clock=clock)
    for _ in range(2):
        with pytest.raises(ProviderConnectionError, match="Nothing answers") as caught:
            await models.get("a", deadline_s=LONG_S)
    assert caught.value is not DOWN, "or its traceback would grow"
    assert lists.asked == ["a"]
    lists.found["a"] = [ONE]
    clock.now += FAILED_TTL_S - 1
    with pytest.raises(ProviderConnectionError):
        await models.get("a", deadline_s=LONG_S)
    assert await models.get("a", deadline_s=LONG_S, anew_after_failure=True) == [ONE]
    assert await models.get("a", deadline_s=LONG_S) == [ONE]


async def test_a_failure_is_forgotten_after_a_while() -> None:
    lists, clock = Lists(a=DOWN), Clock()
    models = ModelLists(lists, clock=clock)
    with pytest.raises(ProviderConnectionError):
        await models.get("a", deadline_s=LONG_S)
    clock.now += FAILED_TTL_S
    lists.found["a"] = [ONE]
    assert await models.get("a", deadline_s=LONG_S) == [ONE]


async def test_a_provider_that_does_not_answer_in_time_is_a_failure_that_is_remembered() -> None:
    lists = Lists(a=None)
    models = ModelLists(lists)
    for _ in range(2):
        with pytest.raises(ProviderTimeoutError, match=r"a did not list its models within 0\.01 s"):
            await models.get("a", deadline_s=0.01)
    assert lists.asked == ["a"]
    await asyncio.sleep(0)
    assert lists.left == ["a"], "the question is dropped"


async def test_a_loop_that_is_kept_busy_does_not_use_a_deadline_up() -> None:
    async def busy(provider: str) -> list[ModelInfo]:
        time.sleep(0.6)  # noqa: ASYNC251 - as a first import does
        for _ in range(10):
            await asyncio.sleep(0)
        return [ONE]

    assert await ModelLists(busy).get("a", deadline_s=0.5) == [ONE]


async def test_a_timeout_of_the_providers_own_is_told_as_it_is() -> None:
    own = ProviderTimeoutError("It took too long to connect.", timer="connect")
    with pytest.raises(ProviderTimeoutError, match="too long to connect"):
        await ModelLists(Lists(a=own)).get("a", deadline_s=LONG_S)


async def test_what_is_forgotten_is_asked_for_again() -> None:
    lists = Lists(ONE)
    models = ModelLists(lists)
    for _ in range(2):
        await models.get("a", deadline_s=LONG_S)
        models.forget("a")
    assert lists.asked == ["a", "a"]
