"""Values in a Redis server that a team's kernels share.

A value is asked of the server each time, which takes as long as the network does. Putting waits for nothing:
what is put is gathered, and written while the caller goes on. What makes room when the server's memory is
full is its own business (``maxmemory-policy``); here every value gets a time to live.
"""

from __future__ import annotations

import asyncio
import logging
import re
import struct
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from farm_notebook.errors import FarmError
from farm_notebook.stores.base import Store, StoreStats
from farm_notebook.stores.fork import ForkSafe
from farm_notebook.stores.redis_client import RedisClient

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.client import Pipeline

__all__ = ["RedisStore"]

FORMAT = 1  # of what stands under a key
LARGEST_BYTES = 2 << 20  # a larger value would hold up the others
KEYS_AT_ONCE = 100
BYTES_AT_ONCE = 2 << 20
RETRY_S = 60.0  # how long a server that takes nothing is given nothing
USES_AT_ONCE = 512  # more than these are noted though there is nothing else to write
LONGEST_TTL_S = 100 * 365 * 86_400.0

_HEAD = struct.Struct(">d")  # seconds since 1970 when the value was put; it follows
_log = logging.getLogger("farm_notebook")


class RedisStore(ForkSafe, Store):
    """A store in a Redis server; see ``Store``. The client is closed by whoever made it.

    Args:
        client: The server, and what its keys begin with.
        ttl_s: Seconds that a value is kept.
        clock: Seconds since 1970; about the same for all who share the server.
    """

    def __init__(self, client: RedisClient, *, ttl_s: float, clock: Callable[[], float] = time.time) -> None:
        self._client = client
        self._ttl_s = ttl_s
        self._ttl_ms = max(1, round(min(ttl_s, LONGEST_TTL_S) * 1000))
        self._clock = clock
        self._all = f"{client.prefix}answer:"
        self._uses_name = f"{client.prefix}answers-used"
        self._told: set[type[Exception]] = set()
        super().__init__()

    def _begin(self) -> None:
        self._unusable_until = self._unwritable_until = 0.0
        self._pending: dict[str, bytes] = {}
        self._uses = 0
        self._writer: asyncio.Task[None] | None = None

    async def get(self, key: str) -> bytes | None:
        return (await self.get_many((key,))).get(key)

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        found = {key: value for key in keys if (value := self._pending.get(key)) is not None}
        missing = [key for key in keys if key not in found]
        for start in range(0, len(missing), KEYS_AT_ONCE):
            if time.monotonic() < self._unusable_until:
                break
            try:
                found |= await self._asked(missing[start : start + KEYS_AT_ONCE])
            except (OSError, FarmError) as error:
                self._note_failure(error)
                break
        return found

    def put(self, key: str, value: bytes) -> None:
        is_taken = time.monotonic() >= max(self._unusable_until, self._unwritable_until)
        if is_taken and len(value) <= LARGEST_BYTES and not self._client.is_away:
            self._pending[key] = value
            self._write_soon()

    async def stats(self) -> StoreStats:
        await self._settle()
        now, rows = self._clock(), list[_Row]()
        async with aclosing(self._names(f"{self._all}{FORMAT}:")) as portions:
            async for names in portions:
                rows += await self._client.run(partial(_rows, names))
        fresh = [row for row in rows if self._is_fresh(row.put_at, now)]
        return StoreStats(
            entries=len(fresh),
            value_bytes=sum(row.size_bytes for row in fresh),
            file_bytes=sum(row.memory_bytes for row in fresh),
            hits=await self._client.run(partial(_count, self._uses_name)),
            oldest_s=max((now - row.put_at for row in fresh), default=None),
            location=self._client.location,
        )

    async def clear(self) -> int:
        await self._settle()
        count = 0
        async with aclosing(self._names(self._all)) as portions:
            async for names in portions:
                count += await self._client.run(partial(_unlink, names))
        await self._client.run(partial(_unlink, [self._uses_name]))
        return count

    async def aclose(self) -> None:
        await self._settle()
        self._unusable_until = self._unwritable_until = 0.0

    def _name(self, key: str) -> str:
        return f"{self._all}{FORMAT}:{key}"

    async def _asked(self, keys: Sequence[str]) -> dict[str, bytes]:
        contents = await self._client.run(partial(_values, [self._name(key) for key in keys]))
        now, found = self._clock(), dict[str, bytes]()
        for key, content in zip(keys, contents, strict=True):
            if content is not None and self._is_fresh(_put_at(content), now):
                found[key] = content[_HEAD.size :]
        self._uses += len(found)
        if self._uses >= USES_AT_ONCE:
            self._write_soon()
        return found

    def _is_fresh(self, put_at: float, now: float) -> bool:
        return abs(now - put_at) < self._ttl_s  # one from the future has a wrong clock's age

    async def _names(self, beginning: str) -> AsyncGenerator[list[bytes], None]:
        """The names that begin so, each once, portion by portion; no other key is touched."""
        pattern = re.sub(r"([*?\[\]\\])", r"\\\1", beginning) + "*"
        cursor, seen = 0, set[bytes]()
        while True:
            cursor, names = await self._client.run(partial(_scan, pattern, cursor))
            if new := [name for name in dict.fromkeys(names) if name not in seen]:
                seen.update(new)
                yield new
            if not cursor:
                return

    def _write_soon(self) -> None:
        """Have a task write what there is, and end when there is nothing more."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # of another thread: it is written with the next put, or in the end
            return
        if self._writer is None or self._writer.done() or self._writer.get_loop() is not loop:
            self._writer = loop.create_task(self._write_all())

    async def _write_all(self) -> None:
        while self._pending or self._uses >= USES_AT_ONCE:
            await self._write_some()

    async def _write_some(self) -> None:
        """Write a part of what is not written yet; what cannot be written is dropped."""
        values, size_bytes = dict[str, bytes](), 0
        for key, value in self._pending.items():
            values[key] = value
            size_bytes += len(value)
            if len(values) == KEYS_AT_ONCE or size_bytes >= BYTES_AT_ONCE:
                break
        uses, self._uses = self._uses, 0
        head = _HEAD.pack(self._clock())
        named = {self._name(key): head + value for key, value in values.items()}
        try:
            await self._client.run(partial(_write, named, self._ttl_ms, self._uses_name, uses))
        except (OSError, FarmError) as error:
            self._note_failure(error, is_writing=True)
        for key, value in values.items():
            if self._pending.get(key) is value:  # it may have been put anew meanwhile
                del self._pending[key]

    async def _settle(self) -> None:
        """Write all there is, and wait for it."""
        if self._writer is not None and self._writer.get_loop() is asyncio.get_running_loop():
            await asyncio.wait([self._writer])
        while self._pending or self._uses:
            await self._write_some()

    def _note_failure(self, error: Exception, *, is_writing: bool = False) -> None:
        """Warn, of each kind of failure once; the client itself leaves alone a server that is away."""
        if isinstance(error, FarmError):  # without the package, for instance, there is no sense in going on
            self._unusable_until = time.monotonic() + RETRY_S
        elif is_writing and not isinstance(error, ConnectionError):
            self._unwritable_until = time.monotonic() + RETRY_S
        if type(error) not in self._told:
            self._told.add(type(error))
            _log.warning("%s Answers are not kept there until it can be.", error)


@dataclass(frozen=True, slots=True)
class _Row:
    """What the figures need to know of a value."""

    size_bytes: int
    memory_bytes: int
    put_at: float


def _put_at(content: bytes) -> float:
    """When a value was put; never, where it is none of ours or gone."""
    put_at: float = _HEAD.unpack_from(content)[0] if len(content) >= _HEAD.size else float("-inf")
    return put_at


# What the server is asked. The types of redis are those of clients that decode answers, too.


async def _values(names: Sequence[str], redis: Redis) -> list[bytes | None]:
    answers: list[Any] = await redis.mget(names)
    if len(answers) != len(names) or not all(answer is None or type(answer) is bytes for answer in answers):
        raise ValueError(f"{len(answers)} values of {len(names)}, or no values")
    return answers


async def _scan(pattern: str, cursor: int, redis: Redis) -> tuple[int, list[bytes]]:
    cursor, names = await redis.scan(cursor, match=pattern, count=KEYS_AT_ONCE)
    return int(cursor), list[Any](names)


async def _count(name: str, redis: Redis) -> int:
    return int(await redis.get(name) or 0)


async def _unlink(names: Sequence[bytes | str], redis: Redis) -> int:
    return int(await redis.unlink(*names))


async def _rows(names: Sequence[bytes], redis: Redis) -> list[_Row]:
    async with redis.pipeline(transaction=False) as pipeline:
        for name in names:
            pipeline.strlen(name)
            pipeline.memory_usage(name)
            pipeline.getrange(name, 0, _HEAD.size - 1)
        told = await _done(pipeline)
    return [
        _Row(length - _HEAD.size, memory_bytes or 0, _put_at(head))
        for length, memory_bytes, head in zip(told[::3], told[1::3], told[2::3], strict=True)
    ]


async def _write(values: Mapping[str, bytes], ttl_ms: int, uses_name: str, uses: int, redis: Redis) -> None:
    async with redis.pipeline(transaction=False) as pipeline:
        for name, value in values.items():
            pipeline.set(name, value, px=ttl_ms)
        if uses:
            pipeline.incrby(uses_name, uses)
        await _done(pipeline)


async def _done(pipeline: Pipeline) -> list[Any]:
    """The answers to all commands; the first error among them as the server put it, without the command."""
    answers: list[Any] = await pipeline.execute(raise_on_error=False)
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers
