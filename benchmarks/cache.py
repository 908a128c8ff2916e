"""A cache hit: reading the store, beside SQLite and JSON by hand; and a whole call, beside the caches that
people use instead.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import closing
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.measure import CHILD_TIMEOUT_S, ROOT, Once, Settings, Taken, timed_calls
from benchmarks.report import Row, Table, at_most
from farm_notebook import AsyncFarm, Farm, loop, register_provider
from farm_notebook.providers.scripted import ScriptedProvider
from farm_notebook.recording import dump, load, record
from farm_notebook.stores.sqlite import SQLiteStore
from farm_notebook.types import ChatRequest, Event, Finished, ModelRef, Started, TextDelta, Usage

ROUNDS = 10
READS = 300  # a round
CALLS = 200
SIZES = {"1 KB": 1_000, "100 KB": 100_000}
PIECE = "word "  # about as long as a token
OTHERS = 2_000  # values in the store beside the one that is read
GOAL_READ = 2.0
GOAL_CALL_US = 100.0
GOAL_OF_PEER = 0.2
PROMPT = "hello there, how are you?"
SCRIPT = Path(__file__).parent / "children" / "cached_peer.py"
PEERS = {
    "langchain SQLiteCache": "langchain-community",
    "litellm disk cache": "litellm-cache",
}  # and where they live


class PiecesProvider(ScriptedProvider):
    """Answers with as many bytes as its model's name says."""

    name = "pieces"

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        for event in answer(request.ref):
            yield event


def answer(ref: ModelRef) -> list[Event]:
    """What the model of that name says."""
    count = int(ref.model) // len(PIECE)
    return [Started(ref), *[TextDelta(PIECE)] * count, Finished("stop", Usage(8, count))]


def run(settings: Settings) -> Table:
    """The store, the call, the peers."""
    rounds = settings.rounds or ROUNDS
    register_provider(PiecesProvider)
    with TemporaryDirectory() as folder:
        rows = loop.run_blocking(_read_rows(Path(folder) / "reads.sqlite", rounds))
        with closing(Farm(cache_dir=Path(folder), cache={"enabled": True})) as farm:
            calls = loop.run_blocking(_calls(farm.core, rounds))
            calls |= _blocking_calls(farm, rounds)
    peers = {(peer, size): _peer(peer, size) for size in SIZES for peer in PEERS}
    rows += [*_call_rows(calls), *_peer_rows(calls, peers)]
    title = (
        f"Medians (99th percentile), each of {rounds} rounds of {READS} reads or {CALLS} calls, the cases in "
        f"turn. Answers came in pieces of {len(PIECE)} characters. By hand is one SELECT in WAL mode, and "
        "json.loads of the text and its usage."
    )
    missing = sorted({peer for (peer, _), taken in peers.items() if taken is None})
    notes = (f"Not installed, so not measured: {', '.join(missing)}.",) if missing else ()
    return Table("cache", title, tuple(rows), notes)


async def _read_rows(path: Path, rounds: int) -> list[Row]:
    """Reads of one value among many, through the store and by hand, of two files that hold the same."""
    store = SQLiteStore(path, ttl_s=3600, max_bytes=1_000_000_000)
    by_hand = sqlite3.connect(path.with_name("by-hand.sqlite"), isolation_level=None)
    by_hand.execute("PRAGMA journal_mode = WAL")
    by_hand.execute("CREATE TABLE answers (key TEXT PRIMARY KEY, value TEXT)")
    cases: dict[str, Once] = {}

    def put(key: str, size: int) -> None:
        events = answer(ModelRef("pieces", str(size)))
        store.put(key, dump(record(events)))
        value = json.dumps({"text": PIECE * (size // len(PIECE)), "usage": [8, size // len(PIECE)]})
        by_hand.execute("INSERT INTO answers VALUES (?, ?)", (key, value))

    async def read(key: str) -> object:
        content = await store.get(key)
        assert content is not None
        return load(content)

    async def read_by_hand(key: str) -> object:
        return json.loads(by_hand.execute("SELECT value FROM answers WHERE key = ?", (key,)).fetchone()[0])

    for number in range(OTHERS):
        put(f"{number:064x}", 1_000)
    for name, size in SIZES.items():
        key = f"{size:064d}"
        put(key, size)
        cases[f"store {name}"] = lambda key=key: read(key)  # type: ignore[misc]
        cases[f"by hand {name}"] = lambda key=key: read_by_hand(key)  # type: ignore[misc]
    await store.stats()  # which writes first
    taken = await timed_calls(rounds, READS, cases)
    await store.aclose()
    by_hand.close()
    return [
        at_most(
            f"read of the store, {name}",
            _figure(taken[f"store {name}"]),
            f"by hand: {_figure(taken[f'by hand {name}'])}",
            median(taken[f"store {name}"]) / median(taken[f"by hand {name}"]),
            GOAL_READ,
        )
        for name in SIZES
    ]


async def _calls(core: AsyncFarm, rounds: int) -> Taken:
    """Whole calls on the farm's own loop, which is where a cell's request runs."""
    cases: dict[str, Once] = {}

    async def chat(model: str) -> object:
        reply = await core.chat(PROMPT, model=model, temperature=0)
        assert reply.cached
        return reply

    async def stream(model: str) -> object:
        return [piece async for piece in core.stream(PROMPT, model=model, temperature=0)]

    for name, size in SIZES.items():
        model = f"pieces:{size}"
        await core.chat(PROMPT, model=model, temperature=0)
        cases[f"chat, {name}"] = lambda model=model: chat(model)  # type: ignore[misc]
        cases[f"stream, {name}"] = lambda model=model: stream(model)  # type: ignore[misc]
    await core.cache_stats()  # which writes first
    return await timed_calls(rounds, CALLS, cases)


def _blocking_calls(farm: Farm, rounds: int) -> Taken:
    taken: list[float] = []
    for _ in range(rounds * CALLS):
        began = time.perf_counter()
        farm.chat(PROMPT, model="pieces:1000", temperature=0)
        taken.append((time.perf_counter() - began) * 1e6)
    return {"blocking": taken}


def _call_rows(calls: Taken) -> list[Row]:
    chat = calls["chat, 1 KB"]
    goal = f"≤ {GOAL_CALL_US:g} µs"
    pieces = {name: f"{size // len(PIECE):,} pieces" for name, size in SIZES.items()}
    return [
        Row("`AsyncFarm.chat`, 1 KB", _figure(chat), goal=goal, met=median(chat) <= GOAL_CALL_US),
        Row("`AsyncFarm.chat`, 100 KB", _figure(calls["chat, 100 KB"])),
        *(
            Row(f"`AsyncFarm.stream`, {name}, {pieces[name]}", _figure(calls[f"stream, {name}"]))
            for name in SIZES
        ),
        Row("`Farm.chat` from another thread, 1 KB", _figure(calls["blocking"])),
    ]


def _peer_rows(calls: Taken, peers: Mapping[tuple[str, str], list[float] | None]) -> list[Row]:
    return [
        at_most(
            f"`AsyncFarm.chat`, {size}",
            f"{median(calls[f'chat, {size}']):,.0f} µs",
            f"{peer}: {_figure(taken)}",
            median(calls[f"chat, {size}"]) / median(taken),
            GOAL_OF_PEER,
        )
        for (peer, size), taken in peers.items()
        if taken
    ]


def _peer(name: str, size: str) -> list[float] | None:
    """The microseconds of a peer's calls, in the environment it lives in; ``None`` where it is missing.

    Raises:
        RuntimeError: The peer failed; with what it wrote.
    """
    own = ROOT / "build" / "peers" / PEERS[name] / "bin" / "python"
    python = str(own) if own.is_file() else sys.executable
    done = subprocess.run(
        [python, str(SCRIPT), name, str(SIZES[size]), str(CALLS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=CHILD_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"The peer {name!r} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return [took_s * 1e6 for took_s in found["seconds"]] if "seconds" in found else None


def _figure(taken: list[float]) -> str:
    middle = median(taken)
    digits = 1 if middle < 100 else 0
    return f"{middle:,.{digits}f} µs ({quantiles(taken, n=100)[-1]:,.{digits}f})"
