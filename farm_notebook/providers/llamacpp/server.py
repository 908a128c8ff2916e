"""A llama.cpp child process: started, asked, noticed when it dies, and not left behind.

A child listens on loopback only and answers only to a random key that it gets through its standard
input, so that neither its arguments nor its environment show it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import secrets
import signal
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import httpx2

from farm_notebook.errors import (
    BackendCrashedError,
    LoadError,
    MissingExtraError,
    ProviderTimeoutError,
)
from farm_notebook.lifecycle.version import next_generation
from farm_notebook.providers.llamacpp.abilities import Abilities
from farm_notebook.providers.llamacpp.files import ModelFiles
from farm_notebook.providers.llamacpp.window import Window
from farm_notebook.types import ModelRef

__all__ = ["PROVIDER", "Exchange", "LlamaServer", "ServerSpec"]

CHILD_SCRIPT = Path(__file__).with_name("child.py")
KEPT_LOG_LINES = 40
EXIT_NOTICE_S = 1.0  # from a broken connection to the death of the process that held it
PROVIDER = "llamacpp"
_LOGGED_ERROR = re.compile(r"[\d.]+ E (?P<words>.*)")


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """What makes two requests share one child process.

    Args:
        files: Of the model.
        context_tokens, batch_tokens, threads, gpu_layers, parallel: As in ``LlamaCppConfig``.
        embedding: Whether it makes vectors, and not answers.
        model: What the user called it.
        is_mapped: Weights stay in their file, and are read from there when they are needed; who writes to it
            changes the model, or ends the process. Else they are copied into memory.
    """

    files: ModelFiles
    context_tokens: int
    batch_tokens: int
    threads: int
    gpu_layers: int
    parallel: int = 1
    embedding: bool = False
    model: str = field(default="", compare=False)
    is_mapped: bool = field(default=False, compare=False)

    @property
    def ref(self) -> ModelRef:
        """The model's full name."""
        return ModelRef(PROVIDER, self.model or self.files.name)

    def as_settings(self, key: str) -> dict[str, object]:
        """The child's settings as JSON values."""
        settings = asdict(self)
        for name in ("files", "model"):
            del settings[name]
        files = self.files
        return {
            **settings,
            "weights": str(files.weights.resolve()),  # a link may be made to lead elsewhere meanwhile
            "adapters": [str(path.resolve()) for path in files.adapters],
            "projector": str(files.projector.resolve()) if files.projector else "",
            "key": key,
            "parent_pid": os.getpid(),
        }


@dataclass(eq=False, slots=True)
class Exchange:
    """A request, and what is read of its answer.

    Args:
        response: Once it has begun.
        is_interrupted: The model goes, and nothing more will come.
    """

    response: httpx2.Response | None = None
    is_interrupted: bool = False


class LlamaServer:
    """One running child process.

    Args:
        spec: The model and how it is run.
    """

    def __init__(self, spec: ServerSpec) -> None:
        self.spec = spec
        self.base_url = ""
        self.abilities: Abilities | None = None  # until it was asked
        self.is_settling = False  # a caller left, of which it may not know yet
        self.generation = next_generation()
        self.size_bytes = 0
        self.devices: tuple[str, ...] = ()
        self.fingerprint: str | None = None
        self.digest: str | None = None  # until it was asked
        self._exchanges = set[Exchange]()
        self._key = secrets.token_urlsafe(32)
        self._process: asyncio.subprocess.Process | None = None
        self._is_stopped = False
        self._log: deque[str] = deque(maxlen=KEPT_LOG_LINES)
        self._log_reader: asyncio.Task[None] | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What a request must carry."""
        # llama.cpp closes a connection after a streamed answer, though it promises to keep it.
        return {"Authorization": f"Bearer {self._key}", "Connection": "close"}

    @cached_property
    def window(self) -> Window:
        """What its requests share."""
        return Window(self.spec.context_tokens, self.spec.parallel)

    @property
    def pid(self) -> int | None:
        """The child's process id."""
        return self._process.pid if self._process else None

    @property
    def is_running(self) -> bool:
        """Whether the child is up."""
        return self._process is not None and self._process.returncode is None

    async def start(self, timeout_s: float) -> None:
        """Start the child and wait until its model is loaded.

        Raises:
            LoadError: llama.cpp does not load the file.
            BackendCrashedError: The child died while loading.
            ProviderTimeoutError: Loading took longer than ``timeout_s``.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            str(CHILD_SCRIPT),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in a terminal is for the notebook, not for the model
        )
        self._process = process
        assert process.stdin
        assert process.stdout
        assert process.stderr
        self._log_reader = asyncio.create_task(self._read_log(process.stderr))
        try:
            if self._is_stopped:  # while the process was being made
                await self.stop()
            process.stdin.write(json.dumps(self.spec.as_settings(self._key)).encode() + b"\n")
            async with asyncio.timeout(timeout_s):
                answer = await process.stdout.readline()
        except TimeoutError:
            await self.stop()
            raise ProviderTimeoutError(
                f"{self.spec.files.name} was not loaded after {timeout_s:g} s. "
                "Raise FARM_LLAMACPP__START_TIMEOUT_S, or try a smaller model.",
                timer="first event",
                provider=PROVIDER,
            ) from None
        except BaseException:
            await self.stop()
            raise
        if not answer:
            raise await self.crash()
        report = json.loads(answer)
        if "error" in report:
            await self.stop()
            raise self._load_error(report["error"])
        self.base_url = f"http://127.0.0.1:{report['port']}"

    @contextmanager
    def exchange(self) -> Iterator[Exchange]:
        """An answer is read inside."""
        exchange = Exchange()
        self._exchanges.add(exchange)
        try:
            yield exchange
        finally:
            self._exchanges.discard(exchange)

    async def interrupt(self) -> None:
        """Close the connections of all answers that are being read."""
        for exchange in tuple(self._exchanges):
            exchange.is_interrupted = True
            if exchange.response is not None:
                await exchange.response.aclose()

    async def stop(self) -> None:
        """End the child now, or as soon as there is one; nothing in it needs saving."""
        self._is_stopped = True
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        await self._close_pipes()

    async def crash(self) -> BackendCrashedError:
        """The error for a child that went away by itself."""
        what = await self.death()
        await self._close_pipes()
        log = f" Its last words: {self._log[-1]}" if self._log else ""
        return BackendCrashedError(f"{what} It is started again.{log}", provider=PROVIDER)

    async def death(self) -> str:
        """Wait until the child is gone, and say how it went."""
        assert self._process
        code = await self._process.wait()
        how = f"signal {-code}, {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        return f"The llama.cpp process of {self.spec.files.name} died ({how})."

    async def died(self) -> bool:
        """Whether the child is dead, or dies within the moment that the news of it may take."""
        assert self._process
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(EXIT_NOTICE_S):
                await self._process.wait()
        return not self.is_running

    def _load_error(self, reason: str) -> Exception:
        if "xllamacpp" in reason:
            return MissingExtraError(
                f"The embedded backend is not installed ({reason}). Run: pip install xllamacpp"
            )
        # The first error is the cause; those after it only say what failed because of it.
        said = [found["words"].strip() for line in self._log if (found := _LOGGED_ERROR.match(line))]
        detail = f" llama.cpp says: {said[0]}." if said else ""
        files = self.spec.files
        weights, others = repr(str(files.weights)), ", ".join(repr(str(path)) for path in files.paths[1:])
        if others:
            return LoadError(
                f"{weights} does not load together with {others}.{detail} "
                "Check that each file is whole, and that an adapter or a projector was made for this model."
            )
        return LoadError(
            f"{weights} does not load as a GGUF model.{detail} "
            "Check that the file is whole and that its architecture is one llama.cpp knows."
        )

    async def _read_log(self, stream: asyncio.StreamReader) -> None:
        async for line in stream:
            self._log.append(line.decode(errors="replace").rstrip())

    async def _close_pipes(self) -> None:
        """Let the pipes' transports go with the process, not with the garbage collector."""
        assert self._process
        if self._log_reader:
            await self._log_reader
        if self._process.stdin and not self._process.stdin.is_closing():
            self._process.stdin.close()
            with contextlib.suppress(OSError):
                await self._process.stdin.wait_closed()
