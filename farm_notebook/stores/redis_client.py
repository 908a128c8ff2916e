"""A Redis server, asked in such a way that nobody waits long for one that is away.

What is kept there, and what becomes of errors, is for others to know. The package ``redis`` is imported when
the server is first asked.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from farm_notebook.config import RedisConfig
from farm_notebook.errors import ConfigError, MissingExtraError
from farm_notebook.stores.background import in_thread
from farm_notebook.stores.fork import ForkSafe

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.connection import AbstractConnection

__all__ = ["RedisClient"]

TIMEOUT_S = 1.0  # of one use, connecting included
FIRST_PAUSE_S = 1.0  # how long a server that is away is left alone; each further time twice as long,
WAIT_SHARE = 30  # and so many times longer than it took to find out
LONGEST_PAUSE_S = 60.0
CONNECTIONS = 32  # at the same time, from one event loop

_NONSENSE = (TypeError, ValueError, LookupError, AttributeError)  # what redis raises for it

T = TypeVar("T")


class RedisClient(ForkSafe):
    """One server for all who share this object. Nothing is opened until it is used; each event loop has
    connections of its own.

    Args:
        config: Where the server is, as whom it is asked, and what its keys begin with.
        password: Called whenever a connection is made, so that it can be changed; in a thread.
        timeout_s: Seconds that one use may take, connecting included.
        clock: Seconds that never go back.

    Raises:
        ConfigError: No server is configured.
    """

    def __init__(
        self,
        config: RedisConfig,
        password: Callable[[], str] = str,
        *,
        timeout_s: float = TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if config.url is None:
            raise ConfigError(
                "There is no Redis server to ask; set redis.url, as in 'redis://localhost:6379/0'."
            )
        self.prefix = config.prefix
        self.location = urlsplit(config.url)._replace(query="").geturl()
        self._url = config.url
        self._credentials = _Credentials(config.username or "", password)
        self._password_env = config.password_env
        self._timeout_s = timeout_s
        self._clock = clock
        super().__init__()

    def __repr__(self) -> str:
        return f"RedisClient({self.location!r})"

    @property
    def is_away(self) -> bool:
        """Whether the server is left alone just now."""
        return self._clock() < self._away_until

    def _begin(self) -> None:
        self._by_loop = weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, "Redis"]()
        self._rest()

    def _of_process(self) -> object:
        return list(self._by_loop.values())  # which a loop that is gone would take with it

    def _rest(self) -> None:
        self._problem = ""
        self._failed_at = self._away_until = float("-inf")
        self._pause_s = 0.0

    async def run(self, work: Callable[[Redis], Awaitable[T]]) -> T:
        """Ask the server something. A command whose connection breaks is sent once more.

        Args:
            work: What to ask; it gets the client, whose answers are bytes. A ``ValueError`` of it says that
                an answer made no sense, as those of other servers than Redis do.

        Raises:
            ConnectionError: The server is away, lets nobody in, does not answer in time or makes no sense; or
                it was so a moment ago, and is left alone for a while.
            OSError: It refuses what it was asked.
            MissingExtraError: The package is not installed.
            ConfigError: The address has parameters that mean nothing.
        """
        redis_errors = await _errors()
        if self.is_away:
            raise ConnectionError(self._problem)
        began = self._clock()
        self._away_until = began + self._pause_s  # while one looks whether it is back, nobody else waits
        client = self._client()
        try:
            async with asyncio.timeout(self._timeout_s):
                done = await work(client)
        except (redis_errors.ConnectionError, redis_errors.TimeoutError, OSError, *_NONSENSE) as error:
            raise self._left_alone(error, began) from self._shown(error)
        except redis_errors.RedisError as error:
            self._rest()
            raise OSError(self._words(error)) from self._shown(error)
        self._rest()
        return done

    async def aclose(self) -> None:
        """Close the connections of this event loop; the next use makes new ones."""
        client = self._by_loop.pop(asyncio.get_running_loop(), None)
        self._rest()
        if client is not None:
            await client.aclose()

    def _client(self) -> Redis:
        loop = asyncio.get_running_loop()
        if loop not in self._by_loop:
            self._by_loop[loop] = self._made()
        return self._by_loop[loop]

    def _made(self) -> Redis:
        from redis.asyncio import BlockingConnectionPool, Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
        from redis.exceptions import ConnectionError as BrokenError

        options: dict[str, Any] = {
            "credential_provider": self._credentials,
            "redis_connect_func": _introduced,
            "socket_timeout": self._timeout_s,
            "socket_connect_timeout": self._timeout_s,
            "retry": Retry(NoBackoff(), 1, (BrokenError,)),
            "protocol": 2,  # which every server speaks
            "driver_info": None,  # or each connection would begin by telling it
        }
        try:
            pool = BlockingConnectionPool.from_url(
                self._url, max_connections=CONNECTIONS, timeout=self._timeout_s, **options
            )
            pool.make_connection()  # which connects to nothing, but looks at the parameters
        except (TypeError, ValueError) as error:
            raise ConfigError(f"redis.url: {self._url!r} has a wrong parameter: {error}.") from error
        return Redis.from_pool(pool)

    def _left_alone(self, error: Exception, began: float) -> ConnectionError:
        """Note a failure; those who began before another one was noted do not make the pause longer."""
        if began > self._failed_at:
            self._failed_at = self._clock()
            shortest_s = max(FIRST_PAUSE_S, (self._failed_at - began) * WAIT_SHARE, 2 * self._pause_s)
            self._pause_s = min(shortest_s, LONGEST_PAUSE_S)
            self._away_until = self._failed_at + self._pause_s
            self._problem = self._words(error)
        return ConnectionError(self._problem)

    def _words(self, error: Exception) -> str:
        said = str(error).rstrip(".")
        if isinstance(error, TimeoutError | _exceptions.TimeoutError):
            said = f"no answer within {self._timeout_s:g} s"
        elif isinstance(error, _NONSENSE):
            said = f"it answers what no Redis would ({said})"
        said = self._credentials.hidden_in(said)
        fix = self._fix() if isinstance(error, _exceptions.AuthenticationError) else ""
        return f"The Redis server {self.location!r} cannot be used: {said}.{fix}"

    def _fix(self) -> str:
        """What to do for being let in, as a sentence that follows another."""
        if self._password_env is None:
            return " Name the variable that holds its password with redis.password_env."
        what = "is not what it wants" if self._credentials.has_password else "is not set"
        return f" The variable {self._password_env} (redis.password_env) {what}."

    def _shown(self, error: Exception) -> Exception | None:
        """The cause as it may stand in a traceback."""
        return error if self._credentials.hidden_in(str(error)) == str(error) else None


class _Credentials:
    """As whom to connect, in the form that ``redis`` asks for it."""

    def __init__(self, username: str, password: Callable[[], str]) -> None:
        self._username = username
        self._password = password
        self._last = ""

    @property
    def has_password(self) -> bool:
        """Whether there was one when it was last asked for."""
        return bool(self._last)

    async def get_credentials_async(self) -> tuple[str, ...]:
        """The arguments of ``AUTH``; none where nothing is configured."""
        self._last = await in_thread(self._password)
        if self._username:
            return self._username, self._last
        return (self._last,) if self._last else ()

    def hidden_in(self, text: str) -> str:
        """A text without the password: some servers quote a command that they do not know."""
        return text.replace(self._last, "…") if self._last else text


async def _introduced(connection: AbstractConnection) -> None:
    """Say who asks and choose the database, or close: the next one would take it that this was done."""
    try:
        await connection.on_connect()
    except BaseException:
        await connection.disconnect(nowait=True)
        raise


_exceptions: Any = None


async def _errors() -> Any:
    """The module of ``redis`` with its errors; all of it is imported in a thread, since that takes a while.

    Raises:
        MissingExtraError: It is not installed.
    """
    global _exceptions
    if _exceptions is None:
        try:
            await in_thread(lambda: import_module("redis.asyncio"))
            _exceptions = import_module("redis.exceptions")
        except ImportError as error:
            raise MissingExtraError(
                f'Redis needs the redis package ({error}). Run: pip install "farm-notebook[redis]"'
            ) from error
    return _exceptions
