"""transformers as a provider: models of the hub, of folders and of GGUF files, in this process."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from functools import cached_property, partial
from importlib import metadata
from pathlib import Path
from typing import Any

from farm_notebook.errors import InvalidRequestError, ModelNotFoundError
from farm_notebook.lifecycle.digest import digest_of_loaded
from farm_notebook.lifecycle.job import Job, Tell
from farm_notebook.lifecycle.shelf import Shelf
from farm_notebook.providers.base import AIProvider
from farm_notebook.providers.huggingface import hub, runtime
from farm_notebook.providers.huggingface.adapters import adapted_digest
from farm_notebook.providers.huggingface.answer import read_answer
from farm_notebook.providers.huggingface.digest import folder_digest
from farm_notebook.providers.huggingface.embeddings import embed
from farm_notebook.providers.huggingface.engine import Engine
from farm_notebook.providers.huggingface.fingerprint import is_being_written
from farm_notebook.providers.huggingface.grammar import grammar_processor
from farm_notebook.providers.huggingface.lease import LeasedModel
from farm_notebook.providers.huggingface.likelihoods import Likelihoods
from farm_notebook.providers.huggingface.loader import HuggingFaceLoader
from farm_notebook.providers.huggingface.prompt import make_prompt
from farm_notebook.providers.huggingface.resident import Resident
from farm_notebook.providers.huggingface.sampling import sampling_config
from farm_notebook.providers.huggingface.source import Source, locate
from farm_notebook.providers.huggingface.work import in_thread
from farm_notebook.types import (
    PARAMETERS,
    ChatRequest,
    Embeddings,
    Event,
    LoadOptions,
    LoadProgress,
    ModelInfo,
    ModelRef,
    ModelStatus,
    ProviderStatus,
    Started,
    Usage,
)

__all__ = ["HuggingFaceProvider"]

UNKNOWN = "not whole"  # of a model whose files had no fingerprint, so that whole ones are news


class HuggingFaceProvider(AIProvider):
    """Models in this process: ``huggingface:owner/name`` of the hub, ``huggingface:./folder`` from disk."""

    name = "huggingface"
    honours = frozenset({*PARAMETERS, "completion"})

    @cached_property
    def _loader(self) -> HuggingFaceLoader:
        return HuggingFaceLoader(self.config, self.lifecycle)

    @cached_property
    def _shelf(self) -> Shelf[Source, Resident]:
        return Shelf(self._loader, self.lifecycle)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        source = self._known(request.ref.model)
        async with aclosing(self._shelf.load(source)) as loading:
            async for progress in loading:
                yield progress
        async with self._shelf.hold(source) as version:
            engine, loaded = _answering(version.value, request.ref), version.value.loaded
            config = sampling_config(request)
            prompt = await asyncio.to_thread(make_prompt, request, loaded, self.config.huggingface.max_tokens)
            grammar = await asyncio.to_thread(grammar_processor, request, loaded)
            likelihoods = None
            if request.logprobs is not None:
                before = prompt.tokens if request.kind == "completion" else ()
                likelihoods = Likelihoods(request.logprobs, loaded.tokenizer, before)
            processors: list[Any] = [each for each in (likelihoods, grammar) if each is not None]
            yield Started(request.ref)
            tokens = engine.answer(
                prompt.tokens,
                config,
                max_tokens=prompt.max_tokens,
                seed=request.seed,
                processors=processors,
            )
            async with aclosing(read_answer(request, prompt, loaded, tokens, likelihoods)) as events:
                async for event in events:
                    yield event

    async def load_model(self, model: str) -> AsyncGenerator[LoadProgress, None]:
        async with aclosing(self._shelf.load(self._known(model))) as loading:
            async for progress in loading:
                yield progress

    async def place_model(self, model: str, options: LoadOptions) -> AsyncGenerator[LoadProgress, None]:
        source = locate(model)
        if source.base is not None:
            raise InvalidRequestError(
                f"{self.name}:{model} lies where its base does; put {self.name}:{source.base.name} there."
            )
        async with aclosing(self._shelf.load(source, options)) as loading:
            async for progress in loading:
                yield progress

    async def reload_model(
        self, model: str, *, drain_s: float | None = None
    ) -> AsyncGenerator[LoadProgress, None]:
        source = locate(model)
        is_base_changed = source.base is not None and await self._is_changed(source.base)
        # What stands on a base is loaded anew with it.
        renewed = source.base if is_base_changed and source in self._shelf.versions() else source
        assert renewed is not None
        async with aclosing(self._shelf.reload(renewed, drain_s=drain_s)) as reloading:
            async for progress in reloading:
                yield progress

    async def set_aside_model(self, model: str) -> bool:
        return await self._shelf.set_aside(self._known(model))

    async def interrupt_model(self, model: str) -> None:
        await self._shelf.interrupt(self._known(model))

    async def give_back_memory(self) -> None:
        if "torch" in sys.modules:
            await self._loader.give_back_memory()

    async def model_statuses(self) -> list[ModelStatus]:
        return self._shelf.statuses()

    async def fingerprint(self, model: str) -> str | None:
        source = locate(model)
        parts = (source, source.adapter) if source.adapter is not None else (source,)
        folders = [part.folder for part in parts if part.folder is not None]
        if await in_thread(lambda _: any(map(is_being_written, folders))):
            return None
        return await self._loader.fingerprint(source)

    async def loaded_fingerprint(self, model: str) -> str | None:
        version = self._shelf.versions().get(self._known(model))
        return version.value.fingerprint or UNKNOWN if version is not None else None

    @asynccontextmanager
    async def lease(self, model: str) -> AsyncIterator[LeasedModel]:
        async with self._shelf.lease(self._known(model)) as version:
            leased = LeasedModel(version.value.loaded)
            del version  # what was unloaded meanwhile is the user's alone
            try:
                yield leased
            finally:
                leased.give_back()

    async def pull_model(self, model: str) -> AsyncGenerator[LoadProgress, None]:
        source = locate(model)
        for part in (source.base, source.adapter) if source.base and source.adapter else (source,):
            job = Job[Path](partial(self._fetched, part))
            async with aclosing(job.follow()) as following:
                async for progress in following:
                    yield progress

    async def unload_model(self, model: str) -> bool:
        source = self._known(model)
        was_there = await self._shelf.put_away(source)
        if not was_there and source.repository is not None:
            await self._cached(source)
        return was_there

    async def embed(self, texts: Sequence[str], model: str) -> Embeddings:
        async with self._shelf.hold(self._known(model)) as version:
            vectors, tokens = await embed(version.value.loaded, texts)
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
        for source, version in self._shelf.versions().items():
            loaded = version.value.loaded
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
        used = (version.facts.devices for version in self._shelf.versions().values())
        device = (
            ", ".join(sorted({device for devices in used for device in devices}))
            or self.config.huggingface.device
        )
        return ProviderStatus(self.name, healthy=True, detail=f"{', '.join(versions)}, device {device}")

    async def digest(self, model: str) -> str | None:
        """Of the files that the model in memory is of, whatever is on disk by now; else of those on disk."""
        source = self._known(model)
        if (version := self._shelf.versions().get(source)) is None:
            return await self._digest(source)
        resident = version.value
        if resident.digest is None:
            resident.digest = await digest_of_loaded(
                resident.fingerprint,
                resident.loaded.generation,
                look=lambda: self._loader.fingerprint(source),
                digest=lambda: self._digest(source),
            )
        return resident.digest

    async def aclose(self) -> None:
        await self._shelf.clear()

    def _known(self, model: str) -> Source:
        """The place that a name means; a folder that is loaded may be deleted by now."""
        gone = (source for source in self._shelf.known() if source.name == model and source.is_gone)
        return next(gone, None) or locate(model)

    async def _is_changed(self, source: Source) -> bool:
        """Whether a model in memory is of other files than there are now."""
        version = self._shelf.versions().get(source)
        return version is not None and version.value.fingerprint != await self._loader.fingerprint(source)

    async def _fetched(self, source: Source, tell: Tell) -> Path:
        return await in_thread(lambda halt: self._loader.folder(source, halt, tell))

    async def _cached(self, source: Source) -> None:
        if await asyncio.to_thread(hub.snapshot, source, self.config) is None:
            raise ModelNotFoundError(
                f"There is no model {source.name!r} here: no folder, and not in the hub's cache."
            )

    async def _digest(self, source: Source) -> str | None:
        if source.base is not None and source.adapter is not None:
            return adapted_digest(await self._digest(source.base), await self._digest(source.adapter))
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
