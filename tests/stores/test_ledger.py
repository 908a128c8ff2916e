"""What holds for every ledger: limits are never exceeded, sums are right, and nothing stays held."""

from __future__ import annotations

import asyncio
import contextlib
import math
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis_server import RedisServer

from farm_notebook.config import RedisConfig
from farm_notebook.stores.ledger import NOTHING, Claim, Ledger, Refusal, Reservation
from farm_notebook.stores.ledger_memory import MemoryLedger
from farm_notebook.stores.ledger_redis import RedisLedger
from farm_notebook.stores.ledger_sqlite import SQLiteLedger
from farm_notebook.stores.redis_client import RedisClient


class Clock:
    """Seconds since 1970, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


class RedisClock(Clock):
    """The same for a server, whose clock cannot be moved: instead, what was granted is moved into its past.

    Its own time passes too; tests leave it some seconds.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        self._redis = redis.Redis.from_url(url)

    def wait(self, seconds: float) -> None:
        super().wait(seconds)
        server: Any = self._redis  # whose types know of no answer but one to come
        for name in server.keys("*:shares:*"):
            for member, at in server.zrange(name, 0, -1, withscores=True):
                server.zadd(name, {member: at - seconds})

    def close(self) -> None:
        self._redis.flushall()
        self._redis.close()


class Crowd(Ledger):
    """Many processes, each of which claims once: none has a count of its own that knows of the others.

    Args:
        join: Makes one's ledger on what all share.
    """

    def __init__(self, join: Callable[[], Ledger]) -> None:
        self._join = join
        self._all: list[Ledger] = []
        self._of: dict[int, Ledger] = {}

    async def reserve(self, claims: Sequence[Claim]) -> Reservation | Refusal:
        await self._paid()
        ledger = self._join()
        self._all.append(ledger)
        outcome = await ledger.reserve(claims)
        if isinstance(outcome, Reservation):
            self._of[outcome.id] = ledger
        return outcome

    def settle(self, reservation: Reservation, used: Mapping[str, float] = NOTHING) -> None:
        self._of[reservation.id].settle(reservation, used)

    async def usage(self, scope: str) -> float:
        await self._paid()
        ledger = self._join()
        self._all.append(ledger)
        return await ledger.usage(scope)

    async def aclose(self) -> None:
        for ledger in self._all:
            await ledger.aclose()

    async def _paid(self) -> None:
        """Wait until what was settled is known to all."""
        for ledger in self._all:
            while ledger._owed:  # type: ignore[attr-defined]  # noqa: ASYNC110 - it comes with the next turns
                await asyncio.sleep(0)


Make = Callable[[Clock], Ledger]


@contextlib.asynccontextmanager
async def made(kind: str, server: Callable[[], RedisServer]) -> AsyncIterator[tuple[Ledger, Clock]]:
    """A ledger of a kind, and its clock."""
    with contextlib.ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        clock = Clock()
        path = Path(folder) / "ledger.sqlite"
        if kind.startswith("redis"):
            clock = stack.enter_context(contextlib.closing(RedisClock(server().url)))
            client = RedisClient(RedisConfig(url=server().url), timeout_s=30.0)
        join: dict[str, Callable[[], Ledger]] = {
            "memory": lambda: MemoryLedger(clock=clock),
            "sqlite": lambda: SQLiteLedger(path, clock=clock),
            "redis": lambda: RedisLedger(client, clock=clock),
        }
        name, _, is_crowd = kind.partition(" of ")
        ledger = Crowd(join[name]) if is_crowd else join[name]()
        yield ledger, clock
        await ledger.aclose()
        if name == "redis":
            await client.aclose()


KIND = ["memory", "sqlite", "sqlite of many", "redis", "redis of many"]


@pytest.fixture(params=KIND)
async def both(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Ledger, Clock]]:
    async with made(request.param, lambda: request.getfixturevalue("server")) as (ledger, clock):
        yield ledger, clock


@pytest.fixture
def ledger(both: tuple[Ledger, Clock]) -> Ledger:
    return both[0]


@pytest.fixture
def clock(both: tuple[Ledger, Clock]) -> Clock:
    return both[1]


def requests(limit: float = 2) -> Claim:
    return Claim("requests", 1, limit, "window")


def tokens(amount: float, limit: float = 100) -> Claim:
    return Claim("tokens", amount, limit, "window")


def slot(limit: float = 1) -> Claim:
    return Claim("slots", 1, limit, "slot")


def cost(amount: float, limit: float = 1) -> Claim:
    return Claim("cost", amount, limit, "total")


async def granted(ledger: Ledger, *claims: Claim) -> Reservation:
    outcome = await ledger.reserve(claims)
    assert isinstance(outcome, Reservation), outcome
    return outcome


async def refused(ledger: Ledger, claim: Claim, *, wait_s: float, left: float) -> None:
    """Claim in vain. Of slots that others hold nobody knows when they are free."""
    outcome = await ledger.reserve([claim])
    assert isinstance(outcome, Refusal), outcome
    assert (outcome.scope, outcome.left) == (claim.scope, left)
    assert outcome.wait_s == pytest.approx(wait_s, abs=4)


async def test_a_window_grants_its_limit_in_any_60_seconds(ledger: Ledger, clock: Clock) -> None:
    await granted(ledger, requests())
    clock.wait(50)
    await granted(ledger, requests())
    await refused(ledger, requests(), wait_s=10, left=0)
    clock.wait(5)
    await refused(ledger, requests(), wait_s=5, left=0)
    clock.wait(5)
    await granted(ledger, requests())
    await refused(ledger, requests(), wait_s=50, left=0)
    assert await ledger.usage("requests") == 2


async def test_a_window_says_when_a_large_share_will_fit(ledger: Ledger, clock: Clock) -> None:
    for amount in (20, 30, 40):
        await granted(ledger, tokens(amount))
        clock.wait(10)
    await refused(ledger, tokens(30), wait_s=30, left=10)
    await refused(ledger, tokens(31), wait_s=40, left=10)
    await refused(ledger, tokens(100), wait_s=50, left=10)
    never = await ledger.reserve([tokens(101)])
    assert isinstance(never, Refusal)
    assert never.wait_s == math.inf


async def test_slots_are_held_until_they_are_settled(ledger: Ledger) -> None:
    held = await granted(ledger, slot())
    refusal = await ledger.reserve([slot()])
    assert isinstance(refusal, Refusal)
    assert (refusal.scope, refusal.left) == ("slots", 0)
    assert await ledger.usage("slots") == 1
    ledger.settle(held)
    assert await ledger.usage("slots") == 0
    await granted(ledger, slot())


async def test_a_total_is_what_was_settled_and_not_what_was_claimed(ledger: Ledger) -> None:
    held = await granted(ledger, cost(0.75))
    await refused(ledger, cost(0.5), wait_s=math.inf, left=0.25)
    ledger.settle(held, {"cost": 0.25})
    assert await ledger.usage("cost") == 0.25
    await granted(ledger, cost(0.75))


async def test_more_than_was_claimed_can_be_settled(ledger: Ledger) -> None:
    ledger.settle(await granted(ledger, cost(0.5), tokens(60)), {"cost": 3, "tokens": 130})
    assert await ledger.usage("cost") == 3
    await refused(ledger, cost(0), wait_s=math.inf, left=-2)
    await refused(ledger, tokens(1), wait_s=60, left=-30)


async def test_all_claims_are_granted_or_none(ledger: Ledger) -> None:
    held = await granted(ledger, slot())
    assert isinstance(await ledger.reserve([requests(), tokens(5), cost(0.5), slot()]), Refusal)
    for scope in ("requests", "tokens", "cost"):
        assert await ledger.usage(scope) == 0
    ledger.settle(held)
    await granted(ledger, requests(), tokens(5), cost(0.5), slot())
    assert [await ledger.usage(scope) for scope in ("requests", "tokens", "cost", "slots")] == [1, 5, 0.5, 1]


async def test_what_was_not_used_of_a_window_can_be_claimed_again(ledger: Ledger) -> None:
    ledger.settle(await granted(ledger, tokens(90)), {"tokens": 30})
    await granted(ledger, tokens(70))
    assert await ledger.usage("tokens") == 100


async def test_what_is_not_settled_stays_as_it_was_claimed(ledger: Ledger) -> None:
    ledger.settle(await granted(ledger, tokens(90), cost(0.5), slot()), {"tokens": 30})
    assert [await ledger.usage(scope) for scope in ("tokens", "cost", "slots")] == [30, 0.5, 0]


async def test_only_the_first_settlement_counts(ledger: Ledger) -> None:
    held = await granted(ledger, cost(0.5), slot(2))
    await granted(ledger, slot(2))
    for _ in range(3):
        ledger.settle(held, {"cost": 0.25})
    assert [await ledger.usage(scope) for scope in ("cost", "slots")] == [0.25, 1]


async def test_one_that_was_never_sent_leaves_nothing(ledger: Ledger) -> None:
    held = await granted(ledger, requests(), tokens(5), cost(0.5), slot())
    ledger.settle(held, held.unused)
    assert [await ledger.usage(scope) for scope in ("requests", "tokens", "cost", "slots")] == [0, 0, 0, 0]


async def test_what_is_settled_after_its_minute_changes_nothing(ledger: Ledger, clock: Clock) -> None:
    held = await granted(ledger, tokens(90))
    clock.wait(61)
    await granted(ledger, tokens(50))
    ledger.settle(held, {"tokens": 10})
    assert await ledger.usage("tokens") == 50


@pytest.mark.parametrize("both", ["memory", "sqlite", "sqlite of many"], indirect=True)
async def test_a_clock_that_is_set_back_lets_nothing_more_pass(ledger: Ledger, clock: Clock) -> None:
    await granted(ledger, requests())
    await granted(ledger, requests())
    clock.wait(-3600)
    await refused(ledger, requests(), wait_s=60, left=0)
    clock.wait(60)
    await ledger.reserve([requests()])  # the count of all learns of it only when it is asked
    clock.wait(60)
    await granted(ledger, requests())


async def test_sums_of_prices_have_no_last_digit_that_matters(ledger: Ledger) -> None:
    for _ in range(10):
        await granted(ledger, cost(0.1))
    assert isinstance(await ledger.reserve([cost(0.1)]), Refusal)


async def test_each_claim_says_how_much_is_allowed(ledger: Ledger) -> None:
    await granted(ledger, requests(limit=1))
    assert isinstance(await ledger.reserve([requests(limit=1)]), Refusal)
    await granted(ledger, requests(limit=2))


async def test_a_closed_ledger_holds_no_slots_and_remembers_what_was_spent(ledger: Ledger) -> None:
    held = await granted(ledger, cost(0.5), slot())
    await ledger.aclose()
    await asyncio.sleep(0)
    ledger.settle(held, {"cost": 0})
    assert [await ledger.usage(scope) for scope in ("cost", "slots")] == [0.5, 0]
    await granted(ledger, slot())


# Under whatever comes

KINDS = {"requests": requests(3), "tokens": tokens(1), "slots": slot(2), "cost": cost(1, limit=150)}


@dataclass(frozen=True)
class Ask:
    scopes: frozenset[str]
    amount: int

    def claims(self) -> list[Claim]:
        kinds = [KINDS[scope] for scope in sorted(self.scopes)]
        return [kind._replace(amount=self.amount if kind.limit > 3 else 1) for kind in kinds]


@dataclass(frozen=True)
class Settle:
    which: int
    used: int | None


@dataclass(frozen=True)
class Wait:
    seconds: int


steps = st.lists(
    st.builds(Ask, st.frozensets(st.sampled_from(sorted(KINDS)), min_size=1), st.integers(0, 60))
    | st.builds(Settle, st.integers(0, 5), st.none() | st.integers(0, 60))
    | st.builds(Wait, st.integers(0, 10).map(lambda weeks: 7 * weeks)),  # never close to 60
    max_size=40,
)


@dataclass
class Entry:
    of: Reservation
    at: float
    claim: Claim
    amount: float
    is_held: bool = True


class PlainCount:
    """The plainest ledger there is: a list of all that was ever granted."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def used(self, scope: str, now: float) -> float:
        def counts(entry: Entry) -> bool:
            kind = entry.claim.kind
            return kind == "total" or (entry.at > now - 60 if kind == "window" else entry.is_held)

        of_scope = (entry for entry in self.entries if entry.claim.scope == scope)
        return sum(entry.amount for entry in of_scope if counts(entry))

    def has_room(self, claims: list[Claim], now: float) -> bool:
        return all(self.used(claim.scope, now) + claim.amount <= claim.limit for claim in claims)

    def note(self, reservation: Reservation, now: float) -> None:
        self.entries += [Entry(reservation, now, claim, claim.amount) for claim in reservation.claims]

    def settle(self, reservation: Reservation, used: dict[str, float]) -> None:
        for entry in self.entries:
            if entry.of is reservation:
                entry.amount, entry.is_held = used.get(entry.claim.scope, entry.amount), False


async def compare(script: list[Ask | Settle | Wait], clock: Clock, ledger: Ledger) -> None:
    """Do the same with a ledger and with the plainest one."""
    plain, open_ones = PlainCount(), list[Reservation]()
    for step in script:
        match step:
            case Wait(seconds):
                clock.wait(seconds)
            case Settle(which, used) if open_ones:
                reservation = open_ones.pop(which % len(open_ones))
                amounts: dict[str, float] = {} if used is None else {"tokens": used, "cost": used}
                ledger.settle(reservation, amounts)
                plain.settle(reservation, amounts)
            case Ask():
                outcome = await ledger.reserve(step.claims())
                assert isinstance(outcome, Reservation) == plain.has_room(step.claims(), clock.now)
                if isinstance(outcome, Reservation):
                    plain.note(outcome, clock.now)
                    open_ones.append(outcome)
                elif KINDS[outcome.scope].kind == "window":
                    refused = [claim for claim in step.claims() if claim.scope == outcome.scope]
                    assert plain.has_room(refused, clock.now + outcome.wait_s + 3)
                    assert not plain.has_room(refused, clock.now + outcome.wait_s - 3)
        for scope in KINDS:
            assert await ledger.usage(scope) == plain.used(scope, clock.now), scope


@pytest.mark.parametrize("kind", KIND)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=steps)
def test_it_counts_as_the_plainest_one(
    kind: str, script: list[Ask | Settle | Wait], request: pytest.FixtureRequest
) -> None:
    async def scene() -> None:
        async with made(kind, lambda: request.getfixturevalue("server")) as (ledger, clock):
            await compare(script, clock, ledger)

    asyncio.run(scene())
