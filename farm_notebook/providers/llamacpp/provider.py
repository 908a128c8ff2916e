"""llama.cpp as a provider: catalogue models and local ``.gguf`` files, answered by a child process."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from importlib.util import find_spec
from typing import Any

import httpx2

from farm_notebook.config import FarmConfig
from farm_notebook.errors import FarmError, InvalidRequestError, ProviderConnectionError
from farm_notebook.providers.base import AIProvider
from farm_notebook.providers.llamacpp.abilities import Abilities, refuse_images
from farm_notebook.providers.llamacpp.dialect import body_of, longest, with_tool_calls
from farm_notebook.providers.llamacpp.files import catalog_model, files_of, model_digest
from farm_notebook.providers.llamacpp.listing import model_infos
from farm_notebook.providers.llamacpp.supervisor import LlamaServer, ServerSpec, Supervisor
from farm_notebook.providers.openai_wire import decode_stream, usage_of, wire_error
from farm_notebook.types import (
    ChatRequest,
    Embeddings,
    Event,
    LoadProgress,
    ModelInfo,
    ModelRef,
    PromptProgress,
    ProviderStatus,
    Started,
    Usage,
)
from farm_notebook.weights.catalog import CATALOG
from farm_notebook.weights.fetch import fetch, is_present, local_path

__all__ = ["LlamaCppProvider"]

EMBEDDING_BATCH_TOKENS = 2048  # a text is embedded in one piece, so this is the longest text
EMBEDDING_BATCH_TEXTS = 32  # texts a request, so that a cancel is noticed between two


class LlamaCppProvider(AIProvider):
    """Models in GGUF files: ``llamacpp:smollm2:135m`` from the catalogue, ``llamacpp:./x.gguf`` from disk."""

    name = "llamacpp"

    def __init__(self, config: FarmConfig) -> None:
        super().__init__(config)
        self._supervisor = Supervisor(config.llamacpp.start_timeout_s)
        self._client: httpx2.AsyncClient | None = None

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        spec = self._spec(request.ref.model)
        if spec.files.projector is None and any(message.images for message in request.messages):
            raise refuse_images(request)
        if not self._supervisor.running(spec):
            async with aclosing(self.load_model(request.ref.model)) as loading:
                async for progress in loading:
                    yield progress
        server = await self._supervisor.ensure(spec)
        abilities = await self._abilities(server)
        abilities.require(request)
        body = body_of(request, abilities, self.config.llamacpp.max_tokens)
        async with server.window.share(longest(request, body, abilities)) as share:
            yield Started(request.ref)
            if request.seed is not None:
                await self._settled(server)
            answer = self._answer(server, request, body)
            async with aclosing(with_tool_calls(answer, request, abilities)) as events:
                async for event in events:
                    if isinstance(event, PromptProgress) and request.seed is None:
                        share.resize(min(event.total_tokens + body["max_tokens"], abilities.context_tokens))
                    yield event

    async def _answer(
        self, server: LlamaServer, request: ChatRequest, body: dict[str, Any]
    ) -> AsyncGenerator[Event, None]:
        """What the server answers to a body; a caller who leaves before the end is remembered."""
        path = "/v1/completions" if request.kind == "completion" else "/v1/chat/completions"
        is_whole = False
        try:
            async with self._http.stream(
                "POST", server.base_url + path, json=body, headers=server.headers
            ) as response:
                if response.status_code != httpx2.codes.OK:
                    problem = _json(await response.aread())
                    raise wire_error(problem, request.ref, response.status_code, response.headers)
                async with aclosing(decode_stream(response.aiter_raw(), request.ref)) as events:
                    async for event in events:
                        yield event
            is_whole = True
        except httpx2.HTTPError as error:
            raise await self._broken(server, request.ref, error) from error
        finally:
            server.is_settling |= not is_whole

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
                raise wire_error(body, ref, response.status_code)
            rows = sorted(body["data"], key=lambda row: row["index"])
            vectors += [tuple(row["embedding"]) for row in rows]
            usage = usage_of(body.get("usage"))
            tokens += (usage and usage.input_tokens) or 0
        return Embeddings(tuple(vectors), ref, Usage(input_tokens=tokens or None))

    async def list_models(self) -> list[ModelInfo]:
        return model_infos(self.name, self.config, self._supervisor.loaded())

    async def load_model(self, model: str) -> AsyncGenerator[LoadProgress, None]:
        async with aclosing(self.pull_model(model)) as fetching:
            async for progress in fetching:
                yield progress
        spec = self._spec(model)
        if self._supervisor.running(spec):
            return
        size = sum(path.stat().st_size for path in spec.files.paths)
        yield LoadProgress("load", 0, size)
        await self._abilities(await self._supervisor.ensure(spec))
        yield LoadProgress("load", size, size)

    async def pull_model(self, model: str) -> AsyncGenerator[LoadProgress, None]:
        files_of(model, self.config)  # says what is wrong with a name
        if known := catalog_model(model):
            async with aclosing(fetch(known, self.config)) as fetching:
                async for progress in fetching:
                    yield progress

    async def unload_model(self, model: str) -> bool:
        return await self._supervisor.stop(
            files_of(model, self.config, loaded=self._supervisor.loaded().keys())
        )

    async def delete_model(self, model: str) -> bool:
        known = CATALOG.get(model)
        if known is None:
            files = files_of(model, self.config)
            raise InvalidRequestError(
                f"{str(files.weights)!r} was not fetched by farm_notebook; delete it yourself. "
                f"What can be deleted: {', '.join(CATALOG)}."
            )
        await self.unload_model(model)
        path = local_path(known, self.config)
        was_there = path.is_file()
        path.unlink(missing_ok=True)
        return was_there

    def runs_here(self, model: str) -> bool:
        return True

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
        return await model_digest(model, files_of(model, self.config), self.config.cache_dir)

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

    def _spec(self, model: str, *, embedding: bool = False) -> ServerSpec:
        settings = self.config.llamacpp
        return ServerSpec(
            files=files_of(model, self.config),
            context_tokens=EMBEDDING_BATCH_TOKENS if embedding else settings.context_tokens,
            batch_tokens=EMBEDDING_BATCH_TOKENS if embedding else settings.batch_tokens,
            threads=settings.threads,
            gpu_layers=settings.gpu_layers,
            parallel=1 if embedding else settings.parallel,
            embedding=embedding,
        )

    async def _abilities(self, server: LlamaServer) -> Abilities:
        """What the server's model can do; asked once."""
        if server.abilities is None:
            server.abilities = Abilities.of(await self._asked(server, "/props"))
        return server.abilities

    async def _settled(self, server: LlamaServer) -> None:
        """Wait until a server has let go of the requests whose callers left, which takes it a moment."""
        while server.is_settling:
            slots = await self._asked(server, "/slots")
            server.is_settling = any(slot["is_processing"] for slot in slots)

    async def _asked(self, server: LlamaServer, path: str) -> Any:
        ref = ModelRef(self.name, server.spec.files.name)
        try:
            response = await self._http.get(server.base_url + path, headers=server.headers)
        except httpx2.HTTPError as error:
            raise await self._broken(server, ref, error) from error
        body = _json(response.content)
        if response.status_code != httpx2.codes.OK:
            raise wire_error(body, ref, response.status_code)
        return body

    async def _broken(self, server: LlamaServer, ref: ModelRef, error: httpx2.HTTPError) -> FarmError:
        """What a broken connection means: nearly always that the child died."""
        if await server.died():
            return await server.crash()
        return ProviderConnectionError(
            f"The connection to the process of {ref} broke: {type(error).__name__} {error}".rstrip(),
            provider=self.name,
        )


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return {"error": {"message": content[:200].decode(errors="replace")}}
