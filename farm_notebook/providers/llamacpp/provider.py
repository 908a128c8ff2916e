"""llama.cpp as a provider: catalogue models and local ``.gguf`` files, answered by a child process."""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncGenerator, Sequence, Set
from contextlib import aclosing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx2

from farm_notebook.config import FarmConfig
from farm_notebook.errors import ContextLengthError, FarmError, ModelNotFoundError, ProviderConnectionError
from farm_notebook.models.catalog import CATALOG, lookup
from farm_notebook.models.digest import file_digest
from farm_notebook.models.fetch import fetch, is_present, local_path
from farm_notebook.providers.base import AIProvider
from farm_notebook.providers.llamacpp.supervisor import LlamaServer, ServerSpec, Supervisor
from farm_notebook.providers.openai_wire import decode_stream, request_body, usage_of, wire_error
from farm_notebook.types import (
    ChatRequest,
    Embeddings,
    Event,
    LoadProgress,
    ModelInfo,
    ModelRef,
    ProviderStatus,
    Started,
    Usage,
)

__all__ = ["LlamaCppProvider"]

EMBEDDING_BATCH_TOKENS = 2048  # a text is embedded in one piece, so this is the longest text
EMBEDDING_BATCH_TEXTS = 32  # texts a request, so that a cancel is noticed between two
_TOO_LARGE = re.compile(r"input \((\d+) tokens\) is too large to process.*batch size: (\d+)")


class LlamaCppProvider(AIProvider):
    """Models in GGUF files: ``llamacpp:smollm2:135m`` from the catalogue, ``llamacpp:./x.gguf`` from disk."""

    name = "llamacpp"

    def __init__(self, config: FarmConfig) -> None:
        super().__init__(config)
        self._supervisor = Supervisor(config.llamacpp.start_timeout_s)
        self._client: httpx2.AsyncClient | None = None

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        async with aclosing(self.load_model(request.ref.model)) as loading:
            async for progress in loading:
                yield progress
        server = await self._supervisor.ensure(self._spec(request.ref.model))
        path = "/v1/completions" if request.kind == "completion" else "/v1/chat/completions"
        yield Started(request.ref)
        try:
            async with self._http.stream(
                "POST", server.base_url + path, json=self._body(request), headers=server.headers
            ) as response:
                if response.status_code != httpx2.codes.OK:
                    body = _json(await response.aread())
                    raise wire_error(body, request.ref, response.status_code, response.headers)
                async with aclosing(decode_stream(response.aiter_raw(), request.ref)) as events:
                    async for event in events:
                        yield event
        except httpx2.HTTPError as error:
            raise await self._broken(server, request.ref, error) from error

    async def embed(self, texts: Sequence[str], model: str) -> Embeddings:
        ref = ModelRef(self.name, model)
        async for _ in self.pull_model(model):
            pass
        server = await self._supervisor.ensure(self._spec(model, embedding=True))
        vectors: list[tuple[float, ...]] = []
        tokens = 0
        for start in range(0, len(texts), EMBEDDING_BATCH_TEXTS):
            batch = list(texts[start : start + EMBEDDING_BATCH_TEXTS])
            try:
                response = await self._http.post(
                    server.base_url + "/v1/embeddings", json={"input": batch}, headers=server.headers
                )
            except httpx2.HTTPError as error:
                raise await self._broken(server, ref, error) from error
            body = _json(response.content)
            if response.status_code != httpx2.codes.OK:
                raise _too_long(body, ref) or wire_error(body, ref, response.status_code)
            rows = sorted(body["data"], key=lambda row: row["index"])
            vectors += [tuple(row["embedding"]) for row in rows]
            usage = usage_of(body.get("usage"))
            tokens += (usage and usage.input_tokens) or 0
        return Embeddings(tuple(vectors), ref, Usage(input_tokens=tokens or None))

    async def list_models(self) -> list[ModelInfo]:
        loaded = self._supervisor.paths()
        known = {local_path(model, self.config): model for model in CATALOG.values()}
        present = {path for path, model in known.items() if is_present(model, self.config)}
        infos = [
            ModelInfo(
                ModelRef(self.name, model.name),
                size_bytes=model.size_bytes,
                context_tokens=model.context_tokens,
                digest=model.sha256,
                license=model.license,
                available=path in present,
                loaded=path in loaded,
                location=str(path) if path in present else None,
                description=model.description,
            )
            for path, model in known.items()
        ]
        for path in sorted(loaded - set(known)):
            ref = ModelRef(self.name, str(path))
            size = path.stat().st_size if path.is_file() else None  # it may be deleted by now
            infos.append(
                ModelInfo(ref, size_bytes=size, available=size is not None, loaded=True, location=str(path))
            )
        return infos

    async def load_model(self, model: str) -> AsyncGenerator[LoadProgress, None]:
        async with aclosing(self.pull_model(model)) as fetching:
            async for progress in fetching:
                yield progress
        spec = self._spec(model)
        if self._supervisor.running(spec):
            return
        size = spec.path.stat().st_size
        yield LoadProgress("load", 0, size)
        await self._supervisor.ensure(spec)
        yield LoadProgress("load", size, size)

    async def pull_model(self, model: str) -> AsyncGenerator[LoadProgress, None]:
        if model not in CATALOG:
            self._path(model)  # says what is wrong with a name that is neither
        else:
            async with aclosing(fetch(CATALOG[model], self.config)) as fetching:
                async for progress in fetching:
                    yield progress

    async def unload_model(self, model: str) -> bool:
        return await self._supervisor.stop(self._path(model, or_in=self._supervisor.paths()))

    async def health_check(self) -> ProviderStatus:
        if find_spec("xllamacpp") is None:
            fix = "pip install xllamacpp"
            return ProviderStatus(self.name, healthy=False, detail="xllamacpp is not installed", fix=fix)
        if present := [model.name for model in CATALOG.values() if is_present(model, self.config)]:
            return ProviderStatus(self.name, healthy=True, detail=f"fetched: {', '.join(present)}")
        default = next(iter(CATALOG))
        return ProviderStatus(
            self.name,
            healthy=not self.config.offline,
            detail="no model fetched yet" + (", and FARM_OFFLINE is set" if self.config.offline else ""),
            fix=f"{'unset FARM_OFFLINE, then ' * self.config.offline}farm pull {self.name}:{default}",
        )

    async def digest(self, model: str) -> str | None:
        if model in CATALOG:
            return CATALOG[model].sha256
        return await file_digest(self._path(model), self.config.cache_dir)

    async def aclose(self) -> None:
        await self._supervisor.stop_all()
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    @property
    def _http(self) -> httpx2.AsyncClient:
        """The client, made at first use. Between two processes of one machine there is no proxy, and no
        certificate to verify: loading those of the system takes a tenth of a second.
        """
        if self._client is None:
            timeout = httpx2.Timeout(None, connect=self.config.timeouts.connect_s)
            self._client = httpx2.AsyncClient(trust_env=False, verify=False, timeout=timeout)
        return self._client

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        """The request in llama.cpp's dialect.

        Progress on the prompt is asked for because sending it is when the server notices that the caller
        left. With a seed the prompt cache is off: what it holds changes the last bits of the arithmetic,
        and with them now and then a token.
        """
        defaults = {"max_tokens": self.config.llamacpp.max_tokens}
        dialect = {"return_progress": True, "cache_prompt": request.seed is None}
        return defaults | request_body(request) | dialect

    def _path(self, model: str, *, or_in: Set[Path] = frozenset()) -> Path:
        """The file of a model: a local path where it looks like one, else the catalogue's.

        Args:
            model: A name of the catalogue or a path.
            or_in: Paths that may be missing: a loaded file may be deleted by now.
        """
        if not model.endswith(".gguf"):
            return local_path(lookup(model), self.config)
        path = Path(os.path.expanduser(model)).resolve()  # pathlib's own raises on an unknown ~user
        if not path.is_file() and path not in or_in:
            raise ModelNotFoundError(f"There is no file {model!r} (looked for {str(path)!r}).")
        return path

    def _spec(self, model: str, *, embedding: bool = False) -> ServerSpec:
        settings = self.config.llamacpp
        return ServerSpec(
            path=self._path(model),
            context_tokens=settings.context_tokens,
            batch_tokens=EMBEDDING_BATCH_TOKENS if embedding else settings.batch_tokens,
            threads=settings.threads,
            gpu_layers=settings.gpu_layers,
            embedding=embedding,
        )

    async def _broken(self, server: LlamaServer, ref: ModelRef, error: httpx2.HTTPError) -> FarmError:
        """What a broken connection means: nearly always that the child died."""
        if await server.died():
            return await server.crash()
        return ProviderConnectionError(
            f"The connection to the process of {ref} broke: {type(error).__name__} {error}".rstrip(),
            provider=self.name,
        )


def _too_long(body: Any, ref: ModelRef) -> FarmError | None:
    """The error for a text longer than one batch, which llama.cpp reports as a fault of the server."""
    found = _TOO_LARGE.search(str(body))
    if not found:
        return None
    tokens, limit = int(found[1]), int(found[2])
    return ContextLengthError(
        f"{ref}: a text of {tokens} tokens is too long to embed; at most {limit} fit.",
        provider=ref.provider,
        tokens=tokens,
        limit=limit,
    )


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return {"error": {"message": content[:200].decode(errors="replace")}}
