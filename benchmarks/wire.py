"""Both ends of the synthetic stream: the server process, and a provider that puts the pipeline on it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import ClassVar

import httpx2

from benchmarks.measure import ROOT
from farm_notebook import register_provider
from farm_notebook.config import FarmConfig
from farm_notebook.providers.base import AIProvider
from farm_notebook.providers.http_body import body_chunks
from farm_notebook.providers.openai_wire import decode_stream, request_body
from farm_notebook.types import (
    ChatRequest,
    Embeddings,
    Event,
    LoadProgress,
    ModelInfo,
    ModelRef,
    ProviderStatus,
    Started,
)

__all__ = ["TOGETHER", "WireProvider", "synthetic_server"]

TOGETHER = (
    "Chunks are the server's; those that arrived in one read are one delta of ours, and one each of others."
)


@contextmanager
def synthetic_server() -> Iterator[str]:
    """A server process for as long as the block lasts; its base URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.children.sse_server"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


@register_provider
class WireProvider(AIProvider):
    """httpx2 and the shared wire, nothing else; its model's name is a number of chunks."""

    name = "benchwire"
    is_listed: ClassVar[bool] = False
    base_url: ClassVar[str] = ""

    def __init__(self, config: FarmConfig) -> None:
        super().__init__(config)
        self._client: httpx2.AsyncClient | None = None

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        if self._client is None:
            self._client = httpx2.AsyncClient(trust_env=False, timeout=None)
        yield Started(request.ref)
        url = f"{self.base_url}/{request.ref.model}"
        async with (
            self._client.stream("POST", url, json=request_body(request)) as response,
            aclosing(body_chunks(response)) as chunks,
            aclosing(decode_stream(chunks, request.ref)) as events,
        ):
            async for event in events:
                yield event

    async def embed(self, texts: Sequence[str], model: str) -> Embeddings:
        return Embeddings((), ModelRef(self.name, model))

    async def list_models(self) -> list[ModelInfo]:
        return []

    async def load_model(self, model: str) -> AsyncGenerator[LoadProgress, None]:
        ready: tuple[LoadProgress, ...] = ()
        for progress in ready:
            yield progress

    async def unload_model(self, model: str) -> bool:
        return False

    async def health_check(self) -> ProviderStatus:
        return ProviderStatus(self.name, healthy=True, detail="always ready")

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None
