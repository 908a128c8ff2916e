"""What waits for nothing costs no timer; what waits too long is cancelled."""

from __future__ import annotations

import asyncio

import pytest

from farm_notebook.pipeline.deadline import within

PATIENT_S = 30.0
AT_ONCE_S = 0.001


class Work:
    """Waits for some things in turn, and notes how that ended."""

    def __init__(self, *waits: asyncio.Event, error: Exception | None = None) -> None:
        self._waits = waits
        self._error = error
        self.was_cancelled = False
        self.is_over = False

    async def __call__(self) -> str:
        try:
            for event in self._waits:
                await event.wait()
            if self._error is not None:
                raise self._error
        except asyncio.CancelledError:
            self.was_cancelled = True
            await asyncio.sleep(0)  # as a connection takes a moment to close
            raise
        finally:
            self.is_over = True
        return "done"


@pytest.fixture
def timers(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When each timer that is set goes off."""
    whens, original = list[float](), asyncio.BaseEventLoop.call_at

    def call_at(self: asyncio.BaseEventLoop, when: float, *args: object, **options: object) -> object:
        whens.append(when)
        return original(self, when, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(asyncio.BaseEventLoop, "call_at", call_at)
    return whens


async def test_what_is_there_at_once_sets_no_timer(timers: list[float]) -> None:
    timers.clear()
    assert await within(PATIENT_S, Work()()) == "done"
    assert not timers


@pytest.mark.parametrize("count", [1, 2, 5])
async def test_what_comes_in_time_is_given_however_often_it_waits(count: int) -> None:
    waits = [asyncio.Event() for _ in range(count)]
    waiting = asyncio.create_task(within(PATIENT_S, Work(*waits)()))
    for event in waits:
        await asyncio.sleep(0)
        assert not waiting.done()
        event.set()
    assert await waiting == "done"


async def test_what_takes_too_long_is_cancelled_and_has_let_go() -> None:
    work = Work(asyncio.Event())
    with pytest.raises(TimeoutError):
        await within(AT_ONCE_S, work())
    assert work.was_cancelled
    assert work.is_over


async def test_whoever_is_cancelled_cancels_what_it_waits_for() -> None:
    work = Work(asyncio.Event())
    waiting = asyncio.create_task(within(PATIENT_S, work()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert work.was_cancelled
    assert work.is_over


@pytest.mark.parametrize("count", [0, 2])
async def test_an_error_is_passed_on(count: int) -> None:
    waits = [asyncio.Event() for _ in range(count)]
    for event in waits[1:]:
        event.set()
    waiting = asyncio.create_task(within(PATIENT_S, Work(*waits, error=KeyError("gone"))()))
    await asyncio.sleep(0)
    for event in waits:
        event.set()
    with pytest.raises(KeyError, match="gone"):
        await waiting


async def test_a_future_will_do_as_well() -> None:
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_result, "done")
    assert await within(PATIENT_S, future) == "done"
    assert await within(PATIENT_S, future) == "done"
