"""Starts, finds and stops an Ollama server on this machine; what it did not start it leaves alone.

A server outlives who started it. A file in the cache folder says which it is, so that any later process can
stop it; a lock beside the file lets one process at a time start or stop.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import filelock

from farm_notebook.config import FarmConfig
from farm_notebook.errors import (
    BackendCrashedError,
    ConfigError,
    FarmError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
)
from farm_notebook.providers.ollama.client import PROVIDER, OllamaClient, is_refused
from farm_notebook.providers.ollama.container import ServeContainer
from farm_notebook.providers.ollama.process import ServeProcess

__all__ = ["Service", "ServiceStatus", "Stopped"]

Daemon: TypeAlias = ServeProcess | ServeContainer
Stopped: TypeAlias = Literal["stopped", "not running", "not ours"]
"""What came of stopping: it was done, there was nothing, or somebody else started what runs."""

PROBES = 3
PROBE_PAUSE_S = 0.1
PROBE_S = 5.0
POLL_S = 0.05
LOCK_POLL_S = 0.1
DOWNLOAD = "https://ollama.com/download"
_KINDS: dict[str, type[Daemon]] = {"process": ServeProcess, "container": ServeContainer}


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """What is known of the server.

    Args:
        url: Where it is, or would be.
        version: Of the server that answers; ``None`` where none does.
        started_here: What this package started and still runs, in words; ``None`` where there is nothing.
        trouble: Why no version is known, in words.
    """

    url: str
    version: str | None = None
    started_here: str | None = None
    trouble: str = ""


class Service:
    """The server at the configured address.

    Args:
        config: The settings.
        client: Of that address.
    """

    def __init__(self, config: FarmConfig, client: OllamaClient) -> None:
        self._config = config
        self._client = client

    @property
    def is_startable(self) -> bool:
        """Whether the address is one where this machine's own server would be."""
        return not self._obstacle()

    @property
    def remedy(self) -> str:
        """What a user can do where nothing answers."""
        if not self._client.address.is_loopback:
            return "start a server there with `ollama serve`, or set OLLAMA_URL to where one is"
        if shutil.which("ollama") or shutil.which("docker"):
            return "farm ollama start"
        return f"install Ollama from {DOWNLOAD} and run `farm ollama start`, or set OLLAMA_URL"

    async def status(self) -> ServiceStatus:
        """Look, and change nothing.

        Raises:
            ConfigError: The configured URL is not valid.
        """
        address = self._client.address
        daemon = self._recorded() if address.is_loopback else None
        started_here = str(daemon) if daemon is not None and await daemon.is_alive() else None
        try:
            version = await self._client.version(PROBE_S)
        except FarmError as error:
            return ServiceStatus(address.url, None, started_here, str(error))
        return ServiceStatus(address.url, version, started_here)

    async def start(self) -> ServiceStatus:
        """Start a server unless one answers, and wait until it does.

        Raises:
            ConfigError: The address is not this machine's own.
            ProviderConnectionError: There is nothing to start, something else listens there, or the server
                ended before it answered; then with its last words.
            ProviderTimeoutError: It did not answer in ``start_timeout_s``, and was stopped again.
        """
        self._require_own_machine()
        async with self._lock():
            if not await self._is_free():
                return await self.status()
            if (daemon := self._recorded()) is None or not await daemon.is_alive():
                daemon = await self._launch()
            await self._wait(daemon)
        return await self.status()

    async def stop(self) -> Stopped:
        """Stop the server if it was started here.

        Raises:
            ConfigError: The address is not this machine's own.
            ProviderConnectionError: Docker does not stop it.
        """
        self._require_own_machine()
        async with self._lock():
            if (daemon := self._recorded()) is not None and await daemon.is_alive():
                await daemon.stop()
                self._state_file.unlink(missing_ok=True)
                return "stopped"
            self._state_file.unlink(missing_ok=True)
            return "not running" if (await self.status()).version is None else "not ours"

    async def _is_free(self) -> bool:
        """Whether nothing listens at the address yet.

        Raises:
            ProviderConnectionError: Something does, and is no Ollama.
        """
        for tries_left in reversed(range(PROBES)):
            try:
                await self._client.version(PROBE_S)
            except FarmError as error:
                if is_refused(error):
                    return True
                if not tries_left or not isinstance(error, ProviderConnectionError):
                    raise self._taken(error) from error
                await asyncio.sleep(
                    PROBE_PAUSE_S
                )  # a server that was just killed may cut its last caller off
            else:
                break
        return False

    def _taken(self, error: FarmError) -> ProviderConnectionError:
        return ProviderConnectionError(
            f"What listens at {self._client.address.url} is no Ollama. End it, or set OLLAMA_URL to a free "
            f"port. It was found thus: {error}",
            provider=PROVIDER,
        )

    async def _launch(self) -> Daemon:
        address = self._client.address
        daemon: Daemon
        if binary := shutil.which("ollama"):
            daemon = await ServeProcess.launch(binary, address, self._folder / f"serve-{address.port}.log")
        elif docker := shutil.which("docker"):
            daemon = await ServeContainer.launch(docker, address)
        else:
            raise ProviderConnectionError(
                f"Neither `ollama` nor `docker` is on the PATH. Install Ollama from {DOWNLOAD}.",
                provider=PROVIDER,
            )
        kind = next(kind for kind, of in _KINDS.items() if isinstance(daemon, of))
        text = json.dumps({"kind": kind} | asdict(daemon))
        part = self._state_file.with_suffix(".part")
        part.write_text(text, encoding="utf-8")
        part.replace(self._state_file)
        return daemon

    async def _wait(self, daemon: Daemon) -> None:
        """Until the server answers; one that does not is not left behind."""
        limit_s = self._config.ollama.start_timeout_s
        give_up_at = time.monotonic() + limit_s
        try:
            while True:
                with suppress(ProviderError):
                    await self._client.version(PROBE_S)
                    return
                if not await daemon.is_alive():
                    raise BackendCrashedError(
                        f"The Ollama server ({daemon}) ended before it answered. Its last words: "
                        f"{await daemon.last_words() or 'none'}",
                        provider=PROVIDER,
                    )
                if time.monotonic() > give_up_at:
                    raise ProviderTimeoutError(
                        f"The Ollama server ({daemon}) did not answer within {limit_s:g} s and was stopped. "
                        f"Raise FARM_OLLAMA__START_TIMEOUT_S. Its last words: "
                        f"{await daemon.last_words() or 'none'}",
                        timer="connect",
                        provider=PROVIDER,
                    )
                await asyncio.sleep(POLL_S)
        except BaseException:
            await daemon.stop()
            self._state_file.unlink(missing_ok=True)
            raise

    def _obstacle(self) -> str:
        """Why no server can be started at the address; empty where one can."""
        address = self._client.address
        if not address.is_loopback:
            return "is not this machine's own, so that nothing can be started or stopped there from here"
        if address.scheme != "http" or address.path:
            return "is that of a proxy, not of the server behind it"
        return ""

    def _require_own_machine(self) -> None:
        if obstacle := self._obstacle():
            raise ConfigError(
                f"{self._client.address.url} {obstacle}. Set OLLAMA_URL to http://127.0.0.1:11434, or run "
                "`ollama serve` there."
            )

    def _recorded(self) -> Daemon | None:
        """The server that was started last, which may have ended; ``None`` where the file is not ours."""
        try:
            fields: dict[str, Any] = json.loads(self._state_file.read_text("utf-8"))
            return _KINDS[fields.pop("kind")](**fields)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def _lock(self) -> AbstractAsyncContextManager[object]:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / "service.lock"
        return filelock.AsyncFileLock(path, run_in_executor=False, poll_interval=LOCK_POLL_S)

    @property
    def _folder(self) -> Path:
        return self._config.cache_dir / PROVIDER

    @property
    def _state_file(self) -> Path:
        return self._folder / f"service-{self._client.address.port}.json"
