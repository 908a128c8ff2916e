"""A ledger in a Redis server, for a team.

One script does all that belongs together, by the server's own clock. It notes each reservation, so that
sending one again, or settling it twice, changes nothing. A slot is a lease, renewed while its holder lives.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from farm_notebook.errors import FarmError
from farm_notebook.stores.ledger import WINDOW_S, Refusal, Reservation
from farm_notebook.stores.ledger_shared import Debt, SharedLedger
from farm_notebook.stores.redis_client import RedisClient

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = ["RedisLedger"]

LEASE_S = 30.0  # how long a slot is held by somebody who is not heard of
BEAT_S = 10.0  # between two signs of life
SLOT_POLL_S = 0.1
RETRY_S = 5.0  # until what is owed is offered again; a server that refuses is left alone for as long
MOST_OWED = 1000  # the oldest debts to a server that stays away are forgotten

_SCRIPT = """
local root, ask = KEYS[1], cjson.decode(ARGV[1])
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1e6
local function key(scope, part) return root .. part .. ':' .. scope end
local function number(value) return string.format('%.17g', value) end

local function pass_by(scope)
  local shares, amounts, sum = key(scope, 'shares'), key(scope, 'amounts'), key(scope, 'sum')
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', shares, '(' .. number(now), '+inf')) do
    redis.call('ZADD', shares, number(now), id)
  end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', shares, '-inf', number(now - ask.window_s))) do
    redis.call('INCRBYFLOAT', sum, number(-(redis.call('HGET', amounts, id) or 0)))
    redis.call('HDEL', amounts, id)
    redis.call('ZREM', shares, id)
  end
end

local function used(claim)
  if claim.kind == 'total' then
    return tonumber(redis.call('GET', key(claim.scope, 'total')) or 0)
  elseif claim.kind == 'slot' then
    local slots = key(claim.scope, 'slots')
    redis.call('ZREMRANGEBYSCORE', slots, '-inf', number(now))
    return redis.call('ZCARD', slots)
  end
  pass_by(claim.scope)
  return tonumber(redis.call('GET', key(claim.scope, 'sum')) or 0)
end

local function add(claim, id, amount)
  if claim.kind == 'total' then
    redis.call('INCRBYFLOAT', key(claim.scope, 'total'), number(amount))
    redis.call('EXPIRE', key(claim.scope, 'total'), ask.kept_s)
  elseif claim.kind == 'slot' then
    redis.call('ZADD', key(claim.scope, 'slots'), number(now + ask.lease_s), id)
    redis.call('EXPIRE', key(claim.scope, 'slots'), 2 * ask.lease_s)
  else
    redis.call('ZADD', key(claim.scope, 'shares'), number(now), id)
    redis.call('HSET', key(claim.scope, 'amounts'), id, number(amount))
    redis.call('INCRBYFLOAT', key(claim.scope, 'sum'), number(amount))
    for _, part in ipairs({'shares', 'amounts', 'sum'}) do
      redis.call('EXPIRE', key(claim.scope, part), 2 * ask.window_s)
    end
  end
end

local function settle(debt)
  if redis.call('DEL', key(debt.id, 'open')) == 0 then return end
  for _, claim in ipairs(debt.claims) do
    if claim.kind == 'slot' then
      redis.call('ZREM', key(claim.scope, 'slots'), debt.id)
    elseif claim.kind == 'total' then
      add(claim, debt.id, claim.used - claim.amount)
    elseif redis.call('HEXISTS', key(claim.scope, 'amounts'), debt.id) == 1 then
      redis.call('HSET', key(claim.scope, 'amounts'), debt.id, number(claim.used))
      redis.call('INCRBYFLOAT', key(claim.scope, 'sum'), number(claim.used - claim.amount))
    end
  end
end

local function wait_s(claim, excess)
  if claim.kind == 'total' then return 'inf' end
  if claim.kind == 'slot' then return number(ask.poll_s) end
  local shares = redis.call('ZRANGE', key(claim.scope, 'shares'), 0, -1, 'WITHSCORES')
  for i = 1, #shares, 2 do
    excess = excess - redis.call('HGET', key(claim.scope, 'amounts'), shares[i])
    if excess <= 0 then return number(math.max(0, shares[i + 1] + ask.window_s - now)) end
  end
  return 'inf'
end

for _, debt in ipairs(ask.debts) do settle(debt) end
for _, held in ipairs(ask.held) do
  redis.call('ZADD', key(held.scope, 'slots'), 'XX', number(now + ask.lease_s), held.id)
  redis.call('EXPIRE', key(held.scope, 'slots'), 2 * ask.lease_s)
end
if ask.scope then
  local sum = 0
  for _, kind in ipairs({'window', 'slot', 'total'}) do sum = sum + used({scope = ask.scope, kind = kind}) end
  return {number(sum)}
end
if not ask.id or redis.call('EXISTS', key(ask.id, 'open')) == 1 then return {number(now)} end
for _, claim in ipairs(ask.claims) do
  local before = used(claim)
  local excess = before + claim.amount - claim.limit
  if excess > 1e-9 * math.max(1, claim.limit) then
    return {claim.scope, wait_s(claim, excess), number(claim.limit - before)}
  end
end
for _, claim in ipairs(ask.claims) do add(claim, ask.id, claim.amount) end
redis.call('SET', key(ask.id, 'open'), '1', 'EX', ask.open_s)
return {number(now)}
"""
_DIGEST = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()
_TIMES = {
    "window_s": WINDOW_S,
    "lease_s": LEASE_S,
    "poll_s": SLOT_POLL_S,
    "kept_s": 40 * 86_400,  # a total that nobody touched for so long is dropped
    "open_s": 2 * 86_400,  # a reservation that nobody settles for so long stays as it was claimed
}


class RedisLedger(SharedLedger):
    """A ledger in a Redis server; see ``Ledger``. The client is closed by whoever made it.

    Args:
        client: The server, and what its keys begin with.
        clock: Seconds from any fixed moment, for the process's own count.
    """

    def __init__(self, client: RedisClient, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._root = f"{client.prefix}ledger:"
        super().__init__(client.location, clock=clock)

    def _begin(self) -> None:
        super()._begin()
        self._unusable_until = 0.0
        self._payment: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def _reserve(self, reservation: Reservation) -> float | Refusal | None:
        asking = asyncio.create_task(self._ask(_plain(reservation)))
        try:
            answer = await asyncio.shield(asking)
        except asyncio.CancelledError:
            asking.add_done_callback(lambda _: self._owe(Debt(reservation, 0.0, reservation.unused)))
            raise
        except ConnectionError:  # it may have come as far as the server
            return 0.0
        if answer is None:
            return None
        if len(answer) == 1:
            asyncio.get_running_loop().call_soon(self._pay_later)  # once it is known as granted
            return float(answer[0])
        scope, wait_s, left = answer
        return Refusal(scope.decode(), float(wait_s), float(left))

    async def _usage(self, scope: str) -> float | None:
        try:
            answer = await self._ask({"scope": scope})
        except ConnectionError:
            return None
        return None if answer is None else float(answer[0])

    async def _ask(self, question: Mapping[str, object]) -> list[bytes] | None:
        """Pay what is owed, renew leases, and ask something.

        Returns:
            The answer; ``None`` where the server takes nothing from us.

        Raises:
            ConnectionError: It is away.
        """
        if time.monotonic() < self._unusable_until:
            return None
        paid: list[Debt] = []

        async def work(redis: Redis) -> list[bytes]:
            from redis.exceptions import NoScriptError

            paid[:] = self._owed
            debts, held = [_settled(debt) for debt in paid], self._leases()
            plain = json.dumps({**_TIMES, "debts": debts, "held": held, **question})
            run: Any = redis  # whose types know of no answer but text
            try:
                answer: list[bytes] = await run.evalsha(_DIGEST, 1, self._root, plain)
            except NoScriptError:
                answer = await run.eval(_SCRIPT, 1, self._root, plain)
            return answer

        try:
            answer = await self._client.run(work)
        except ConnectionError as error:
            self._tell(f"cannot be used ({error})", kind="away")
            raise
        except (OSError, FarmError) as error:
            self._unusable_until = time.monotonic() + RETRY_S
            self._tell(f"cannot be used ({error})", kind="refused")
            return None
        heard = set(map(id, paid))
        self._owed = [debt for debt in self._owed if id(debt) not in heard]
        return answer

    def _owe(self, debt: Debt) -> None:
        self._owed.append(debt)
        self._pay_soon()

    def _pay_soon(self) -> None:
        del self._owed[:-MOST_OWED]
        if self._payment is None:
            self._payment = asyncio.get_running_loop().create_task(self._pay())

    async def _pay(self) -> None:
        """Tell the server what is settled, and who lives; again a little later where that is needed."""
        try:
            while await self._ask({}) is not None and self._owed:
                pass
        except ConnectionError:
            pass
        finally:
            self._payment = None
            self._pay_later()

    def _pay_later(self) -> None:
        if self._timer is None and (self._owed or self._leases()):
            wait_s = RETRY_S if self._owed else BEAT_S
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self._pay_soon()

    def _leases(self) -> list[dict[str, str]]:
        return [
            {"id": str(debt.reservation.id), "scope": claim.scope}
            for debt in self._granted.values()
            for claim in debt.reservation.claims
            if claim.kind == "slot"
        ]

    async def _close(self) -> None:
        if self._payment is not None:
            await asyncio.wait([self._payment])
        if self._owed:
            await self._pay()
        self._forget()
        self._unusable_until = 0.0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _plain(reservation: Reservation) -> dict[str, object]:
    """Claims as JSON values; an id as text, as a key of Redis is."""
    claims = [
        {"scope": claim.scope, "kind": claim.kind, "amount": claim.amount, "limit": claim.limit}
        for claim in reservation.claims
    ]
    return {"id": str(reservation.id), "claims": claims}


def _settled(debt: Debt) -> dict[str, object]:
    """A settlement as JSON values."""
    claims = [
        {
            "scope": claim.scope,
            "kind": claim.kind,
            "amount": claim.amount,
            "used": debt.used.get(claim.scope, claim.amount),
        }
        for claim in debt.reservation.claims
    ]
    return {"id": str(debt.reservation.id), "claims": claims}
