"""Providers are asked how they are all at once, within a deadline; one that fails holds up no other."""
# ruff: noqa: ASYNC110 - a test waits for what has no event

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from farm_notebook.config import HealthConfig, load_config
from farm_notebook.errors import ProviderConnectionError
from farm_notebook.monitor import HealthMonitor
from farm_notebook.providers.scripted import ScriptedProvider
from farm_notebook.types import ProviderStatus

CONFIG = HealthConfig(deadline_s=60, ttl_s=30)
SHORT = HealthConfig(deadline_s=0.05, ttl_s=30)


class Patient(ScriptedProvider):
    """A provider that says of itself what ``feels`` gives, and counts how often it was asked."""

    def __init__(self, name: str, feels: Callable[[], Awaitable[Any]] | None = None) -> None:
        super().__init__(load_config())
        self.name = name
        self.is_well = True
        self.asked = self.left = 0
        self._feels = feels or self._fine

    async def _fine(self) -> ProviderStatus:
        return ProviderStatus(self.name, healthy=self.is_well, detail="fine" if self.is_well else "no\nvoice")

    async def health_check(self) -> ProviderStatus:
        self.asked += 1
        try:
            return await self._feels()
        finally:
            self.left += 1


class Clock:
    """Seconds, moved by hand; who sleeps wakes when it is let."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.sleeps: list[float] = []
        self._woken = asyncio.Semaphore(0)

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        await self._woken.acquire()
        self.now += seconds

    def wake(self) -> None:
        self._woken.release()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
async def nothing_left() -> Any:
    """No task is left behind by a test."""
    before = asyncio.all_tasks()
    yield
    await until(lambda: asyncio.all_tasks() <= before | {asyncio.current_task()})


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0)


def watching_over(
    *providers: Patient, clock: Clock, config: HealthConfig = CONFIG, broken: tuple[ProviderStatus, ...] = ()
) -> HealthMonitor:
    return HealthMonitor(lambda: (providers, broken), config, clock=clock, sleep=clock.sleep)


async def never() -> None:
    await asyncio.Event().wait()


# One look


async def test_what_a_provider_says_of_itself_is_told_without_secrets() -> None:
    async def tells() -> ProviderStatus:
        return ProviderStatus("one", healthy=False, detail="s3cret-key is unknown", fix="replace s3cret-key")

    async def fails() -> ProviderStatus:
        raise ProviderConnectionError("s3cret-key was refused", provider="two")

    providers = (Patient("one", tells), Patient("two", fails))
    monitor = HealthMonitor(
        lambda: (providers, ()), CONFIG, redact=lambda text: text.replace("s3cret-key", "***")
    )
    one, two = await monitor.check_all()
    assert (one.detail, one.fix) == ("*** is unknown", "replace ***")
    assert two.detail == "*** was refused"


async def test_all_are_asked_at_once_and_told_in_their_order(clock: Clock) -> None:
    both_asked = asyncio.Barrier(2)

    def meets(name: str) -> Patient:
        async def meet() -> ProviderStatus:
            await both_asked.wait()
            return ProviderStatus(name, healthy=True, detail="met")

        return Patient(name, meet)

    broken = ProviderStatus("c", healthy=False, detail="not installed")
    monitor = watching_over(meets("b"), meets("a"), clock=clock, broken=(broken,))
    async with asyncio.timeout(10):
        found = await monitor.check_all()
    assert [status.name for status in found] == ["b", "a", "c"]
    assert found[2] is broken


async def test_one_that_does_not_answer_in_time_is_unwell_and_its_check_is_cancelled(clock: Clock) -> None:
    silent, well = Patient("silent", never), Patient("well")
    found = await watching_over(silent, well, clock=clock, config=SHORT).check_all()
    assert found[0] == ProviderStatus(
        "silent",
        healthy=False,
        detail="it did not answer within 0.05 s",
        fix="set FARM_HEALTH__DEADLINE_S higher if it is only slow",
    )
    assert found[1].healthy
    await until(lambda: silent.left == 1)


async def test_one_that_does_not_let_itself_be_cancelled_is_not_waited_for(clock: Clock) -> None:
    may_end = asyncio.Event()

    async def stubborn() -> None:
        while not may_end.is_set():
            try:
                await may_end.wait()
            except asyncio.CancelledError:
                continue

    patient = Patient("stubborn", stubborn)
    (status,) = await watching_over(patient, clock=clock, config=SHORT).check_all()
    assert (status.healthy, patient.left) == (False, 0)
    may_end.set()
    await until(lambda: patient.left == 1)


def raising(error: BaseException) -> Callable[[], Awaitable[Any]]:
    async def fail() -> None:
        raise error

    return fail


async def gives_nothing() -> None:
    return None


@pytest.mark.parametrize(
    ("feels", "detail"),
    [
        (raising(ProviderConnectionError("Nothing answers.\nStart it.")), "Nothing answers. Start it."),
        (raising(KeyError("version")), "its health check failed: KeyError: 'version'"),
        (raising(asyncio.CancelledError()), "its health check was cancelled"),
        (raising(TimeoutError("too slow")), "its health check failed: TimeoutError: too slow"),
        (gives_nothing, "its health check gave None, which is no ProviderStatus"),
        (lambda: 7, "its health check failed: TypeError: object int can't be used in 'await' expression"),
    ],
    ids=["farm error", "foreign error", "cancelled", "timeout", "nothing", "not awaitable"],
)
async def test_a_check_that_fails_is_an_answer_and_breaks_no_other(
    feels: Callable[[], Awaitable[Any]], detail: str, clock: Clock
) -> None:
    found = await watching_over(Patient("bad", feels), Patient("good"), clock=clock).check_all()
    assert found[0] == ProviderStatus("bad", healthy=False, detail=detail)
    assert found[1].healthy


# What is known


async def test_an_answer_is_believed_for_a_while_and_then_asked_for_again(clock: Clock) -> None:
    patient = Patient("a")
    monitor = watching_over(patient, clock=clock)
    assert monitor.known("a") is None
    first = await monitor.check_all()
    clock.now += 29.9
    assert await monitor.check_all() == first
    assert (patient.asked, monitor.known("a")) == (1, first[0])
    clock.now += 0.1
    assert monitor.known("a") is None
    await monitor.check_all()
    assert patient.asked == 2


async def test_a_refresh_asks_though_the_answer_is_still_believed(clock: Clock) -> None:
    patient = Patient("a")
    monitor = watching_over(patient, clock=clock)
    await monitor.check_all()
    patient.is_well = False
    (status,) = await monitor.check_all(refresh=True)
    assert not status.healthy
    assert monitor.known("a") == status


async def test_an_answer_that_is_believed_for_no_time_is_asked_for_each_time(clock: Clock) -> None:
    patient = Patient("a")
    monitor = watching_over(patient, clock=clock, config=HealthConfig(ttl_s=0))
    await monitor.check_all()
    await monitor.check_all()
    assert (patient.asked, monitor.known("a")) == (2, None)


async def test_what_ails_a_provider_is_known_only_where_it_is_unwell(clock: Clock) -> None:
    ill, well = Patient("ill"), Patient("well")
    ill.is_well = False
    monitor = watching_over(ill, well, clock=clock)
    await monitor.check_all()
    assert [monitor.ailment(name) for name in ("ill", "well", "stranger")] == ["no voice", None, None]
    clock.now += 30
    assert monitor.ailment("ill") is None, "it may be well again"


async def test_who_asks_at_the_same_time_shares_one_check(clock: Clock) -> None:
    may_answer = asyncio.Event()

    async def slow() -> ProviderStatus:
        await may_answer.wait()
        return ProviderStatus("a", healthy=True, detail="at last")

    patient = Patient("a", slow)
    monitor = watching_over(patient, clock=clock)
    callers = [asyncio.create_task(monitor.check_all(refresh=number > 2)) for number in range(5)]
    await until(lambda: patient.asked == 1)
    callers[0].cancel()
    await asyncio.wait(callers[:1])
    may_answer.set()
    found = await asyncio.gather(*callers[1:])
    assert [each[0].detail for each in found] == ["at last"] * 4
    assert patient.asked == 1


async def test_the_last_to_leave_a_check_ends_it(clock: Clock) -> None:
    patient = Patient("a", never)
    monitor = watching_over(patient, clock=clock)
    callers = [asyncio.create_task(monitor.check_all()) for _ in range(2)]
    await until(lambda: patient.asked == 1)
    callers[0].cancel()
    await asyncio.wait(callers[:1])
    assert patient.left == 0
    callers[1].cancel()
    await asyncio.wait(callers)
    await until(lambda: patient.left == 1)
    assert monitor.known("a") is None


# Watching


async def test_while_anyone_watches_all_are_asked_again_and_again(clock: Clock) -> None:
    patient = Patient("a")
    monitor = watching_over(patient, clock=clock)
    async with monitor.watching():
        async with monitor.watching():
            await until(lambda: clock.sleeps == [30.0])
        for asked in (1, 2, 3):
            assert patient.asked == asked
            clock.wake()
            await until(lambda: len(clock.sleeps) == asked + 1)  # noqa: B023 - it is called at once
            assert monitor.known("a") is not None
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "farm-health"]


async def test_who_watches_anew_starts_it_anew(clock: Clock) -> None:
    patient = Patient("a")
    monitor = watching_over(patient, clock=clock)
    for looks in (1, 2):
        async with monitor.watching():
            await until(lambda: len(clock.sleeps) == looks)  # noqa: B023 - it is called at once
        assert patient.asked == looks


async def test_the_background_never_asks_without_a_pause(clock: Clock) -> None:
    monitor = watching_over(Patient("a"), clock=clock, config=HealthConfig(ttl_s=0))
    async with monitor.watching():
        await until(lambda: len(clock.sleeps) == 1)
    assert clock.sleeps == [1.0]


async def test_a_listener_hears_of_changes_and_of_nothing_else(clock: Clock) -> None:
    patient, other = Patient("a"), Patient("b")
    monitor = watching_over(patient, other, clock=clock)
    heard: list[tuple[str, bool]] = []
    async with monitor.watching(lambda status: heard.append((status.name, status.healthy))):
        await until(lambda: len(clock.sleeps) == 1)
        assert heard == [("a", True), ("b", True)]
        clock.wake()
        await until(lambda: len(clock.sleeps) == 2)
        assert len(heard) == 2
        patient.is_well = False
        await monitor.check_all(refresh=True)  # whoever asked
        assert heard[2:] == [("a", False)]
    patient.is_well = True
    await monitor.check_all(refresh=True)
    assert len(heard) == 3, "it left"


async def test_a_listener_that_fails_keeps_no_other_from_hearing(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[ProviderStatus] = []

    def broken(status: ProviderStatus) -> None:
        raise ValueError("no panel")

    monitor = watching_over(Patient("a"), clock=clock)
    async with monitor.watching(broken), monitor.watching(heard.append):
        await until(lambda: len(heard) == 1)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


async def test_a_listener_hears_in_the_context_in_which_it_began(clock: Clock) -> None:
    cell = contextvars.ContextVar("cell", default="none")
    heard: list[str] = []
    monitor = watching_over(Patient("a"), clock=clock)
    async with AsyncExitStack() as stack:
        for name in ("first", "second"):
            cell.set(name)
            await stack.enter_async_context(monitor.watching(lambda _: heard.append(cell.get())))
        await until(lambda: len(heard) == 2)
    assert heard == ["first", "second"]


async def test_the_background_belongs_to_none_of_those_who_watch(clock: Clock) -> None:
    cell = contextvars.ContextVar("cell", default="none")
    seen: list[str] = []

    async def look_around() -> ProviderStatus:
        seen.append(cell.get())
        return ProviderStatus("a", healthy=True, detail="fine")

    cell.set("first")
    async with watching_over(Patient("a", look_around), clock=clock).watching():
        await until(lambda: len(clock.sleeps) == 1)
    assert seen == ["none"]


async def test_a_look_that_fails_is_logged_and_the_next_one_is_made(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    patient, problems = Patient("a"), [RuntimeError("no settings")]

    def providers() -> tuple[tuple[Patient, ...], tuple[ProviderStatus, ...]]:
        if problems:
            raise problems.pop()
        return (patient,), ()

    monitor = HealthMonitor(providers, CONFIG, clock=clock, sleep=clock.sleep)
    async with monitor.watching():
        await until(lambda: len(clock.sleeps) == 1)
        assert (patient.asked, len(caplog.records)) == (0, 1)
        clock.wake()
        await until(lambda: patient.asked == 1)


async def test_closing_ends_all_that_is_under_way(clock: Clock) -> None:
    patient = Patient("a", never)
    monitor = watching_over(patient, clock=clock)
    async with monitor.watching():
        caller = asyncio.create_task(monitor.check_all())
        await until(lambda: patient.asked == 1)
        await monitor.aclose()
        (status,) = await caller
        assert (status.healthy, status.detail) == (False, "it was closed while it was asked")
    assert monitor.known("a") is None
    await monitor.aclose()


async def test_after_closing_it_may_be_asked_again(clock: Clock) -> None:
    patient = Patient("a")
    monitor = watching_over(patient, clock=clock)
    await monitor.aclose()
    assert (await monitor.check_all())[0].healthy
    async with monitor.watching():
        await until(lambda: len(clock.sleeps) == 1)
