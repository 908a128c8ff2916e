"""What a cell sends that streams 5,000 deltas, 24 KB, in 5 s: bytes, processor time, and how far it lags.

A real ipykernel; the peers take the same stream and drop it, print it, or repaint it whole.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from statistics import median

from benchmarks.kernels import Cell, Kernel
from benchmarks.measure import Settings, clean_environment, interleaved
from benchmarks.report import Row, Table, at_most
from benchmarks.texts import DELTAS, LENGTH, MARK, TEXTS, deltas

ROUNDS = 5
GOAL_BYTES = 5.0
GOAL_CPU = 1.2
GOAL_LAG_S = 0.2
NAMES = {"markdown": "Markdown", "paragraph": "one paragraph"}

_SETUP = """
%load_ext farm_notebook
import time
from IPython.display import Markdown, display
from benchmarks.children import paced
from farm_notebook import AsyncFarm, loop
from farm_notebook.types import TextDelta
"""
_OURS = "%%farm_chat --no-history -m paced:{name}\ngo"
_DROPPED = "await paced.consume('{name}')"
_DROPPED_ON_FARM_LOOP = "await loop.run(paced.consume('{name}'))"
_PRINTED = """
async for event in AsyncFarm().events(paced.request('{name}')):
    if isinstance(event, TextDelta):
        print(event.text, end="", flush=True)
"""
_REPAINTED = """
text, painted_at = "", 0.0
handle = display(Markdown(text), display_id=True)
async for event in AsyncFarm().events(paced.request('{name}')):
    if isinstance(event, TextDelta):
        text += event.text
        if time.monotonic() - painted_at > 0.05:
            handle.update(Markdown(text))
            painted_at = time.monotonic()
handle.update(Markdown(text))
"""
_ARRIVALS = "' '.join(map(str, paced.PacedProvider.arrivals))"
_CASES = {
    "ours": _OURS,
    "dropped": _DROPPED,
    "dropped on the farm's loop": _DROPPED_ON_FARM_LOOP,
    "printed": _PRINTED,
    "repainted": _REPAINTED,
}
_PEERS_OF = {"markdown": tuple(_CASES), "paragraph": tuple(_CASES)[:3]}


@dataclass(frozen=True, slots=True)
class _Taken:
    messages: int
    wire_bytes: int
    cpu_s: float
    lag_s: float


def run(settings: Settings) -> Table:
    """Stream both texts in one kernel, ours and the peers in turn."""
    rounds = settings.rounds or ROUNDS
    with clean_environment() as environment, Kernel(environment) as kernel:
        kernel.execute(_SETUP)
        kernel.execute(_OURS.format(name="markdown"))  # loads what a first answer loads
        cases: dict[str, Callable[[], _Taken]] = {
            f"{name}/{case}": partial(_take, kernel, name, case) for name in TEXTS for case in _PEERS_OF[name]
        }
        taken = interleaved(rounds, cases, warm_up=False)
    rows = [row for name in TEXTS for row in _rows(name, taken)]
    title = (
        f"{DELTAS:,} deltas, {LENGTH / 1000:g} KB, at 1,000 deltas/s through a registered provider; "
        f"real ipykernel; medians of {rounds}. Bytes are all frames of all iopub messages of the cell."
    )
    return Table("iopub", title, tuple(rows))


def _take(kernel: Kernel, name: str, case: str) -> _Taken:
    cell = kernel.execute(_CASES[case].format(name=name), arrivals=_ARRIVALS)
    arrivals = [float(moment) for moment in ast.literal_eval(cell.values["arrivals"]).split()]
    if len(arrivals) != DELTAS:
        raise RuntimeError(f"{case}: {len(arrivals)} deltas arrived, not {DELTAS}")
    lag_s = 0.0 if case.startswith("dropped") else greatest_lag_s(name, cell, arrivals)
    return _Taken(len(cell.messages), cell.wire_bytes, cell.cpu_s, lag_s)


def greatest_lag_s(name: str, cell: Cell, arrivals: list[float]) -> float:
    """The longest time from a delta's arrival to the receipt of the first message that shows it.

    Args:
        name: The text.
        cell: The cell that showed it.
        arrivals: ``time.perf_counter`` of each delta.

    Raises:
        RuntimeError: The cell never showed the whole text.
    """
    text = TEXTS[name]()
    ends = list(accumulate(map(len, deltas(text))))
    mark_ends = {int(mark[1]): mark.end() for mark in MARK.finditer(text)}
    shown, lag_s, carry = 0, 0.0, ""
    for message in cell.messages:
        if not message.is_output:
            continue
        carry = (carry[-20:] if message.kind == "stream" else "") + message.text
        characters = max((mark_ends.get(int(mark[1]), 0) for mark in MARK.finditer(carry)), default=0)
        while shown < DELTAS and ends[shown] <= characters:
            lag_s = max(lag_s, message.received_s - arrivals[shown])
            shown += 1
    if shown < DELTAS:
        raise RuntimeError(f"{name}: only {shown} of {DELTAS} deltas were ever shown")
    return lag_s


def _rows(name: str, taken: dict[str, list[_Taken]]) -> list[Row]:
    ours = taken[f"{name}/ours"]
    label = NAMES[name]

    def middle(case: str, field: str) -> float:
        return median(float(getattr(each, field)) for each in taken[f"{name}/{case}"])

    sent, cpu_s = middle("ours", "wire_bytes"), middle("ours", "cpu_s")
    worst_s = max(each.lag_s for each in ours)
    rows = [
        at_most(
            f"{label}: bytes", _kilobytes(sent), f"answer: {_kilobytes(LENGTH)}", sent / LENGTH, GOAL_BYTES
        ),
        Row(f"{label}: messages", f"{middle('ours', 'messages'):.0f}"),
        Row(
            f"{label}: greatest lag of any run",
            f"{worst_s * 1e3:.0f} ms",
            f"median run: {middle('ours', 'lag_s') * 1e3:.0f} ms",
            goal=f"≤ {GOAL_LAG_S * 1e3:g} ms",
            met=worst_s <= GOAL_LAG_S,
        ),
    ]
    for case in ("dropped", "dropped on the farm's loop"):
        floor_s = middle(case, "cpu_s")
        peer = f"{case}: {floor_s * 1e3:.0f} ms"
        pairs = zip(ours, taken[f"{name}/{case}"], strict=True)
        ratio = median(mine.cpu_s / floor.cpu_s for mine, floor in pairs)  # the weather of one round is one
        rows.append(at_most(f"{label}: kernel CPU", f"{cpu_s * 1e3:.0f} ms", peer, ratio, GOAL_CPU))
    for case in _PEERS_OF[name][3:]:
        peer_bytes, peer_cpu_s = middle(case, "wire_bytes"), middle(case, "cpu_s")
        what = f"{middle(case, 'messages'):,.0f} messages, lag {middle(case, 'lag_s') * 1e3:.0f} ms"
        rows += [
            Row(
                f"{label}: bytes",
                _kilobytes(sent),
                f"{case}: {_kilobytes(peer_bytes)} in {what}",
                sent / peer_bytes,
            ),
            Row(
                f"{label}: kernel CPU",
                f"{cpu_s * 1e3:.0f} ms",
                f"{case}: {peer_cpu_s * 1e3:.0f} ms",
                cpu_s / peer_cpu_s,
            ),
        ]
    return rows


def _kilobytes(size: float) -> str:
    return f"{size / 1e3:,.0f} KB"
