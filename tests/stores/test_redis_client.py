"""A Redis server that is away delays nobody, comes back by itself, and no password is ever told."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis_server import PATIENT_S, Clients, RedisServer, listening
from store_checks import is_true_in_fork
from store_contract import Clock

from farm_notebook.config import RedisConfig
from farm_notebook.errors import ConfigError, MissingExtraError
from farm_notebook.stores import redis_client
from farm_notebook.stores.redis_client import LONGEST_PAUSE_S, RedisClient

PASSWORD = "sesame-7319"


async def ping(client: RedisClient) -> bool:
    async def ask(redis: Any) -> bool:
        answer: bool = await redis.ping()
        return answer

    return await client.run(ask)


# What is used when


def test_importing_it_does_not_import_redis() -> None:
    program = "import sys, farm_notebook.stores.redis; print('redis' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


async def test_making_one_connects_to_nothing(clients: Clients) -> None:
    async def silence(_told: bytes) -> bytes:
        return b""

    async with listening(silence) as (url, heard):
        clients(url)
        await asyncio.sleep(0.05)
        assert heard == []


def test_without_an_address_there_is_nothing_to_make() -> None:
    with pytest.raises(ConfigError, match=r"redis\.url"):
        RedisClient(RedisConfig())


async def test_a_missing_package_names_the_extra(clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_client, "_exceptions", None)
    monkeypatch.delitem(sys.modules, "redis.asyncio", raising=False)
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(MissingExtraError, match=r'pip install "farm-notebook\[redis\]"'):
        await ping(clients("redis://127.0.0.1:1/0"))


def test_the_first_use_may_be_by_many_at_once(server: RedisServer) -> None:
    program = f"""
import asyncio
from farm_notebook.config import RedisConfig
from farm_notebook.stores.redis_client import RedisClient

async def main():
    client = RedisClient(RedisConfig(url={server.url!r}), timeout_s={PATIENT_S})
    print(await asyncio.gather(*[client.run(lambda redis: redis.ping()) for _ in range(5)]))
    await client.aclose()

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == (f"{[True] * 5}\n", 0), done.stderr


async def test_a_parameter_of_the_address_that_means_nothing_is_named(clients: Clients) -> None:
    with pytest.raises(ConfigError, match=r"redis\.url.*bogus"):
        await ping(clients("redis://127.0.0.1:1/0?bogus=1"))


async def test_the_address_chooses_the_database(server: RedisServer, clients: Clients) -> None:
    first, other = clients(server.url), clients(server.url.replace("/0", "/3"))
    await first.run(lambda redis: redis.set("test:a", b"one"))
    assert await first.run(lambda redis: redis.get("test:a")) == b"one"
    assert await other.run(lambda redis: redis.get("test:a")) is None


# A server that is away


async def test_a_server_that_is_away_is_left_alone_longer_and_longer(clients: Clients) -> None:
    clock = Clock()

    async def hang_up(_told: bytes) -> bytes:
        raise ConnectionResetError

    async with listening(hang_up) as (url, connections):
        client = clients(url, clock=clock)
        pauses = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
        for pause_s in pauses:
            before = len(connections)
            with pytest.raises(ConnectionError, match=r"127\.0\.0\.1"):
                await ping(client)
            tried = len(connections)
            assert tried > before
            clock.now += pause_s - 0.01
            for _ in range(5):
                with pytest.raises(ConnectionError, match=r"127\.0\.0\.1"):
                    await ping(client)
            assert (len(connections), client.is_away) == (tried, True)
            clock.now += 0.02
            assert not client.is_away
        assert max(pauses) == LONGEST_PAUSE_S


async def test_a_server_that_takes_long_to_fail_is_left_alone_so_much_longer(clients: Clients) -> None:
    clock = Clock()

    async def take_your_time(_told: bytes) -> bytes:
        clock.now += 0.5
        await asyncio.sleep(PATIENT_S)
        return b""

    async with listening(take_your_time) as (url, _):
        client = clients(url, clock=clock, timeout_s=0.1)
        with pytest.raises(ConnectionError, match=r"no answer within 0\.1 s"):
            await ping(client)
        clock.now += 14.9
        assert client.is_away
        clock.now += 0.2
        assert not client.is_away


async def test_while_one_looks_whether_it_is_back_the_others_do_not_wait(clients: Clients) -> None:
    clock, is_up, is_asked, may_answer = Clock(), asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def answer(_told: bytes) -> bytes:
        if not is_up.is_set():
            raise ConnectionResetError
        is_asked.set()
        await may_answer.wait()
        return b"+PONG\r\n"

    async with listening(answer) as (url, _):
        client = clients(url, clock=clock)
        with pytest.raises(ConnectionError):
            await ping(client)
        is_up.set()
        clock.now += 1.01
        looking = asyncio.create_task(ping(client))
        await is_asked.wait()
        with pytest.raises(ConnectionError):
            await ping(client)
        may_answer.set()
        assert await looking is True
        assert await ping(client) is True


async def test_it_is_back_when_the_server_is(own_server: RedisServer, clients: Clients) -> None:
    clock = Clock()
    client = clients(own_server.url, clock=clock)
    assert await ping(client)
    own_server.stop()
    for _ in range(3):
        with pytest.raises(ConnectionError):
            await ping(client)
        clock.now += 100
    own_server.start()
    assert await ping(client)
    own_server.stop()
    with pytest.raises(ConnectionError):
        await ping(client)
    clock.now += 1.01
    own_server.start()
    assert await ping(client), "it begins with short pauses again"


async def test_a_restart_between_two_uses_is_not_noticed(own_server: RedisServer, clients: Clients) -> None:
    client = clients(own_server.url)
    for _ in range(3):
        assert await asyncio.gather(*[ping(client) for _ in range(10)]) == [True] * 10
        own_server.restart()
    assert not client.is_away


async def test_those_that_fail_together_count_once(clients: Clients) -> None:
    clock = Clock()
    client = clients("redis://127.0.0.1:1/0", clock=clock)
    failed = await asyncio.gather(*[ping(client) for _ in range(20)], return_exceptions=True)
    assert {type(error) for error in failed} == {ConnectionError}
    clock.now += 1.01
    assert not client.is_away


async def test_what_a_server_refuses_is_an_error_and_no_outage(server: RedisServer, clients: Clients) -> None:
    client = clients(server.url)
    with pytest.raises(OSError, match="unknown command") as caught:
        await client.run(lambda redis: redis.execute_command("NONSENSE"))
    assert not isinstance(caught.value, ConnectionError)
    assert await ping(client)


async def test_more_uses_than_connections_wait_for_each_other(server: RedisServer, clients: Clients) -> None:
    client = clients(server.url)
    assert await asyncio.gather(*[ping(client) for _ in range(300)]) == [True] * 300


async def test_whoever_is_cancelled_nobody_gets_anothers_answer(
    server: RedisServer, clients: Clients
) -> None:
    client, chance = clients(server.url), random.Random(1)
    for number in range(50):
        await client.run(lambda redis, number=number: redis.set(f"test:{number}", b"%d" % number))  # type: ignore[misc]

    async def ask(number: int) -> None:
        found = await client.run(lambda redis: redis.get(f"test:{number}"))
        assert found == b"%d" % number

    for _ in range(30):
        asked = [asyncio.create_task(ask(number)) for number in range(50)]
        for _ in range(chance.randrange(12)):
            await asyncio.sleep(0)
        for task in chance.sample(asked, 20):
            task.cancel()
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert all(outcome is None or isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)


async def test_who_is_cancelled_while_it_connects_leaves_no_connection_to_another_database(
    server: RedisServer, clients: Clients
) -> None:
    is_asked, may_tell = threading.Event(), threading.Event()

    def password() -> str:
        is_asked.set()
        may_tell.wait(PATIENT_S)
        return ""

    client = clients(server.url.replace("/0", "/5"), password)
    connecting = asyncio.create_task(client.run(lambda redis: redis.set("test:where", b"not here")))
    await asyncio.to_thread(is_asked.wait, PATIENT_S)
    connecting.cancel()
    await asyncio.wait([connecting])
    may_tell.set()
    await client.run(lambda redis: redis.set("test:where", b"here"))
    assert await clients(server.url).run(lambda redis: redis.get("test:where")) is None
    assert await client.run(lambda redis: redis.get("test:where")) == b"here"


# Passwords


@pytest.fixture
def locked_server(tmp_path: Path) -> Iterator[RedisServer]:
    """One that wants a password."""
    server = RedisServer(tmp_path, "--requirepass", PASSWORD)
    yield server
    server.stop()


async def test_the_password_is_asked_for_at_each_connecting(
    locked_server: RedisServer, clients: Clients
) -> None:
    asked: list[str] = []
    passwords = {"now": PASSWORD}

    def password() -> str:
        asked.append(passwords["now"])
        return passwords["now"]

    client = clients(locked_server.url, password)
    assert await ping(client)
    assert await ping(client)
    assert asked == [PASSWORD]
    await client.run(lambda redis: redis.config_set("requirepass", "another"))
    passwords["now"] = "another"
    await client.aclose()
    assert await ping(client)
    assert asked == [PASSWORD, "another"]


async def test_a_user_of_the_access_control_is_let_in(server: RedisServer, clients: Clients) -> None:
    await clients(server.url).run(
        lambda redis: redis.execute_command("ACL", "SETUSER", "ann", "on", f">{PASSWORD}", "~test:*", "+@all")
    )
    assert (
        await clients(server.url, lambda: PASSWORD, username="ann").run(lambda redis: redis.acl_whoami())
        == "ann"
    )


@pytest.mark.parametrize("password", ["", "wrong-4242"])
async def test_who_is_not_let_in_is_told_so_without_the_password(
    password: str, locked_server: RedisServer, clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client = clients(locked_server.url, lambda: password)
    with pytest.raises(ConnectionError, match=r"WRONGPASS|invalid|Authentication") as caught:
        await ping(client)
    told = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(client) + str(vars(client))
    assert client.is_away
    assert not password or password not in told
    what = "is not what it wants" if password else "is not set"
    assert str(caught.value).endswith(f" The variable REDIS_PASSWORD (redis.password_env) {what}.")


async def test_where_no_variable_is_named_that_is_the_fix(locked_server: RedisServer) -> None:
    client = RedisClient(RedisConfig(url=locked_server.url, password_env=None), timeout_s=PATIENT_S)
    with pytest.raises(ConnectionError, match=r"Name the variable .* with redis\.password_env\.$"):
        await ping(client)
    await client.aclose()


async def test_a_server_that_repeats_the_password_is_not_quoted(
    clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    async def parrot(told: bytes) -> bytes:
        return b"-ERR unknown command 'AUTH', with args beginning with: '%s'\r\n" % PASSWORD.encode()

    async with listening(parrot) as (url, heard):
        client = clients(url, lambda: PASSWORD)
        with pytest.raises(OSError, match="unknown command 'AUTH'") as caught:
            await ping(client)
        assert PASSWORD.encode() in heard[0], "or this test sees nothing"
    told = "".join(traceback.format_exception(caught.value))
    assert PASSWORD not in told + caplog.text + repr(client) + str(vars(client))


# Loops and processes


def test_it_can_be_used_while_the_interpreter_ends(server: RedisServer) -> None:
    program = f"""
import asyncio, atexit
from farm_notebook.config import RedisConfig
from farm_notebook.stores.redis_client import RedisClient

client = RedisClient(RedisConfig(url={server.url!r}), timeout_s={PATIENT_S})

async def last_words():
    print(await client.run(lambda redis: redis.ping()))
    await client.aclose()

async def first_words():
    await asyncio.to_thread(print, "hello")

asyncio.run(first_words())
atexit.register(lambda: asyncio.run(last_words()))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("hello\nTrue\n", "")


def test_each_event_loop_has_connections_of_its_own(server: RedisServer) -> None:
    client = RedisClient(RedisConfig(url=server.url), timeout_s=PATIENT_S)

    async def use() -> bool:
        try:
            return await ping(client)
        finally:
            await client.aclose()

    assert [asyncio.run(use()) for _ in range(3)] == [True] * 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
async def test_a_forked_child_connects_anew_and_leaves_its_parents_alone(
    server: RedisServer, clients: Clients
) -> None:
    client = clients(server.url)
    mine = await client.run(lambda redis: redis.client_id())

    async def is_another() -> bool:
        return await client.run(lambda redis: redis.client_id()) != mine

    assert await is_true_in_fork(is_another)
    assert await client.run(lambda redis: redis.client_id()) == mine
