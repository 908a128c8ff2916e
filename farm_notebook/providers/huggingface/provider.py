"""transformers as a provider: models of the hub, of folders and of GGUF files, in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from functools import partial
from importlib import metadata
from pathlib import Path

from farm_notebook.config import FarmConfig
from farm_notebook.errors import InvalidRequestError, ModelNotFoundError
from farm_notebook.providers.base import AIProvider
from farm_notebook.providers.huggingface import hub, runtime
from farm_notebook.providers.huggingface.adapters import adapt, adapted_digest
from farm_notebook.providers.huggingface.answer import read_answer
from farm_notebook.providers.huggingface.batching import Batcher, can_batch
from farm_notebook.providers.huggingface.checkpoint import read_checkpoint
from farm_notebook.providers.huggingface.digest import folder_digest
from farm_notebook.providers.huggingface.embeddings import embed
from farm_notebook.providers.huggingface.engine import Engine, SingleStream
from farm_notebook.providers.huggingface.grammar import grammar_processor
from farm_notebook.providers.huggingface.job import Job, Tell
from farm_notebook.providers.huggingface.lease import LeasedModel
from farm_notebook.providers.huggingface.loaded import LoadedModel
from farm_notebook.providers.huggingface.loading import load
from farm_notebook.providers.huggingface.prompt import make_prompt
from farm_notebook.providers.huggingface.sampling import sampling_config
from farm_notebook.providers.huggingface.shelf import Resident, Shelf
from farm_notebook.providers.huggingface.source import Source, locate
from farm_notebook.providers.huggingface.work import Halt
from farm_notebook.types import (
    PARAMETERS,
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

__all__ = ["HuggingFaceProvider"]


class HuggingFaceProvider(AIProvider):
    """Models in this process: ``huggingface:owner/name`` of the hub, ``huggingface:./folder`` from disk."""

    name = "huggingface"
    honours = frozenset({*PARAMETERS, "completion"})

    def __init__(self, config: FarmConfig) -> None:
        super().__init__(config)
        self._shelf = Shelf(self._load, self._engine)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        source = locate(request.ref.model)
        async with aclosing(self.load_model(request.ref.model)) as loading:
            async for progress in loading:
                yield progress
        async with self._shelf.hold(source) as resident:
            engine, loaded = _answering(resident, request.ref), resident.loaded
            config = sampling_config(request)
            prompt = await asyncio.to_thread(make_prompt, request, loaded, self.config.huggingface.max_tokens)
            grammar = await asyncio.to_thread(grammar_processor, request, loaded)
            yield Started(request.ref)
            tokens = engine.answer(
                prompt.tokens,
                config,
                max_tokens=prompt.max_tokens,
                seed=request.seed,
                processors=[grammar] if grammar else [],
            )
            async with aclosing(read_answer(request, prompt, loaded, tokens)) as events:
                async for event in events:
                    yield event

    async def load_model(self, model: str) -> AsyncGenerator[LoadProgress, None]:
        async with aclosing(self._shelf.load(locate(model))) as loading:
            async for progress in loading:
                yield progress

    @asynccontextmanager
    async def lease(self, model: str) -> AsyncIterator[LeasedModel]:
        async with self._shelf.hold(locate(model)) as resident:
            leased = LeasedModel(resident.loaded)
        try:
            yield leased
        finally:
            leased.give_back()

    async def pull_model(self, model: str) -> AsyncGenerator[LoadProgress, None]:
        source = locate(model)
        for part in (source.base, source.adapter) if source.base and source.adapter else (source,):
            job = Job(partial(self._folder, part))
            async with aclosing(job.follow()) as following:
                async for progress in following:
                    yield progress

    async def unload_model(self, model: str) -> bool:
        # A folder that is loaded may be deleted by now.
        by_name = (known for known in self._shelf.residents() if known.name == model)
        source = next(by_name, None) or locate(model)
        if source not in self._shelf.residents() and source.repository is not None:
            await self._cached(source)
        return await self._shelf.put_away(source)

    async def embed(self, texts: Sequence[str], model: str) -> Embeddings:
        async with self._shelf.hold(locate(model)) as resident:
            vectors, tokens = await embed(resident.loaded, texts)
        return Embeddings(tuple(vectors), ModelRef(self.name, model), Usage(input_tokens=tokens or None))

    async def list_models(self) -> list[ModelInfo]:
        if runtime.missing_packages():
            return []
        infos = {}
        for cached in await asyncio.to_thread(lambda: list(hub.cached_models())):
            infos[cached.repository] = ModelInfo(
                ModelRef(self.name, cached.repository),
                size_bytes=cached.size_bytes,
                context_tokens=cached.context_tokens,
                digest=cached.commit,
                license=cached.license,
                available=True,
                location=str(cached.folder),
            )
        for source, resident in self._shelf.residents().items():
            loaded = resident.loaded
            info = infos.get(source.name) or ModelInfo(
                ModelRef(self.name, source.name), digest=loaded.digest, location=str(loaded.folder)
            )
            infos[source.name] = replace(
                info,
                size_bytes=info.size_bytes or loaded.size_bytes,
                context_tokens=loaded.context_tokens,
                available=True,
                loaded=True,
            )
        return list(infos.values())

    def runs_here(self, model: str) -> bool:
        return True

    async def health_check(self) -> ProviderStatus:
        if missing := runtime.missing_packages():
            detail = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed"
            return ProviderStatus(self.name, healthy=False, detail=detail, fix=runtime.INSTALL)
        versions = (f"{name} {_version(name)}" for name in ("transformers", "torch"))
        devices = {str(resident.loaded.device) for resident in self._shelf.residents().values()}
        device = ", ".join(sorted(devices)) or self.config.huggingface.device
        return ProviderStatus(self.name, healthy=True, detail=f"{', '.join(versions)}, device {device}")

    async def digest(self, model: str) -> str | None:
        source = locate(model)
        if source.base is not None and source.adapter is not None:
            return adapted_digest(await self._digest(source.base), await self._digest(source.adapter))
        return await self._digest(source)

    async def aclose(self) -> None:
        await self._shelf.clear()

    def _load(self, source: Source, base: LoadedModel | None, halt: Halt, tell: Tell) -> LoadedModel:
        """In a thread: bring a model's files here, and into memory; of an adapter, onto its base."""
        if base is not None:
            return self._adapt(source, base, halt, tell)
        folder = self._folder(source, halt, tell)
        with runtime.no_full_collections():
            return self._load_folder(source, folder, halt, tell)

    def _load_folder(self, source: Source, folder: Path, halt: Halt, tell: Tell) -> LoadedModel:
        settings = self.config.huggingface
        checkpoint = read_checkpoint(source, folder, settings)
        tell(LoadProgress("load", 0, checkpoint.size_bytes))
        runtime.import_runtime()
        halt.check()
        commit = folder.name if source.repository is not None else None
        loaded = load(
            source,
            checkpoint,
            settings,
            halt,
            lambda done, total: tell(LoadProgress("load", done, total)),
            digest=commit,
        )
        tell(LoadProgress("load", checkpoint.size_bytes, checkpoint.size_bytes))
        return loaded

    def _adapt(self, source: Source, base: LoadedModel, halt: Halt, tell: Tell) -> LoadedModel:
        """In a thread: bring an adapter's files here, and put it on its base."""
        assert source.adapter is not None
        folder = self._folder(source.adapter, halt, tell)
        commit = folder.name if source.adapter.repository is not None else None
        return adapt(
            base,
            source.name,
            folder,
            halt,
            lambda done, total: tell(LoadProgress("load", done, total)),
            digest=adapted_digest(base.digest, commit),
        )

    def _folder(self, source: Source, halt: Halt, tell: Tell) -> Path:
        """In a thread: the folder of a model, fetched if need be."""
        if source.folder is not None:
            return source.folder
        runtime.require_packages()
        if (folder := hub.snapshot(source, self.config)) is not None:
            return folder
        return hub.fetch(
            source, self.config, halt, lambda done, total: tell(LoadProgress("fetch", done, total))
        )

    def _engine(self, loaded: LoadedModel) -> Engine | None:
        if not loaded.module.can_generate() or loaded.module.config.is_encoder_decoder:
            return None
        settings = self.config.huggingface
        # On a processor too, a step of many takes little longer than one of one: benchmarks/huggingface.py.
        wants = settings.batching if settings.batching is not None else loaded.device.type in ("cpu", "cuda")
        if wants and can_batch(loaded.module):
            return Batcher(loaded.module, name=loaded.name, max_rows=settings.max_batch)
        return SingleStream(loaded.module, name=loaded.name)

    async def _cached(self, source: Source) -> None:
        if await asyncio.to_thread(hub.snapshot, source, self.config) is None:
            raise ModelNotFoundError(
                f"There is no model {source.name!r} here: no folder, and not in the hub's cache."
            )

    async def _digest(self, source: Source) -> str | None:
        if source.repository is not None:
            folder = await asyncio.to_thread(hub.snapshot, source, self.config)
            return folder.name if folder else None
        assert source.folder is not None
        return await folder_digest(source.folder, source.gguf, self.config.cache_dir)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # importable, but put there by something else than an installer
        return "of an unknown version"


def _answering(resident: Resident, ref: ModelRef) -> Engine:
    if resident.engine is None:
        raise InvalidRequestError(
            f"{ref} cannot answer: {type(resident.loaded.module).__name__} does not continue texts. "
            "It can embed."
        )
    return resident.engine
