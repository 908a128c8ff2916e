"""llama.cpp as a provider: catalogue models and local ``.gguf`` files, answered by a child process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import aclosing
from functools import cached_property
from importlib.util import find_spec
from typing import Any

import httpx2

from farm_notebook.config import FarmConfig
from farm_notebook.errors import InvalidRequestError, ModelUnloadedError
from farm_notebook.lifecycle.digest import digest_of_loaded
from farm_notebook.lifecycle.shelf import Shelf
from farm_notebook.providers.base import AIProvider
from farm_notebook.providers.http_body import body_chunks
from farm_notebook.providers.llamacpp.abilities import Abilities, refuse_images
from farm_notebook.providers.llamacpp.client import Client, json_of
from farm_notebook.providers.llamacpp.dialect import body_of, longest, with_tool_calls
from farm_notebook.providers.llamacpp.files import (
    ModelFiles,
    catalog_model,
    files_of,
    fingerprint_of,
    model_digest,
)
from farm_notebook.providers.llamacpp.listing import model_infos
from farm_notebook.providers.llamacpp.loader import LlamaCppLoader
from farm_notebook.providers.llamacpp.server import LlamaServer, ServerSpec
from farm_notebook.providers.openai_wire import decode_stream, usage_of, wire_error
from farm_notebook.types import (
    ChatRequest,
    Embeddings,
    Event,
    LoadOptions,
    LoadProgress,
    ModelInfo,
    ModelRef,
    ModelStatus,
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
UNKNOWN = "not whole"  # of a model whose files had no fingerprint, so that whole ones are news


class LlamaCppProvider(AIProvider):
    """Models in GGUF files: ``llamacpp:smollm2:135m`` from the catalogue, ``llamacpp:./x.gguf`` from disk."""

    name = "llamacpp"

    def __init__(self, config: FarmConfig) -> None:
        super().__init__(config)
        self._client = Client(config.timeouts.connect_s)

    @cached_property
    def _shelf(self) -> Shelf[ServerSpec, LlamaServer]:
        return Shelf(LlamaCppLoader(self.config, self.lifecycle, self._client), self.lifecycle)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        spec = self._spec(request.ref.model)
        if spec.files.projector is None and any(message.images for message in request.messages):
            raise refuse_images(request)
        async with aclosing(self._load(spec)) as loading:
            async for progress in loading:
                yield progress
        async with self._shelf.hold(spec) as version:
            server = version.value
            abilities = await self._client.abilities(server)
            abilities.require(request)
            body = body_of(request, abilities, self.config.llamacpp.max_tokens)
            async with server.window.share(longest(request, body, abilities)) as share:
                yield Started(request.ref)
                if request.seed is not None:
                    await self._client.settle(server)
                answer = self._answer(server, request, body)
                async with aclosing(with_tool_calls(answer, request, abilities)) as events:
                    async for event in events:
                        if isinstance(event, PromptProgress) and request.seed is None:
                            share.resize(
                                min(event.total_tokens + body["max_tokens"], abilities.context_tokens)
                            )
                        yield event

    async def _answer(
        self, server: LlamaServer, request: ChatRequest, body: dict[str, Any]
    ) -> AsyncGenerator[Event, None]:
        """What the server answers to a body; a caller who leaves before the end is remembered."""
        path = "/v1/completions" if request.kind == "completion" else "/v1/chat/completions"
        is_whole = False
        with server.exchange() as exchange:
            try:
                async with self._client.http.stream(
                    "POST", server.base_url + path, json=body, headers=server.headers
                ) as response:
                    exchange.response = response
                    if response.status_code != httpx2.codes.OK:
                        problem = json_of(await response.aread())
                        raise wire_error(problem, request.ref, response.status_code, response.headers)
                    async with (
                        aclosing(body_chunks(response)) as chunks,
                        aclosing(decode_stream(chunks, request.ref)) as events,
                    ):
                        async for event in events:
                            yield event
                is_whole = True
            except httpx2.HTTPError as error:
                if exchange.is_interrupted:
                    raise _unloaded(request.ref) from error
                raise await self._client.broken(server, error) from error
            finally:
                server.is_settling |= not is_whole

    async def embed(self, texts: Sequence[str], model: str) -> Embeddings:
        ref = ModelRef(self.name, model)
        async with aclosing(self.pull_model(model)) as fetching:
            async for _ in fetching:
                pass
        vectors: list[tuple[float, ...]] = []
        tokens = 0
        async with self._shelf.hold(self._spec(model, embedding=True)) as version:
            for start in range(0, len(texts), EMBEDDING_BATCH_TEXTS):
                batch = list(texts[start : start + EMBEDDING_BATCH_TEXTS])
                body = await self._client.ask(version.value, "/v1/embeddings", {"input": batch})
                rows = sorted(body["data"], key=lambda row: row["index"])
                vectors += [tuple(row["embedding"]) for row in rows]
                usage = usage_of(body.get("usage"))
                tokens += (usage and usage.input_tokens) or 0
        return Embeddings(tuple(vectors), ref, Usage(input_tokens=tokens or None))

    async def list_models(self) -> list[ModelInfo]:
        return model_infos(self.name, self.config, self._loaded())

    def load_model(self, model: str) -> AsyncGenerator[LoadProgress, None]:
        return self._load(self._spec(model))

    async def place_model(self, model: str, options: LoadOptions) -> AsyncGenerator[LoadProgress, None]:
        async with aclosing(self._load(self._spec(model), options)) as loading:
            async for progress in loading:
                yield progress

    async def reload_model(
        self, model: str, *, drain_s: float | None = None
    ) -> AsyncGenerator[LoadProgress, None]:
        async with aclosing(self.pull_model(model)) as fetching:
            async for progress in fetching:
                yield progress
        specs = (self._spec(model), self._spec(model, embedding=True))
        loaded = [spec for spec in specs if spec in self._shelf.versions()]
        for spec in loaded or specs[:1]:
            async with aclosing(self._shelf.reload(spec, drain_s=drain_s)) as reloading:
                async for progress in reloading:
                    yield progress

    async def interrupt_model(self, model: str) -> None:
        for spec in self._specs(model):
            await self._shelf.interrupt(spec)

    async def model_statuses(self) -> list[ModelStatus]:
        return self._shelf.statuses()

    async def fingerprint(self, model: str) -> str | None:
        return await asyncio.to_thread(fingerprint_of, files_of(model, self.config))

    async def loaded_fingerprint(self, model: str) -> str | None:
        version = self._shelf.versions().get(self._spec(model))
        return version.value.fingerprint or UNKNOWN if version is not None else None

    async def pull_model(self, model: str) -> AsyncGenerator[LoadProgress, None]:
        files_of(model, self.config)  # says what is wrong with a name
        if known := catalog_model(model):
            async with aclosing(fetch(known, self.config)) as fetching:
                async for progress in fetching:
                    yield progress

    async def unload_model(self, model: str) -> bool:
        gone = [await self._shelf.put_away(spec) for spec in self._specs(model)]
        return any(gone)

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
        spec = self._spec(model)

        def of_disk() -> Awaitable[str]:
            return model_digest(model, spec.files, self.config.cache_dir)

        if (version := self._shelf.versions().get(spec)) is None:
            return await of_disk()
        server = version.value
        if server.digest is None:
            server.digest = await digest_of_loaded(
                server.fingerprint,
                server.generation,
                look=lambda: asyncio.to_thread(fingerprint_of, spec.files),
                digest=of_disk,
            )
        return server.digest

    async def aclose(self) -> None:
        await self._shelf.clear()
        await self._client.aclose()

    async def _load(
        self, spec: ServerSpec, options: LoadOptions | None = None
    ) -> AsyncGenerator[LoadProgress, None]:
        """Fetch a model if need be, and bring it into memory."""
        if options is None and spec in self._shelf.versions():
            return
        async with aclosing(self.pull_model(spec.model)) as fetching:
            async for progress in fetching:
                yield progress
        async with aclosing(self._shelf.load(spec, options)) as loading:
            async for progress in loading:
                yield progress

    def _loaded(self) -> dict[ModelFiles, Abilities | None]:
        """The models that are loaded now, and what they can do where they were asked."""
        servers = [version.value for version in self._shelf.versions().values()]
        servers.sort(key=lambda server: server.spec.embedding, reverse=True)  # what chats tells more
        return {server.spec.files: server.abilities for server in servers}

    def _specs(self, model: str) -> list[ServerSpec]:
        """All ways in which a model is run, or is about to be."""
        known = self._shelf.known()
        wanted = files_of(model, self.config, loaded={spec.files for spec in known}).answering
        return [spec for spec in known if spec.files.answering == wanted]

    def _spec(self, model: str, *, embedding: bool = False) -> ServerSpec:
        settings = self.config.llamacpp
        return ServerSpec(
            files=files_of(model, self.config, loaded=self._loaded().keys()),
            context_tokens=EMBEDDING_BATCH_TOKENS if embedding else settings.context_tokens,
            batch_tokens=EMBEDDING_BATCH_TOKENS if embedding else settings.batch_tokens,
            threads=settings.threads,
            gpu_layers=settings.gpu_layers,
            parallel=1 if embedding else settings.parallel,
            embedding=embedding,
            model=model,
            is_mapped=catalog_model(model) is not None,  # nobody writes to what was fetched
        )


def _unloaded(ref: ModelRef) -> ModelUnloadedError:
    return ModelUnloadedError(f"{ref} was unloaded before its answer was whole.", provider=ref.provider)
