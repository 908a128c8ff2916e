"""The part of ``overhead`` that asks a real model: what the package adds to a call and to a token."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import httpx2

from benchmarks.clients import Call, Runner, asking, chat, closed, count_events, count_json, seconds, times
from benchmarks.measure import interleaved, spread
from benchmarks.model_files import EMBEDDED
from benchmarks.report import Row, at_most
from farm_notebook import AsyncFarm, Farm

__all__ = ["model_rows"]

ROUNDS = 7
CALLS = 5
TOKENS = 200
GOAL = 1.15
PROMPT = "Write a long story about a river, a house and a dog."


def model_rows(run: Runner, rounds: int | None) -> list[Row]:
    """Ours and raw httpx2 in turn, to the same child process."""
    rounds = rounds or ROUNDS
    farm = Farm()
    core = farm.core
    for _ in farm.load(EMBEDDED):
        pass
    short = core.request(PROMPT, model=EMBEDDED, temperature=0, max_tokens=1)
    long = core.request(PROMPT, model=EMBEDDED, temperature=0, max_tokens=TOKENS)
    base_url, headers = _child(core)
    # llama.cpp promises to keep a connection and closes it after a stream; who asks on it again is too late.
    headers = {**headers, "Connection": "close"}
    client = httpx2.AsyncClient(trust_env=False, timeout=None, headers=headers)
    url = f"{base_url}/v1/chat/completions"
    ask_short, ask_long = asking(client, url, short), asking(client, url, long)

    def several(one: Callable[[], Call]) -> Callable[[], float]:
        return lambda: seconds(lambda: run(times(CALLS, one))) / CALLS * 1e3

    calls = interleaved(
        rounds * 3,
        {
            "raw": several(lambda: ask_short(count_json)),
            "chat": several(lambda: chat(core, short)),
            "events": several(lambda: count_events(core, short)),
        },
    )
    deltas = interleaved(
        rounds,
        {
            "raw": lambda: _per_delta(lambda: run(ask_long(count_json))),
            "events": lambda: _per_delta(lambda: run(count_events(core, long))),
            "stream": lambda: _per_delta(
                lambda: sum(1 for _ in farm.stream(PROMPT, model=EMBEDDED, temperature=0, max_tokens=TOKENS))
            ),
        },
    )
    run(closed(client))
    farm.close()
    raw_ms = median(calls["raw"])
    rows = [
        at_most(
            f"`AsyncFarm.{name}`, model, one token: a call",
            spread(calls[name], "ms", 2),
            f"httpx2 + json: {raw_ms:.2f} ms",
            median(calls[name]) / raw_ms,
            GOAL,
        )
        for name in ("chat", "events")
    ]
    raw_wall, raw_cpu = (median(each) for each in zip(*deltas["raw"], strict=True))
    for name, label in {"events": "`AsyncFarm.events`", "stream": "`Farm.stream`"}.items():
        wall, cpu = ([each[index] for each in deltas[name]] for index in (0, 1))
        rows.append(
            at_most(
                f"{label}, model, {TOKENS} tokens: a delta",
                spread(wall, "ms", 2),
                f"httpx2 + json: {raw_wall:.2f} ms",
                median(wall) / raw_wall,
                GOAL,
            )
        )
        rows.append(
            Row(
                "· the caller's processor time for it",
                spread([value * 1e3 for value in cpu], "µs"),
                f"httpx2 + json: {raw_cpu * 1e3:,.0f} µs",
                median(cpu) / raw_cpu,
            )
        )
    return rows


def _child(core: AsyncFarm) -> tuple[str, dict[str, str]]:
    """Where the package's own llama.cpp child listens; it tells nobody, so this looks inside."""
    provider: Any = core._pool.providers.get(EMBEDDED.partition(":")[0])
    (version,) = provider._shelf.versions().values()
    server = version.value
    return server.base_url, server.headers


def _per_delta(work: Callable[[], int]) -> tuple[float, float]:
    """Milliseconds of wall time and of this process's processor time for each delta that ``work`` counts."""
    begun, used = time.perf_counter(), time.process_time()
    deltas = work()
    if not deltas:
        raise RuntimeError("No delta arrived.")
    return (time.perf_counter() - begun) / deltas * 1e3, (time.process_time() - used) / deltas * 1e3
