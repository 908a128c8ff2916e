"""What the policies cost: a call with all of them on beside the provider alone, and one past a dead model."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator
from contextlib import closing
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.measure import Once, Settings, Taken, timed_calls
from benchmarks.report import Row, Table
from farm_notebook import AsyncFarm, Farm, loop, register_provider
from farm_notebook.errors import ProviderConnectionError
from farm_notebook.providers.scripted import ScriptedProvider
from farm_notebook.types import ChatRequest, Event, Finished, Started, TextDelta, Usage

ROUNDS = 10
CALLS = 200  # a round
GOAL_OVERHEAD_US = 300.0
GOAL_FALLBACK_US = 5_000.0
OFF: dict[str, Any] = {
    "cache": {"enabled": False},
    "history": {"enabled": False},
    "breaker": {"enabled": False},
    "telemetry": {"enabled": False},
    "retry": {"attempts": 1},
}
ON: dict[str, Any] = {
    "cache": {"enabled": True},
    "limits": {"requests_per_minute": 10**6, "tokens_per_minute": 10**9, "concurrency": 64},
    "budget": {"cost_per_day": 1e6, "tokens_per_day": 10**12, "tokens_per_notebook": 10**12},
    "prices": {"instant": {"input": 1.0, "output": 2.0}},
    "fallback": {"chain": ["instant:other"]},
}


class InstantProvider(ScriptedProvider):
    """Answers one word at once, whatever the question."""

    name = "instant"

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        yield Started(request.ref)
        yield TextDelta("yes")
        yield Finished("stop", Usage(8, 1))


class DeadProvider(ScriptedProvider):
    """Cannot be reached."""

    name = "dead"

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        yield Started(request.ref)
        raise ProviderConnectionError("nothing answers", provider=self.name)


def run(settings: Settings) -> Table:
    """The policies one by one, all of them, and the way past a model that is down."""
    rounds = settings.rounds or ROUNDS
    for provider in (InstantProvider, DeadProvider):
        register_provider(provider)
    with TemporaryDirectory() as folder:
        taken = _measure(Path(folder), rounds)
    alone = median(taken["provider"])
    rows = [Row("provider alone: a call", _figure(taken["provider"]))]
    for name in (name for name in taken if name not in ("provider", "past a dead one")):
        overhead = median(taken[name]) - alone
        goal = {"goal": f"≤ {GOAL_OVERHEAD_US:g} µs", "met": overhead <= GOAL_OVERHEAD_US}
        told = goal if name == "everything on" else {}
        rows.append(
            Row(
                f"`AsyncFarm.chat`, {name}: over the provider",
                f"{overhead:,.0f} µs",
                f"call: {_figure(taken[name])}",
                **told,  # type: ignore[arg-type]
            )
        )
    past = taken["past a dead one"]
    rows.append(
        Row(
            "a call past a dead provider, its breaker open",
            _figure(past),
            f"asked at once: {_figure(taken['everything on'])}",
            median(past) / median(taken["everything on"]),
            f"≤ {GOAL_FALLBACK_US / 1000:g} ms",
            median(past) <= GOAL_FALLBACK_US,
        )
    )
    title = (
        f"Medians (99th percentile), each of {rounds} rounds of {CALLS} calls on the farm's loop, the cases "
        "in turn. Each call asks something new, of a provider that answers one word at once; with the cache "
        "on, all of it is a miss and a write."
    )
    return Table("pipeline", title, tuple(rows))


def _measure(folder: Path, rounds: int) -> Taken:
    numbers = itertools.count()

    def chat(core: AsyncFarm, model: str = "instant:any") -> Once:
        return lambda: core.chat(f"question {next(numbers)}", model=model, temperature=0, max_tokens=16)

    farms = {
        "policies off": Farm(cache_dir=folder / "off", **OFF),
        **{
            f"and {name}": Farm(cache_dir=folder / name, **{**OFF, name: ON.get(name, {"enabled": True})})
            for name in ("history", "cache", "limits", "budget")
        },
        "everything on": Farm(cache_dir=folder / "on", **ON),
    }
    cases = {name: chat(farm.core) for name, farm in farms.items()}
    cases["past a dead one"] = chat(farms["everything on"].core, model="dead:any")
    provider = InstantProvider(farms["policies off"].config)
    request = farms["policies off"].core.request(
        "question", model="instant:any", temperature=0, max_tokens=16
    )
    cases = {"provider": lambda: provider.chat(request), **cases}
    taken = loop.run_blocking(timed_calls(rounds, CALLS, cases))
    for farm in farms.values():
        closing(farm).__exit__(None, None, None)
    return taken


def _figure(taken: list[float]) -> str:
    return f"{median(taken):,.0f} µs ({quantiles(taken, n=100)[-1]:,.0f})"
