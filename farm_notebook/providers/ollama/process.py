"""An Ollama server as a process of this machine, started here and found again by whoever comes later."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from farm_notebook.errors import ProviderConnectionError
from farm_notebook.providers.ollama.client import PROVIDER
from farm_notebook.providers.ollama.commands import run
from farm_notebook.providers.ollama.url import Address

__all__ = ["ServeProcess"]

LAUNCHER = Path(__file__).with_name("launch.py")
TERM_S = 10.0  # for a server to end its models' processes
POLL_S = 0.05
SAME_MOMENT_S = 1.0  # the system tells when a process began by a clock that may be set meanwhile
_LAST_WORDS = 3
_LAST_BYTES = 4096


@dataclass(frozen=True, slots=True)
class ServeProcess:
    """One ``ollama serve``.

    Args:
        pid: Its process id, which the system gives to another after its end.
        created: When it began, in seconds since the epoch: with the id, what nothing else has.
        log: The file of its output.
    """

    pid: int
    created: float
    log: str

    def __str__(self) -> str:
        return f"process {self.pid}"

    @classmethod
    async def launch(cls, binary: str, address: Address, log: Path) -> ServeProcess:
        """Start it in a session of its own, so that it outlives this process.

        Raises:
            ProviderConnectionError: The system does not start it.
        """
        environment = {**os.environ, "OLLAMA_HOST": _bound(address)}
        command = (sys.executable, "-P", str(LAUNCHER), str(log), binary, "serve")
        outcome = await run(*command, environment=environment)
        if outcome.code:
            raise ProviderConnectionError(
                f"`{binary} serve` cannot be started: {outcome.words}.", provider=PROVIDER
            )
        pid = int(outcome.output)
        try:
            created = psutil.Process(pid).create_time()
        except psutil.NoSuchProcess:  # it is gone already, and what it said is in its log
            created = 0.0
        return cls(pid, created, str(log))

    async def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._find() is not None

    async def stop(self) -> None:
        """End it and the processes of its models, gently first."""
        if (process := self._find()) is None:
            return
        family = [process]
        with contextlib.suppress(psutil.NoSuchProcess):
            family += process.children(recursive=True)
            process.terminate()
        await _gone(process, TERM_S)
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()  # does nothing to one whose id is another's by now
        await _gone(process, TERM_S)

    async def last_words(self) -> str:
        """The end of what it wrote."""
        try:
            content = _end_of(Path(self.log))
        except OSError:
            return ""
        return " | ".join(line.strip() for line in content.splitlines()[-_LAST_WORDS:] if line.strip())

    def _find(self) -> psutil.Process | None:
        """The process, unless it ended and its id is free or somebody else's."""
        try:
            process = psutil.Process(self.pid)
            is_it = abs(process.create_time() - self.created) < SAME_MOMENT_S
            return process if is_it and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


async def _gone(process: psutil.Process, within_s: float) -> None:
    """Wait for a process that is nobody's child here; one that nobody reaps counts as gone."""
    with contextlib.suppress(TimeoutError, psutil.NoSuchProcess):
        async with asyncio.timeout(within_s):
            # The system tells nobody but a parent, so that there is no event to wait for.
            while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:  # noqa: ASYNC110
                await asyncio.sleep(POLL_S)


def _end_of(log: Path) -> str:
    return log.read_bytes()[-_LAST_BYTES:].decode(errors="replace")


def _bound(address: Address) -> str:
    """The address to listen on: loopback, as a number, for the server may take a name for all interfaces."""
    host = "127.0.0.1" if "localhost" in address.host else address.host
    return Address("http", host, address.port).authority
