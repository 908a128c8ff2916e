"""What the package adds to a call and to a delta: over raw httpx2 to the same llama.cpp child, and over
raw httpx2 to a server that streams faster than any client reads.
"""

from __future__ import annotations

import asyncio
from statistics import median

import httpx2

from benchmarks.clients import (
    Runner,
    asking,
    chat,
    closed,
    count_bytes,
    count_events,
    count_json,
    seconds,
    times,
)
from benchmarks.measure import Settings, interleaved, spread
from benchmarks.model_files import EMBEDDED
from benchmarks.model_overhead import model_rows
from benchmarks.report import Row, Table, at_least, at_most
from benchmarks.wire import TOGETHER, WireProvider, synthetic_server
from farm_notebook import AsyncFarm, ChatRequest, Farm, loop

ROUNDS = 15
CHUNKS = 5_000
CALLS = 100
GOAL_RATE = 0.9
GOAL_CHUNKS_PER_S = 50_000
GOAL_CALL = 3.0  # 1.15 times the openai SDK, which was measured at 2.6 times raw httpx2


def run(settings: Settings) -> Table:
    """Both servers, ours and raw in turn."""
    with asyncio.Runner() as runner:
        rows = _synthetic_rows(runner.run, settings.rounds or ROUNDS)
        rows += model_rows(runner.run, settings.rounds)
    title = (
        f"Synthetic: {CHUNKS:,} chunks from another process that never waits, meter and timers in the path. "
        f"Model: {EMBEDDED} in the package's own child process, asked by both. "
        "Medians (least to greatest)."
    )
    return Table("overhead", title, tuple(rows), (TOGETHER,))


def _synthetic_rows(run: Runner, rounds: int) -> list[Row]:
    core, farm = AsyncFarm(), Farm()
    many, one = _request(core, CHUNKS), _request(core, 1)
    with synthetic_server() as base_url:
        WireProvider.base_url = base_url
        client = httpx2.AsyncClient(trust_env=False, timeout=None)
        ask_many, ask_one = asking(client, base_url, many), asking(client, base_url, one)
        streams = interleaved(
            rounds,
            {
                "bytes": lambda: seconds(lambda: run(ask_many(count_bytes))),
                "json": lambda: seconds(lambda: run(ask_many(count_json))),
                "events": lambda: seconds(lambda: run(count_events(core, many))),
                "events on the farm's loop": lambda: seconds(lambda: run(loop.run(count_events(core, many)))),
                "chat": lambda: seconds(lambda: run(chat(core, many))),
                "stream": lambda: seconds(lambda: sum(1 for _ in farm.stream("go", model=str(many.ref)))),
            },
        )
        calls = interleaved(
            rounds,
            {
                "json": lambda: seconds(lambda: run(times(CALLS, lambda: ask_one(count_json)))),
                "chat": lambda: seconds(lambda: run(times(CALLS, lambda: chat(core, one)))),
                "events": lambda: seconds(lambda: run(times(CALLS, lambda: count_events(core, one)))),
                "stream": lambda: seconds(
                    lambda: [list(farm.stream("go", model=str(one.ref))) for _ in range(CALLS)]
                ),
            },
        )
        run(closed(client))
        farm.close()
    return [*_stream_rows(streams), *_call_rows(calls)]


def _stream_rows(taken: dict[str, list[float]]) -> list[Row]:
    rates = {name: [CHUNKS / total_s for total_s in each] for name, each in taken.items()}
    raw = median(rates["json"])
    labels = {
        "events": "`AsyncFarm.events` from a loop of the caller's",
        "events on the farm's loop": "`AsyncFarm.events` on the farm's loop (what a cell does)",
        "chat": "`AsyncFarm.chat`",
        "stream": "`Farm.stream`",
    }
    peer = f"httpx2 + json: {raw:,.0f}/s"
    rows: list[Row] = []
    for name, label in labels.items():
        rate = median(rates[name])
        rows.append(at_least(f"{label}: chunks/s", spread(rates[name], "/s"), peer, rate / raw, GOAL_RATE))
    slowest = min(median(rates[name]) for name in labels)
    return [
        *rows,
        Row(
            "the slowest of these",
            f"{slowest:,.0f}/s",
            f"httpx2, bytes only: {median(rates['bytes']):,.0f}/s",
            slowest / median(rates["bytes"]),
            f"≥ {GOAL_CHUNKS_PER_S:,}/s",
            slowest >= GOAL_CHUNKS_PER_S,
        ),
    ]


def _call_rows(taken: dict[str, list[float]]) -> list[Row]:
    micro = {name: [total_s / CALLS * 1e6 for total_s in each] for name, each in taken.items()}
    raw = median(micro["json"])
    labels = {"chat": "`AsyncFarm.chat`", "events": "`AsyncFarm.events`", "stream": "`Farm.stream`"}
    return [
        at_most(
            f"{label}: a call of one chunk",
            spread(micro[name], "µs"),
            f"httpx2 + json: {raw:,.0f} µs",
            median(micro[name]) / raw,
            GOAL_CALL,
        )
        for name, label in labels.items()
    ]


def _request(core: AsyncFarm, chunks: int) -> ChatRequest:
    return core.request("go", model=f"{WireProvider.name}:{chunks}")
