"""A real Redis server of a test's own, to be stopped and started at will; and one that is no Redis."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

import pytest

from farm_notebook.stores.redis_client import RedisClient

__all__ = ["PATIENT_S", "Clients", "RedisServer", "listening"]

PATIENT_S = 30.0  # on a busy machine anything may take long
START_S = 30.0
STOP_S = 30.0

Clients = Callable[..., RedisClient]
"""Makes a client of an address, which is closed when the test ends."""


class RedisServer:
    """What a test needs of ``redis-server``; skips the test where there is none.

    It is one program with ``redis-check-rdb``, which does what the name says that it is called by.

    Args:
        folder: Where it keeps its files.
        options: More of its command line, as in ``"--requirepass", "sesame"``.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self._program = shutil.which("redis-server") or shutil.which("redis-check-rdb")
        if self._program is None:
            pytest.skip("there is no redis-server here: sh scripts/install_apt.sh")
        self.port = _free_port()
        self.log = folder / "redis.log"
        self._command = [
            "redis-server",
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(folder),
        ]
        self._command += ["--save", "", "--logfile", str(self.log), *options]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it on the same port, and wait until it takes connections."""
        self._process = subprocess.Popen(self._command, executable=self._program)
        give_up_at = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                if self._process.poll() is not None or time.monotonic() > give_up_at:
                    said = self.log.read_text() if self.log.exists() else ""
                    pytest.fail(f"redis-server did not start: {said[-2000:]}")
                time.sleep(0.01)
            else:
                return

    def stop(self) -> None:
        """Ask it to go, and wait until it has."""
        if self._process is not None:
            self.thaw()
            self._process.terminate()
            self._process.wait(STOP_S)
            self._process = None

    def kill(self) -> None:
        """End it at once, whatever it does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(STOP_S)
        self._process = None

    def freeze(self) -> None:
        """Have it take connections and answer nothing, until it is thawed."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Have it answer again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """End it at once and start it again; what it held is gone, unless its options say otherwise."""
        self.kill()
        self.start()


@asynccontextmanager
async def listening(answer: Callable[[bytes], Awaitable[bytes]]) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that is no Redis: its address, and what it was told so far, a piece for each connection."""
    heard: list[bytes] = []
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        heard.append(b"")
        number = len(heard) - 1
        with closing(writer), suppress(ConnectionResetError):
            while told := await reader.read(65536):
                heard[number] += told
                writer.write(await answer(told))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0", heard
    finally:
        server.close()
        for writer in writers:  # from Python 3.12 on the server would wait for who is connected
            writer.close()
        await server.wait_closed()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
