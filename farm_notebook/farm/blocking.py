"""The same calls, blocking: for scripts, threads and cells. And the farm behind the package's own calls."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

from typing_extensions import Unpack

from farm_notebook import loop
from farm_notebook.config import AUTO, FarmConfig
from farm_notebook.farm import caller
from farm_notebook.farm.core import AsyncFarm
from farm_notebook.farm.models import Models
from farm_notebook.farm.recorded import F, recorded
from farm_notebook.farm.similarity import Items, Match
from farm_notebook.farm.step_events import StepEvent
from farm_notebook.farm.steps import MAX_STEPS
from farm_notebook.farm.taping import open_cassette
from farm_notebook.farm.toolbox import Confirm
from farm_notebook.reply import Reply
from farm_notebook.reports import CallReport, Comparison, HistoryReport, UsageReport
from farm_notebook.request import Options, Prompt
from farm_notebook.router import RouteDecision, look_up
from farm_notebook.stores import StoreStats
from farm_notebook.stores.calls import UsageBy
from farm_notebook.types import ChatRequest, Embeddings, Event, LoadProgress, ModelInfo, ProviderStatus

__all__ = ["Farm", "default_farm"]


class Farm:
    """Every model, blocking: for scripts, threads and cells, also where an event loop is running.

    Args:
        config: As for ``AsyncFarm``.
        settings: As for ``AsyncFarm``.
    """

    def __init__(self, config: FarmConfig | None = None, **settings: Any) -> None:
        self.core = AsyncFarm(config, **settings)
        self.models = Models(lambda: self.core.models)
        self._listeners: list[Callable[[FarmConfig], object]] = []

    @property
    def config(self) -> FarmConfig:
        """The settings."""
        return self.core.config

    def reload(self, **overrides: Any) -> FarmConfig:
        """Read the settings anew from files and environment; models that are loaded stay so.

        Args:
            overrides: Single settings by name, e.g. ``cache={"enabled": False}``. They stay in force for this
                farm, also when it reads its settings again.

        Raises:
            ConfigError: A setting is not valid; those from before stay in force.
        """
        before, self.core = self.core, self.core.reloaded(overrides)
        loop.run_blocking(before.let_go(self.core))
        for listener in tuple(self._listeners):
            listener(self.config)
        return self.config

    def use_cassette(
        self,
        mode: Literal["auto", "record", "replay", "off"],
        file: str | Path | None = None,
        *,
        realtime: bool = False,
        strict: bool = False,
    ) -> Path | None:
        """Record the calls of this farm in a file from now on, or replay them from it.

        Args:
            mode: ``auto`` replays what is there and records the rest; ``off`` ends it.
            file: The cassette; ``None`` is that of the settings, else the one beside the notebook.
            realtime: Replay at the speed at which it was recorded.
            strict: Recorded calls that were never asked for are an error when it ends.

        Returns:
            The file; ``None`` where it is off.

        Raises:
            CassetteError: It cannot be used, or which one is meant cannot be known; or it ends, was strict,
                and some of it was never asked for.
        """
        before = self.core.tape
        if mode == "off":
            self.reload(cassette={"mode": mode})
            before.check()
            return None
        path = open_cassette(mode, file or self.config.cassette.file)
        self.reload(cassette={"mode": mode, "file": path, "realtime": realtime, "strict": strict})
        return path

    def use(self, model: str) -> str:
        """Have a model answer from now on where a request names none.

        Args:
            model: A model or an alias, as in a request.

        Returns:
            The name that it goes by from now on: the alias, or the whole reference.

        Raises:
            FarmError: The name leads nowhere; what answered before goes on.
        """
        config = self.config
        ref = look_up(model, config).ref
        name = model if model == AUTO or model in config.aliases else str(ref)
        overrides: dict[str, Any] = {"model": name}
        if config.environment in config.routing:  # which is stronger than the setting ``model``
            overrides["routing"] = {config.environment: name}
        self.reload(**overrides)
        return name

    def listen(self, listener: Callable[[FarmConfig], object]) -> Callable[[], None]:
        """Have it told whenever the settings are read anew; what is returned ends that.

        Args:
            listener: Gets the new settings, on the thread of whoever had them read.
        """
        self._listeners.append(listener)

        def end() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return end

    def recorded(self, function: F) -> F:
        """See ``AsyncFarm.recorded``; as a decorator it knows of a cassette that is chosen later, too."""
        return recorded(function, lambda: self.core.tape)

    def chat(self, prompt: Prompt, **options: Unpack[Options]) -> Reply:
        """See ``AsyncFarm.chat``."""
        return loop.run_blocking(self.core.chat(prompt, **options))

    def generate(self, prompt: str, **options: Unpack[Options]) -> Reply:
        """See ``AsyncFarm.generate``."""
        return loop.run_blocking(self.core.generate(prompt, **options))

    def compare(
        self, prompt: Prompt, models: Sequence[str], *, one_by_one: bool = False, **options: Unpack[Options]
    ) -> Comparison:
        """See ``AsyncFarm.compare``."""
        return loop.run_blocking(self.core.compare(prompt, models, one_by_one=one_by_one, **options))

    def stream(self, prompt: Prompt, **options: Unpack[Options]) -> Generator[str, None, None]:
        """See ``AsyncFarm.stream``."""
        return loop.iterate_blocking(self.core.stream(prompt, **options))

    def events(self, request: ChatRequest) -> Generator[Event, None, None]:
        """See ``AsyncFarm.events``."""
        return loop.iterate_blocking(self.core.events(request))

    def steps(
        self,
        prompt: Prompt,
        *,
        max_steps: int = MAX_STEPS,
        confirm: Confirm | None = None,
        **options: Unpack[Options],
    ) -> Generator[StepEvent, None, None]:
        """See ``AsyncFarm.steps``."""
        events = self.core.steps(prompt, max_steps=max_steps, confirm=confirm, **options)
        return caller.iterate_blocking(events)

    def run_tools(
        self,
        prompt: Prompt,
        *,
        max_steps: int = MAX_STEPS,
        confirm: Confirm | None = None,
        **options: Unpack[Options],
    ) -> Reply:
        """See ``AsyncFarm.run_tools``; ``async`` functions run on the farm's own loop."""
        work = self.core.run_tools(prompt, max_steps=max_steps, confirm=confirm, **options)
        return caller.run_blocking(work)

    def chat_structured(
        self,
        prompt: Prompt,
        *,
        max_steps: int = MAX_STEPS,
        confirm: Confirm | None = None,
        **options: Unpack[Options],
    ) -> Any:
        """See ``AsyncFarm.chat_structured``."""
        work = self.core.chat_structured(prompt, max_steps=max_steps, confirm=confirm, **options)
        return caller.run_blocking(work)

    def embed(self, texts: str | Sequence[str], *, model: str | None = None) -> Embeddings:
        """See ``AsyncFarm.embed``."""
        return loop.run_blocking(self.core.embed(texts, model=model))

    def similar(self, query: str, items: Items, *, k: int = 5, model: str | None = None) -> tuple[Match, ...]:
        """See ``AsyncFarm.similar``."""
        return loop.run_blocking(self.core.similar(query, items, k=k, model=model))

    def list_models(self) -> list[ModelInfo]:
        """See ``AsyncFarm.list_models``."""
        return loop.run_blocking(self.core.list_models())

    def load(self, model: str | None = None) -> Generator[LoadProgress, None, None]:
        """See ``AsyncModels.load``."""
        return loop.iterate_blocking(self.core.load(model))

    def pull(self, model: str | None = None) -> Generator[LoadProgress, None, None]:
        """See ``AsyncFarm.pull``."""
        return loop.iterate_blocking(self.core.pull(model))

    def lease(self, model: str | None = None) -> AbstractContextManager[Any]:
        """See ``AsyncModels.lease``."""
        return self.models.lease(model)

    def unload(self, model: str | None = None) -> bool:
        """See ``AsyncModels.unload``."""
        return loop.run_blocking(self.core.unload(model))

    def route(self, model: str | None = None) -> RouteDecision:
        """See ``AsyncFarm.route``."""
        return loop.run_blocking(self.core.route(model))

    def history(
        self,
        search: str | None = None,
        *,
        model: str | None = None,
        since: str | None = None,
        limit: int = 20,
    ) -> HistoryReport:
        """See ``AsyncFarm.history``."""
        return loop.run_blocking(self.core.history(search, model=model, since=since, limit=limit))

    def history_show(self, number: int) -> CallReport:
        """See ``AsyncFarm.history_show``."""
        return loop.run_blocking(self.core.history_show(number))

    def history_clear(self) -> int:
        """See ``AsyncFarm.history_clear``."""
        return loop.run_blocking(self.core.history_clear())

    def usage(self, by: UsageBy = "model", *, since: str | None = None) -> UsageReport:
        """See ``AsyncFarm.usage``."""
        return loop.run_blocking(self.core.usage(by, since=since))

    def health(self, *, refresh: bool = False) -> list[ProviderStatus]:
        """See ``AsyncFarm.health``."""
        return loop.run_blocking(self.core.health(refresh=refresh))

    def cache_stats(self) -> StoreStats:
        """See ``AsyncFarm.cache_stats``."""
        return loop.run_blocking(self.core.cache_stats())

    def cache_clear(self) -> int:
        """See ``AsyncFarm.cache_clear``."""
        return loop.run_blocking(self.core.cache_clear())

    def close(self) -> None:
        """See ``AsyncFarm.aclose``."""
        loop.run_blocking(self.core.aclose())


_lock = threading.Lock()
_default: Farm | None = None


def default_farm() -> Farm:
    """The farm behind ``farm_notebook.chat`` and the magics, with the settings of the environment."""
    global _default
    with _lock:
        farm = _default
    if farm is None:
        farm = Farm()
        with _lock:
            farm = _default = _default or farm
    return farm


def _forget_after_fork() -> None:
    global _default, _lock
    _default, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
