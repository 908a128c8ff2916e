"""The kernel's side of the models' panel: which there are, what each does now, and what is done to them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import asdict
from functools import partial
from typing import Any, ClassVar

from farm_notebook import loop
from farm_notebook.config import FarmConfig
from farm_notebook.errors import FarmError
from farm_notebook.farm import Farm
from farm_notebook.prices import Prices
from farm_notebook.router import is_dynamic, resolve
from farm_notebook.types import ModelEvent, ModelRef, ModelStatus, ProviderStatus
from farm_notebook.widgets.models.names import aliases, named_default
from farm_notebook.widgets.models.rows import rows
from farm_notebook.widgets.models.static import as_html, as_text
from farm_notebook.widgets.models.works import WorkKind, works_of
from farm_notebook.widgets.outbox import Slices
from farm_notebook.widgets.part import Handler, Part

__all__ = ["ModelsPart"]

LIST_S = 30.0  # between two looks at what there is, while the panel is visible
MEMORY_S = 2.0  # between two looks at what is in memory

Read = Callable[..., list[dict[str, Any]]]


class ModelsPart(Part):
    """All models of a farm.

    Args:
        farm: As for ``Part``.
        read: Tells a row of each model; called in a thread.
        clock: Seconds since the epoch.
        options: As for ``Part``.
    """

    name: ClassVar[str] = "models"

    def __init__(
        self,
        farm: Farm | None = None,
        *,
        read: Read = rows,
        clock: Callable[[], float] = time.time,
        **options: Any,
    ) -> None:
        super().__init__(farm, **options)
        self._read = read
        self._clock = clock
        self._models: list[dict[str, Any]] = []
        self._states: dict[str, dict[str, Any]] = {}
        self._watched: list[str] = []
        self._ready = frozenset[str]()
        self._providers: list[ProviderStatus] = []
        self._default = named_default(self._farm.config)
        self._listed_at: float | None = None
        self._looks_under_way = 0
        self._is_memory_due = False
        self._prices: tuple[FarmConfig, Prices] | None = None
        self._here: frozenset[ModelRef] = frozenset()
        self._works = works_of(self._farm)
        self._leave_works = self._works.listen(self._tell_works)
        self._end_listening = self._farm.listen(lambda config: self._soon(self._settings_changed))
        self._end_events = self._farm.models.listen(self._hear)
        self.while_shown(LIST_S, self._look)
        self.while_shown(MEMORY_S, self._look_at_memory)

    def slices(self) -> Slices:
        return {
            "models": self._models,
            "states": self._states,
            "watched": self._watched,
            "providers": [asdict(each) for each in self._providers],
            "aliases": aliases(self._farm.config),
            "default": self._default,
            "listed_at": self._listed_at,
            "is_listing": self._looks_under_way > 0,
            **self._works.slices(),
        }

    def calls(self) -> Mapping[str, Handler]:
        return {
            "choose": self._choose,
            "load": self._load,
            "pull": self._pull,
            "reload": self._reload,
            "unload": self._unload,
            "cancel": self._cancel,
            "watch": self._watch,
            "pin": self._pin,
            "dismiss": self._dismiss,
            "refresh": self._refresh,
        }

    async def ready(self) -> None:
        if self._listed_at is None:
            await asyncio.gather(self._look(), self._look_at_memory())

    def static_html(self) -> str:
        return as_html(self._models, self._states, self._default["ref"], self._notes())

    def static_text(self) -> str:
        return as_text(self._models, self._states, self._default["ref"], self._notes())

    async def aclose(self) -> None:
        self._end_listening()
        self._end_events()
        await self._leave_works()
        await super().aclose()

    # What the page calls. What goes wrong with a model is kept and shown there, in every view.

    async def _choose(self, name: str) -> None:
        await self._works.guard(name, asyncio.to_thread(self._farm.use, name))
        self._tell_default()
        self.settled()

    async def _load(self, name: str) -> None:
        await self._begin("load", name)

    async def _pull(self, name: str) -> None:
        await self._begin("pull", name)

    async def _reload(self, name: str) -> None:
        await self._begin("reload", name)

    async def _unload(self, name: str) -> None:
        await self._begin("unload", name)

    async def _cancel(self, name: str) -> None:
        self._works.cancel(name)

    async def _watch(self, name: str, is_watched: bool) -> None:
        models = self.farm.models
        await self._works.guard(name, models.watch(name) if is_watched else models.unwatch(name))
        await self.glance(self._look_at_memory)

    async def _pin(self, name: str, is_pinned: bool) -> None:
        """Of a model that is in memory, which therefore comes at once."""
        await self._works.guard(name, _exhaust(self.farm.models.load(name, pin=is_pinned)))
        await self.glance(self._look_at_memory)

    async def _dismiss(self, name: str) -> None:
        self._works.dismiss(name)

    async def _refresh(self) -> None:
        look = partial(self._look, refresh=True)
        await asyncio.gather(self.glance(look), self.glance(self._look_at_memory))

    # How.

    async def _begin(self, kind: WorkKind, name: str) -> None:
        async def begin() -> None:
            ref = resolve(name, self._farm.config)
            self._works.begin(kind, name if is_dynamic(ref) else str(ref))

        await self._works.guard(name, begin())

    async def _look(self, *, refresh: bool = False) -> None:
        self._looks_under_way += 1
        self.set(is_listing=True)
        try:
            await asyncio.gather(self._look_at_health(refresh), self._look_at_list(), self._route_default())
            self._listed_at = self._clock()
            self.settled()
        finally:
            self._looks_under_way -= 1
            self.set(
                is_listing=self._looks_under_way > 0,
                listed_at=self._listed_at,
                aliases=aliases(self._farm.config),
            )

    async def _look_at_health(self, refresh: bool) -> None:
        self._providers = await self.farm.health(refresh=refresh)
        self.set(providers=[asdict(each) for each in self._providers])

    async def _look_at_list(self) -> None:
        farm = self.farm
        infos = await farm.list_models()
        self._here = frozenset(info.ref for info in infos if farm.runs_here(info.ref))
        models = await asyncio.to_thread(
            self._read, infos, here=self._here, prices=self._prices_of(farm.config)
        )
        if models != self._models:
            self._models = models
            self.set(models=models)

    async def _look_at_memory(self) -> None:
        models = self.farm.models
        states = {str(each.ref): _state(each) for each in await models.loaded()}
        watched = [str(ref) for ref in await models.watched()]
        has_changed, is_new = (
            _ready(states) != self._ready,
            (states, watched) != (self._states, self._watched),
        )
        self._states, self._watched, self._ready = states, watched, _ready(states)
        if is_new:
            self.set(states=states, watched=watched)
            self.settled()
        if has_changed:  # the list says of each model whether it is loaded, and whether it fits
            await self._look_at_list()

    def _hear(self, event: ModelEvent) -> None:
        """Tell a new state at once, and soon what goes with it."""
        name = str(event.ref)
        if event.state == "absent":
            self._states = {key: state for key, state in self._states.items() if key != name}
        else:
            known = self._states.get(name) or _state(ModelStatus(event.ref, event.state))
            self._states = {**self._states, name: {**known, "state": event.state, "detail": event.detail}}
        self.set(states=self._states)
        if not self._is_memory_due:
            self._is_memory_due = True
            self.spawn(self._memory_is_due())

    async def _memory_is_due(self) -> None:
        self._is_memory_due = False  # what happens while it looks is looked at again
        await self.glance(self._look_at_memory)

    def _tell_works(self, has_ended: bool) -> None:
        self.set(**self._works.slices())
        if has_ended:
            self.spawn(self.glance(self._look_at_list))
            self.spawn(self.glance(self._look_at_memory))

    def _settings_changed(self) -> None:
        """The default is another one, or providers and their models are."""
        self._end_events()
        self._end_events = self._farm.models.listen(self._hear)
        self._tell_default()

    def _tell_default(self) -> None:
        self._default = named_default(self._farm.config)
        self.set(default=self._default, aliases=aliases(self._farm.config))
        if not self._default["ref"]:
            self.spawn(self.glance(self._route_default))
        self.settled()

    async def _route_default(self) -> None:
        """Find out which model the default leads to just now, where the settings alone do not say it."""
        named = named_default(self._farm.config)
        if named["ref"]:
            return
        try:
            decision = await self.farm.route()
        except FarmError:  # there is none; the providers' states say why
            return
        if named_default(self._farm.config) == named:
            self._default = {**named, "ref": str(decision.ref)}
            self.set(default=self._default)

    def _prices_of(self, config: FarmConfig) -> Prices:
        if self._prices is None or self._prices[0] != config:
            self._prices = config, Prices(config, lambda ref: ref in self._here)
        return self._prices[1]

    def _notes(self) -> list[str]:
        default = self._default
        answers = default["ref"] or default["name"]
        return [
            f"{answers} answers where no model is named.",
            *(
                f"{each.name}: {each.detail}" + (f" ({each.fix})" if each.fix else "")
                for each in self._providers
                if not each.healthy
            ),
        ]

    def _soon(self, tell: Callable[[], None]) -> None:
        """Have it told on the farm's loop; changes are heard of on any thread."""
        loop.get_loop().call_soon_threadsafe(lambda: None if self._is_closed else tell())


def _ready(states: Mapping[str, Mapping[str, Any]]) -> frozenset[str]:
    """Which models are loaded."""
    return frozenset(name for name, state in states.items() if state["state"] == "ready")


def _state(status: ModelStatus) -> dict[str, Any]:
    """What a model in memory does, in JSON values; not what changes with every second."""
    return {
        "state": status.state,
        "generation": status.generation,
        "size_bytes": status.size_bytes,
        "devices": list(status.devices),
        "users": status.users,
        "is_pinned": status.is_pinned,
        "is_watched": status.is_watched,
        "detail": status.detail,
    }


async def _exhaust(steps: AsyncGenerator[object, None]) -> None:
    async with aclosing(steps) as each:
        async for _ in each:
            pass
