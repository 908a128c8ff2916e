"""Brings models of transformers into memory, moves them, and gives them up: what the shelf asks for."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from farm_notebook.config import FarmConfig
from farm_notebook.errors import LoadError
from farm_notebook.holders.ghosts import Ghost
from farm_notebook.lifecycle.common import Lifecycle
from farm_notebook.lifecycle.job import Tell
from farm_notebook.lifecycle.room import Berth
from farm_notebook.lifecycle.version import Facts
from farm_notebook.providers.huggingface import hub, runtime
from farm_notebook.providers.huggingface.adapters import adapt, adapted_digest
from farm_notebook.providers.huggingface.batching import Batcher, can_batch
from farm_notebook.providers.huggingface.checkpoint import Checkpoint, read_checkpoint
from farm_notebook.providers.huggingface.engine import Engine, SingleStream
from farm_notebook.providers.huggingface.fingerprint import fingerprint
from farm_notebook.providers.huggingface.loaded import LoadedModel
from farm_notebook.providers.huggingface.loading import load, need_bytes
from farm_notebook.providers.huggingface.memory import give_back
from farm_notebook.providers.huggingface.parking import HostMemory, Parked, park, unpark
from farm_notebook.providers.huggingface.resident import Resident
from farm_notebook.providers.huggingface.source import Source
from farm_notebook.providers.huggingface.validation import validate
from farm_notebook.providers.huggingface.work import Halt, in_thread
from farm_notebook.types import LoadOptions, LoadProgress, ModelRef

__all__ = ["HuggingFaceLoader"]

PROVIDER = "huggingface"


class HuggingFaceLoader:
    """A ``Loader`` of models in this process.

    Args:
        config: The settings.
        lifecycle: Gives memory to load into.
    """

    def __init__(self, config: FarmConfig, lifecycle: Lifecycle) -> None:
        self._config = config
        self._lifecycle = lifecycle
        self._spare: HostMemory | None = None  # of the model that came back last: to pin other takes longer

    def ref(self, source: Source) -> ModelRef:
        return ModelRef(PROVIDER, source.name)

    def base(self, source: Source) -> Source | None:
        return source.base

    def facts(self, resident: Resident) -> Facts:
        loaded = resident.loaded
        return Facts(loaded.generation, loaded.size_bytes, loaded.devices)

    async def load(self, source: Source, base: Resident | None, options: LoadOptions, tell: Tell) -> Resident:
        folder = await in_thread(lambda halt: self.folder(source.adapter or source, halt, tell))
        before = await self.fingerprint(source)
        if base is not None:
            loaded = await in_thread(partial(self._adapt, source, folder, base.loaded, tell))
        else:
            loaded = await self._load(source, folder, options, tell)
        if await self.fingerprint(source) != before:
            raise LoadError(
                f"The files of {source.name!r} changed while they were read. Load it again when whoever "
                "writes them is done."
            )
        return Resident(loaded, self._engine(loaded), before, base is not None, loaded.digest)

    async def interrupt(self, resident: Resident) -> None:
        if resident.engine is not None:
            await resident.engine.aclose()
            resident.engine = self._engine(resident.loaded)

    async def close(self, resident: Resident) -> None:
        if resident.engine is not None:
            await resident.engine.aclose()
            resident.engine = None
        loaded = resident.loaded
        if not resident.is_sharing:
            ref = str(ModelRef(PROVIDER, loaded.name))
            self._lifecycle.ghosts.add(Ghost(loaded.module, ref=ref, generation=loaded.generation))
        module = weakref.ref(loaded.module)
        del loaded
        last: list[object] = [resident.loaded, resident.parked]  # that refer to it, unless the user does
        del resident.loaded
        resident.parked = None
        await in_thread(lambda _: _drop(last, [module]))

    async def park(self, resident: Resident) -> bool:
        if resident.engine is not None:
            await resident.engine.aclose()
            resident.engine = None
        try:
            host, self._spare = self._spare, None
            resident.parked = await in_thread(partial(park, resident.loaded, host=host))
        finally:
            if resident.parked is None:
                resident.engine = self._engine(resident.loaded)
        return resident.parked.frees_device

    async def unpark(self, resident: Resident) -> None:
        if (parked := resident.parked) is None:  # it had not left
            return
        loaded = resident.loaded
        if parked.frees_device:
            (device,) = loaded.devices
            async with self._lifecycle.room.berth(self._ref_of(resident), parked.size_bytes, wanted=device):
                loaded = await in_thread(partial(unpark, parked, loaded.device))
            await self._keep(parked)
        resident.loaded, resident.parked = loaded, None
        resident.engine = self._engine(loaded)

    def death(self, resident: Resident) -> None:
        return None

    async def give_back_memory(self) -> None:
        """Return what no model needs to the system and to the devices' drivers."""
        last: list[object] = [self._spare]
        self._spare = None
        await in_thread(lambda _: _drop(last))

    async def _keep(self, parked: Parked) -> None:
        """Have the next model that is set aside move to where this one was; one such place is kept."""
        last: list[object] = [self._spare]
        self._spare = parked.host
        await in_thread(lambda _: last.clear())  # giving some GB back takes its time

    async def fingerprint(self, source: Source) -> str | None:
        """Of the files of a model as they are now; ``None`` where they are not whole, or not here."""
        if source.base is not None and source.adapter is not None:
            of_base, of_adapter = await self.fingerprint(source.base), await self.fingerprint(source.adapter)
            return None if of_base is None or of_adapter is None else f"{of_base}+{of_adapter}"
        return await in_thread(lambda _: self._fingerprint(source))

    def folder(self, source: Source, halt: Halt, tell: Tell) -> Path:
        """In a thread: the folder of a model, fetched if need be."""
        if source.folder is not None:
            return source.folder.resolve()  # a link may be made to lead elsewhere while it is read
        runtime.require_packages()
        if (folder := hub.snapshot(source, self._config)) is not None:
            return folder
        return hub.fetch(
            source, self._config, halt, lambda done, total: tell(LoadProgress("fetch", done, total))
        )

    def _fingerprint(self, source: Source) -> str | None:
        folder = source.folder or hub.snapshot(source, self._config)
        return None if folder is None else fingerprint(folder, source.gguf)

    async def _load(self, source: Source, folder: Path, options: LoadOptions, tell: Tell) -> LoadedModel:
        checkpoint, wanted = await in_thread(lambda _: self._readable(source, folder, options))
        settings = self._config.huggingface
        need = need_bytes(checkpoint, settings, dtype=options.dtype or settings.dtype)
        async with self._lifecycle.room.berth(self.ref(source), need, wanted=wanted) as berth:
            tell(LoadProgress("load", 0, checkpoint.size_bytes, berth.devices, berth.free_bytes))
            return await in_thread(partial(self._read, source, checkpoint, options, berth, tell))

    def _readable(self, source: Source, folder: Path, options: LoadOptions) -> tuple[Checkpoint, str]:
        """In a thread: what is in the folder, and the kind of device it is for."""
        checkpoint = read_checkpoint(source, folder, self._config.huggingface)
        with runtime.no_full_collections():
            runtime.import_runtime()
        settings = self._config.huggingface
        runtime.pick_dtype(options.dtype or settings.dtype)
        return checkpoint, str(runtime.pick_device(options.device or settings.device))

    def _read(
        self,
        source: Source,
        checkpoint: Checkpoint,
        options: LoadOptions,
        berth: Berth,
        tell: Tell,
        halt: Halt,
    ) -> LoadedModel:
        """In a thread: bring the weights into memory, and see that they answer."""
        settings, placement = self._config.huggingface, berth.booking.placement
        size = checkpoint.size_bytes

        def report(done: int, total: int) -> None:
            berth.booking.placed(done)
            tell(LoadProgress("load", done, total))

        with runtime.no_full_collections():
            loaded = load(
                source,
                checkpoint,
                settings,
                halt,
                report,
                digest=checkpoint.folder.name if source.repository is not None else None,
                dtype=options.dtype or settings.dtype,
                device_map=placement.device_map,
                max_memory=placement.max_memory,
            )
            validate(loaded, halt)
        tell(LoadProgress("load", size, size))
        return loaded

    def _adapt(self, source: Source, folder: Path, base: LoadedModel, tell: Tell, halt: Halt) -> LoadedModel:
        """In a thread: put an adapter on its base."""
        assert source.adapter is not None
        commit = folder.name if source.adapter.repository is not None else None
        report: Callable[[int, int], None] = lambda done, total: tell(LoadProgress("load", done, total))  # noqa: E731 - as above
        loaded = adapt(base, source.name, folder, halt, report, digest=adapted_digest(base.digest, commit))
        validate(loaded, halt)
        return loaded

    def _ref_of(self, resident: Resident) -> ModelRef:
        return ModelRef(PROVIDER, resident.loaded.name)

    def _engine(self, loaded: LoadedModel) -> Engine | None:
        if not loaded.module.can_generate() or loaded.module.config.is_encoder_decoder:
            return None
        settings = self._config.huggingface
        # On a processor too, a step of many takes little longer than one of one: benchmarks/huggingface.py.
        wants = settings.batching if settings.batching is not None else loaded.device.type in ("cpu", "cuda")
        if wants and len(loaded.devices) == 1 and can_batch(loaded.module):
            return Batcher(loaded.module, name=loaded.name, max_rows=settings.max_batch)
        return SingleStream(loaded.module, name=loaded.name)


def _drop(last: list[object], modules: Sequence[weakref.ref[Any]] = ()) -> None:
    """In a thread, as it takes its time: let go of what is large, and give its memory back.

    Args:
        last: What nothing else refers to.
        modules: Those that went with it.
    """
    last.clear()
    give_back(modules)
