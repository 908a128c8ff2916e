"""Starts and ends the child processes that models run in: what the shelf asks for."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from farm_notebook.config import FarmConfig
from farm_notebook.devices import device_stats
from farm_notebook.errors import InvalidRequestError, LoadError
from farm_notebook.lifecycle.common import Lifecycle
from farm_notebook.lifecycle.finishing import finish
from farm_notebook.lifecycle.job import Tell
from farm_notebook.lifecycle.version import Facts
from farm_notebook.providers.llamacpp.client import Client
from farm_notebook.providers.llamacpp.files import fingerprint_of
from farm_notebook.providers.llamacpp.server import LlamaServer, ServerSpec
from farm_notebook.types import LoadOptions, LoadProgress, ModelRef

__all__ = ["LlamaCppLoader"]

HOST = "cpu"
PROBE = {"prompt": "Hello", "max_tokens": 1, "temperature": 0, "logprobs": 1}


class LlamaCppLoader:
    """A ``Loader`` of llama.cpp's servers.

    Args:
        config: The settings.
        lifecycle: Gives memory to load into.
        client: Asks a server that was started.
    """

    def __init__(self, config: FarmConfig, lifecycle: Lifecycle, client: Client) -> None:
        self._config = config
        self._lifecycle = lifecycle
        self._client = client

    def ref(self, spec: ServerSpec) -> ModelRef:
        return spec.ref

    def base(self, spec: ServerSpec) -> None:
        return None

    def facts(self, server: LlamaServer) -> Facts:
        return Facts(server.generation, server.size_bytes, server.devices)

    async def load(
        self, spec: ServerSpec, base: LlamaServer | None, options: LoadOptions, tell: Tell
    ) -> LlamaServer:
        before = await asyncio.to_thread(fingerprint_of, spec.files)
        size = sum(path.stat().st_size for path in spec.files.paths)
        # What of it goes to which GPU is llama.cpp's own choice, and it looks at what is free.
        chooses = _layers(spec, options) != 0 and any(device.kind != HOST for device in device_stats())
        async with AsyncExitStack() as stack:
            free: int | None = None
            if not chooses:
                room = self._lifecycle.room
                berth = await stack.enter_async_context(room.berth(spec.ref, size, wanted=HOST))
                free = berth.free_bytes
            tell(LoadProgress("load", 0, size, None if chooses else HOST, free))
            server = LlamaServer(replace(spec, gpu_layers=_layers(spec, options)))
            server.size_bytes, server.fingerprint = size, before
            server.devices = () if chooses else (HOST,)
            try:
                await server.start(self._config.llamacpp.start_timeout_s)
                await self._client.abilities(server)
                await self._require_answer(server)
                if await asyncio.to_thread(fingerprint_of, spec.files) != before:
                    raise LoadError(
                        f"{spec.files.name} changed while it was read. Load it again when whoever writes it "
                        "is done."
                    )
            except BaseException:
                await finish(server.stop())
                raise
        tell(LoadProgress("load", size, size))
        return server

    async def interrupt(self, server: LlamaServer) -> None:
        await server.interrupt()

    async def close(self, server: LlamaServer) -> None:
        await server.stop()

    async def park(self, server: LlamaServer) -> bool:
        return False  # another process has it; the system keeps its file in memory while there is room

    async def unpark(self, server: LlamaServer) -> None:
        return

    def death(self, server: LlamaServer) -> Coroutine[Any, Any, str]:
        return server.death()

    async def _require_answer(self, server: LlamaServer) -> None:
        """Refuse a model whose first word is none: NaN in the weights passes every check of the file."""
        if server.spec.embedding:
            return
        answer = await self._client.ask(server, "/v1/completions", PROBE)
        likeliest = answer["choices"][0]["logprobs"]["content"][0]["logprob"]
        if likeliest is None or not math.isfinite(likeliest):
            raise LoadError(
                f"{str(server.spec.files.weights)!r} gives numbers that are not finite: some of its weights "
                "are NaN or Inf. Convert or fetch it again."
            )


def _layers(spec: ServerSpec, options: LoadOptions) -> int:
    """How many layers go to a GPU.

    Raises:
        InvalidRequestError: An option that llama.cpp does not have.
    """
    if options.dtype is not None:
        raise InvalidRequestError(
            f"{spec.ref} cannot be loaded with dtype={options.dtype!r}: its file has a number format."
        )
    if options.device in (None, "auto"):
        return spec.gpu_layers
    if options.device == HOST:
        return 0
    raise InvalidRequestError(
        f"{spec.ref} cannot be put on {options.device!r}. Valid here: 'auto', 'cpu'; llamacpp.gpu_layers "
        "tells how much of it goes to the GPUs."
    )
