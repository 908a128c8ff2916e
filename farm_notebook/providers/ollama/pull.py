"""Brings models to the server: one pull a model, however many wait for it.

The server keeps what has arrived of a pull that broke off, and goes on from there with the next.
Source: docs/api.md, "Pull a Model"; PullModel of server/images.go and downloadBlob of server/download.go.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from pydantic_core import from_json

from farm_notebook.errors import (
    FarmError,
    FetchError,
    IncompleteStreamError,
    InvalidRequestError,
    ModelNotFoundError,
    ProviderConnectionError,
    ProviderError,
)
from farm_notebook.providers.ollama.client import PROVIDER, OllamaClient
from farm_notebook.providers.ollama.names import full_name, short_name
from farm_notebook.providers.ollama.ndjson import json_lines
from farm_notebook.types import LoadProgress, ModelRef

__all__ = ["Layers", "Pulls"]

WAITS_S = (0.5, 2.0, 5.0)  # before each further try of a pull whose connection broke


class Layers:
    """How far the parts of a model are: each has a digest, and they come one after the other."""

    def __init__(self) -> None:
        self._totals: dict[str, int] = {}
        self._completed: dict[str, int] = {}

    def add(self, status: Mapping[str, Any]) -> LoadProgress | None:
        """Take one line of the server's; the progress of the whole, or ``None`` where it is no further.

        Bytes never grow fewer, although the server takes some back when it has to try again.

        Raises:
            TypeError: Not a line of a pull.
        """
        words = status["status"]
        if not isinstance(words, str):
            raise TypeError(f"{words!r} is no status")
        if digest := status.get("digest"):
            self._totals[digest] = max(status.get("total") or 0, self._totals.get(digest, 0))
            self._completed[digest] = max(status.get("completed") or 0, self._completed.get(digest, 0))
        elif words.startswith("verifying"):  # all are there; the last bytes of each need not have been told
            self._completed = {digest: max(self._totals[digest], n) for digest, n in self._completed.items()}
            return LoadProgress("verify", self.completed, self.total)
        elif self._totals:
            return None
        return LoadProgress("fetch", self.completed, self.total)

    @property
    def completed(self) -> int:
        """Bytes of all parts that are there."""
        return sum(self._completed.values())

    @property
    def total(self) -> int | None:
        """Bytes of all parts that were told of; ``None`` where one has no size yet."""
        return sum(self._totals.values()) if self._totals and all(self._totals.values()) else None


class _Pull:
    """One model on its way; it goes on for as long as anyone follows it."""

    def __init__(self, work: AsyncGenerator[LoadProgress, None]) -> None:
        self.progress: LoadProgress | None = None
        self.followers = 0
        self._moved = asyncio.Event()
        self.task = asyncio.create_task(self._run(work))
        self.task.add_done_callback(lambda _: self._moved.set())

    async def follow(self) -> AsyncGenerator[LoadProgress, None]:
        """The newest progress whenever there is some.

        Raises:
            FarmError: What the pull ended with.
        """
        shown: LoadProgress | None = None
        self.followers += 1
        try:
            while not (self.task.done() and self.progress is shown):
                if self.progress is not shown and self.progress is not None:
                    shown = self.progress
                    yield shown
                else:
                    await self._moved.wait()
            if self.task.cancelled():
                raise ProviderConnectionError(
                    "The farm was closed while the model was on its way. What has arrived is kept.",
                    provider=PROVIDER,
                )
            self.task.result()
        finally:
            self.followers -= 1
            if not self.followers:
                await self.cancel()

    async def cancel(self) -> None:
        """Stop, and wait until the connection is closed."""
        self.task.cancel()
        await asyncio.wait([self.task])
        if not self.task.cancelled():
            self.task.exception()  # seen, though by nobody

    async def _run(self, work: AsyncGenerator[LoadProgress, None]) -> None:
        async with aclosing(work):
            async for progress in work:
                self.progress = progress
                self._moved.set()
                self._moved = asyncio.Event()


class Pulls:
    """The models that are on their way to one server.

    Args:
        client: Of the server.
        waits_s: Seconds before each further try of a pull whose connection broke.
    """

    def __init__(self, client: OllamaClient, waits_s: Sequence[float] = WAITS_S) -> None:
        self._client = client
        self._waits_s = waits_s
        self._pulls: dict[str, _Pull] = {}

    @property
    def progress(self) -> dict[str, LoadProgress | None]:
        """How far each model is that is on its way now."""
        return {name: pull.progress for name, pull in self._pulls.items() if not pull.task.done()}

    async def pull(self, model: str, *, is_here: bool) -> AsyncGenerator[LoadProgress, None]:
        """Bring a model, or go along with who already does. Leaving ends it only for the last one to leave.

        Args:
            model: Its name.
            is_here: Whether the server has it in some version, so that there may be nothing to fetch.

        Raises:
            ModelNotFoundError: The registry has no model of that name.
            FetchError: The server could not fetch it.
            ProviderConnectionError: The connection to the server broke, again and again.
        """
        name = full_name(model)
        pull = self._pulls.get(name)
        if pull is None or pull.task.done() or not pull.followers:
            pull = self._pulls[name] = _Pull(self._fetch(name, is_here=is_here))
        try:
            async with aclosing(pull.follow()) as following:
                async for progress in following:
                    yield progress
        finally:
            if pull.task.done() and self._pulls.get(name) is pull:
                del self._pulls[name]

    async def aclose(self) -> None:
        """End every pull."""
        await asyncio.gather(*(pull.cancel() for pull in self._pulls.values()))

    async def _fetch(self, name: str, *, is_here: bool) -> AsyncGenerator[LoadProgress, None]:
        """One pull with its further tries; of a model that is here, only of bytes that are missing."""
        layers = Layers()
        waits = iter(self._waits_s)
        is_silent = is_here
        while True:
            before = layers.completed
            try:
                async with aclosing(self._lines(name, layers)) as reports:
                    async for progress in reports:
                        is_silent = is_silent and progress.completed_bytes == (progress.total_bytes or 0)
                        if not is_silent:
                            yield progress
                return
            except (ProviderConnectionError, IncompleteStreamError):
                if layers.completed > before:  # it moved: that connection was worth its try
                    waits = iter(self._waits_s)
                wait_s = next(waits, None)
                if wait_s is None:
                    raise
                await asyncio.sleep(wait_s)

    async def _lines(self, name: str, layers: Layers) -> AsyncGenerator[LoadProgress, None]:
        ref = ModelRef(PROVIDER, short_name(name))
        async with (
            self._client.opened("/api/pull", {"model": name, "stream": True}) as chunks,
            aclosing(json_lines(chunks)) as reads,
        ):
            async for lines in reads:
                for line in lines:
                    try:
                        status = from_json(line)
                        if "error" in status:
                            raise self._failed(status, ref)
                        if status["status"] == "success":
                            return
                        progress = layers.add(status)
                    except (ValueError, TypeError, KeyError) as error:
                        if isinstance(error, FarmError):
                            raise
                        raise ProviderError(f"{ref} sent an odd line of a pull: {line[:200]!r}.") from None
                    if progress is not None:
                        yield progress
        raise IncompleteStreamError(f"The pull of {ref} ended before it was done.", provider=PROVIDER)

    def _failed(self, status: Mapping[str, Any], ref: ModelRef) -> FarmError:
        """The error for what went wrong between the server and the registry."""
        error = self._client.explain(status, ref)
        if isinstance(error, ModelNotFoundError):
            return ModelNotFoundError(
                f"{str(ref)!r} is not in Ollama's registry ({status['error']}). Its models are listed at "
                "https://ollama.com/library; those of Hugging Face are called hf.co/USER/MODEL."
            )
        if isinstance(error, InvalidRequestError) or type(error) is ProviderError:
            return FetchError(
                f"The Ollama server could not fetch {error}. What has arrived is kept; try again."
            )
        return error
