"""A server on loopback that fails on cue: it plays a script of bytes, waits and resets for each request.

It knows of HTTP only where a request ends; what it sends is the script's business, and may be no HTTP at all.
It runs in a thread of its own, so that a test may block, and keeps what it was sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import socket
import ssl
import struct
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import trustme

TLS_HANDSHAKE = b"\x16"  # the first byte of every TLS connection
NOT_HTTP = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
GIVE_UP_S = 5.0
CLOSING_TURNS = 10  # of the event loop, until the sockets of tasks that have ended are closed


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Stall:
    """Say nothing more, and keep the connection until the client leaves."""


@dataclass(frozen=True, slots=True)
class Close:
    """End the connection in good order (FIN)."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Break the connection (RST)."""


Step: TypeAlias = bytes | Wait | Stall | Close | Reset  # bytes are sent as they are
Script: TypeAlias = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asked.

    Args:
        headers: Their names in small letters.
        is_over: Set when the connection has ended, whoever ended it.
    """

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    is_over: threading.Event


class FaultyServer:
    """Listens on a port of its own while the ``with`` block of ``serving`` lasts.

    Args:
        tls: Speak TLS with this context; ``None`` is plain TCP.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.connections = 0  # so far
        self.port = 0
        self._tls = tls
        self._scripts: dict[str, list[Script]] = {}
        self._arrived = threading.Condition()

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def play(self, *scripts: Script, at: str = "") -> None:
        """Answer requests for paths that end with ``at`` with these scripts in turn, then with the last.

        Of several that fit, the longest ``at`` counts.
        """
        self._scripts[at] = list(scripts)

    def asked(self, at: str = "") -> list[Request]:
        """The requests so far for paths that end with ``at``."""
        return [request for request in self.requests if urlsplit(request.target).path.endswith(at)]

    def wait_asked(self, count: int = 1, at: str = "", within_s: float = GIVE_UP_S) -> bool:
        """Block until so many requests for ``at`` have come; whether they did in time."""
        with self._arrived:
            return self._arrived.wait_for(lambda: len(self.asked(at)) >= count, within_s)

    async def serve(self, started: threading.Event, stop: asyncio.Event) -> None:
        """Accept connections until ``stop``."""
        server = await asyncio.start_server(self._talk, "127.0.0.1", 0, ssl=self._tls)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await stop.wait()
        await _settle()  # what was accepted a moment ago cannot be attached to a closed server
        server.close()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in others:
                task.cancel()
            await asyncio.wait(others)
            await _settle()
        for _ in range(CLOSING_TURNS):
            await asyncio.sleep(0)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Play a script for each request; whatever it is at, the client's leaving ends it."""
        is_over = threading.Event()
        self.connections += 1
        playing: asyncio.Task[None] | None = None
        try:
            while (request := await _read_request(reader, writer, is_over)) is not None:
                with self._arrived:
                    self.requests.append(request)
                    self._arrived.notify_all()
                playing = asyncio.create_task(_play(self._next_script(request), writer))
        finally:
            is_over.set()
            if playing is not None:
                playing.cancel()
                with contextlib.suppress(asyncio.CancelledError, OSError):
                    await playing
            writer.transport.abort()

    def _next_script(self, request: Request) -> Script:
        path = urlsplit(request.target).path
        fitting = [at for at in self._scripts if path.endswith(at)]
        if not fitting:
            return (NOT_HTTP, Close())
        scripts = self._scripts[max(fitting, key=len)]
        return scripts.pop(0) if len(scripts) > 1 else scripts[0]


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Generator[FaultyServer, None, None]:
    """A server in a thread of its own, gone at the end with all its connections."""
    server, started, stop = FaultyServer(tls), threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # failed handshakes are what some clients are here for

    thread = threading.Thread(target=loop.run_until_complete, args=(server.serve(started, stop),))
    thread.start()
    assert started.wait(GIVE_UP_S)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


@contextmanager
def deaf() -> Iterator[int]:
    """A port that lets nobody in: its queue of connections to accept is full, and nobody accepts them."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        while True:
            client = stack.enter_context(socket.socket())
            client.settimeout(0.2)
            try:
                client.connect(listener.getsockname())
            except TimeoutError:
                break
        yield listener.getsockname()[1]


def own_certificate() -> tuple[ssl.SSLContext, bytes]:
    """A server's TLS with a certificate that nobody trusts, and the PEM of the authority that issued it."""
    authority = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    return tls, authority.cert_pem.bytes()


def closed_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


async def _settle() -> None:
    """Wait until every task has begun: one that is ended before its first step closes nothing."""

    def has_begun(task: asyncio.Task[Any]) -> bool:
        work: Any = task.get_coro()
        return inspect.getcoroutinestate(work) != inspect.CORO_CREATED

    while not all(map(has_begun, asyncio.all_tasks())):  # noqa: ASYNC110 - some are asyncio's own
        await asyncio.sleep(0)


async def _play(script: Script, writer: asyncio.StreamWriter) -> None:
    for step in script:
        match step:
            case bytes():
                writer.write(step)
                await writer.drain()
            case Wait(seconds):
                await asyncio.sleep(seconds)
            case Stall():
                await asyncio.Event().wait()
            case Close():
                writer.close()
            case Reset():
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()


async def _read_request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_over: threading.Event
) -> Request | None:
    """The next request, or ``None`` where the connection ended instead."""
    try:
        first = await reader.readexactly(1)
        if first == TLS_HANDSHAKE:  # as real servers answer where TLS is spoken to a plain port
            writer.write(NOT_HTTP)
            return None
        head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request_line, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        method, target, _ = request_line.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    except (asyncio.IncompleteReadError, OSError):
        return None
    return Request(method, target, headers, body, is_over)
