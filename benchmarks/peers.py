"""A request and a stream through the providers, beside the clients that people use instead.

Every client runs in processes of its own, one after the other and round after round, against one server that
never waits. Each peer lives in an environment of its own, which ``benchmarks/peers.sh`` makes; where it is
missing, its rows are left out.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measure import CHILD_TIMEOUT_S, ROOT, Settings, interleaved, spread
from benchmarks.report import Row, Table, at_least, at_most
from benchmarks.wire import TOGETHER, synthetic_server

ROUNDS = 7
CALLS = 100
CHUNKS = 5_000
GOAL_RATE = 0.9
GOAL_CALL_OVER_SDK = 1.15
GOAL_CHUNKS_PER_S = 50_000

SCRIPT = Path(__file__).parent / "children" / "peer.py"
# Each with its limit: ``AsyncFarm`` on a loop of the caller's, and on the farm's own, where magics ask.
OURS = {
    "farm, openai": "httpx2 + json",
    "farm, openai, in a cell": "httpx2 + json",
    "farm, ollama": "httpx2 + ndjson",
    "farm, ollama, in a cell": "httpx2 + ndjson",
}
SAME_REQUEST = {ours: "openai SDK" if "openai" in ours else "ollama client" for ours in OURS}
OTHERS = ("litellm", "langchain-openai", "any-llm", "pydantic-ai", "chatlas")


def run(settings: Settings) -> Table:
    """All clients in turn."""
    with synthetic_server() as url:
        names = list(dict.fromkeys((*OURS.values(), *OURS, *SAME_REQUEST.values(), *OTHERS)))
        first = {name: _measured(name, url) for name in names}
        there = [name for name in names if "missing" not in first[name]]
        taken = interleaved(
            settings.rounds or ROUNDS,
            {name: lambda name=name: _measured(name, url) for name in there},  # type: ignore[misc]
            warm_up=False,
        )
    calls = {name: [each["call_s"] * 1e6 for each in taken[name]] for name in there}
    rates = {name: [CHUNKS / each["stream_s"] for each in taken[name]] for name in there}
    rows = [*_call_rows(calls), *_rate_rows(rates)]
    title = (
        f"Medians (least to greatest) of {settings.rounds or ROUNDS} processes a client: a streamed call of "
        f"one chunk, mean of {CALLS}, and a stream of {CHUNKS:,} chunks from another process that never "
        "waits; read as text with the whole pipeline in the path."
    )
    missing = [name for name in names if name not in there]
    notes = (f"Not installed, so not measured: {', '.join(missing)}.",) if missing else ()
    return Table("peers", title, tuple(rows), (TOGETHER, *notes))


def _call_rows(calls: dict[str, list[float]]) -> list[Row]:
    rows = []
    for ours, sdk in SAME_REQUEST.items():
        taken = median(calls[ours])
        if sdk in calls:
            peer = f"{sdk}: {median(calls[sdk]):,.0f} µs"
            label = f"{ours}: a call"
            rows.append(
                at_most(
                    label, spread(calls[ours], "µs"), peer, taken / median(calls[sdk]), GOAL_CALL_OVER_SDK
                )
            )
        limit = OURS[ours]
        peer = f"{limit}: {median(calls[limit]):,.0f} µs"
        rows.append(Row(f"{ours}: a call", f"{taken:,.0f} µs", peer, taken / median(calls[limit])))
    ours = next(iter(OURS))
    for name in OTHERS:
        if name in calls:
            peer = f"{name}: {median(calls[name]):,.0f} µs"
            ratio = median(calls[ours]) / median(calls[name])
            rows.append(at_most(f"{ours}: a call", f"{median(calls[ours]):,.0f} µs", peer, ratio, 1))
    return rows


def _rate_rows(rates: dict[str, list[float]]) -> list[Row]:
    rows = []
    for ours, limit in OURS.items():
        rate = median(rates[ours])
        peer = f"{limit}: {median(rates[limit]):,.0f}/s"
        label = f"{ours}: chunks/s"
        rows.append(at_least(label, spread(rates[ours], "/s"), peer, rate / median(rates[limit]), GOAL_RATE))
        goal = f"≥ {GOAL_CHUNKS_PER_S:,}/s"
        rows.append(Row("· in all", f"{rate:,.0f}/s", goal=goal, met=rate >= GOAL_CHUNKS_PER_S))
    for name in dict.fromkeys((*SAME_REQUEST.values(), *OTHERS)):
        if name in rates:
            ours = next((ours for ours, peer in SAME_REQUEST.items() if peer == name), next(iter(OURS)))
            rate = median(rates[ours])
            peer = f"{name}: {median(rates[name]):,.0f}/s"
            rows.append(at_least(f"{ours}: chunks/s", f"{rate:,.0f}/s", peer, rate / median(rates[name]), 1))
    return rows


def _measured(name: str, url: str) -> dict[str, Any]:
    """The seconds of one client, in the environment it lives in.

    Raises:
        RuntimeError: The client failed; with what it wrote.
    """
    own = ROOT / "build" / "peers" / name / "bin" / "python"
    done = subprocess.run(
        [str(own) if own.is_file() else sys.executable, str(SCRIPT), name, url, str(CALLS), str(CHUNKS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=CHILD_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"The client {name!r} failed:\n{done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer
