"""From starting a fresh kernel to the first text of a ``%%farm_chat`` cell, against what cannot be saved:
the kernel's own start, and llama.cpp loading the same file in process with nothing around it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from benchmarks.kernels import Cell, Kernel
from benchmarks.measure import Settings, clean_environment, interleaved, run_child, spread
from benchmarks.model_files import EMBEDDED, embedded_file
from benchmarks.report import Row, Table
from farm_notebook.config import load_config

ROUNDS = 7
# An answer long enough not to be over when its first text is due.
PROMPT = "What is the capital of France? Tell me about it in five sentences."
_CHAT = f"%%farm_chat -t 0 --max-tokens 48 --no-history --out answer -m {EMBEDDED}\n{PROMPT}"
_NOTE = re.compile(r"\*[^*]*\*")  # progress, which stands in italics until the first word


@dataclass(frozen=True, slots=True)
class _Shown:
    """One chat cell, in seconds: until its first text is received, and what the reply says of that time."""

    text_s: float
    load_s: float
    token_s: float

    @property
    def rest_s(self) -> float:
        """Neither the model's loading nor its first token: imports, sending, painting, the way back."""
        return self.text_s - self.load_s - self.token_s


@dataclass(frozen=True, slots=True)
class _Start:
    """One fresh kernel, in seconds, with its first chat cell and one more."""

    kernel_s: float
    load_ext_s: float
    first: _Shown
    again: _Shown

    @property
    def total_s(self) -> float:
        """From starting the kernel to the first text."""
        return self.kernel_s + self.load_ext_s + self.first.text_s


@dataclass(frozen=True, slots=True)
class _Raw:
    """llama.cpp alone, in seconds."""

    import_s: float
    load_s: float
    first_s: float

    @property
    def total_s(self) -> float:
        """From the import to the first word."""
        return self.import_s + self.load_s + self.first_s


def run(settings: Settings) -> Table:
    """Start kernels and raw processes in turn."""
    rounds = settings.rounds or ROUNDS
    path, config = embedded_file(), load_config().llamacpp
    limits = (config.context_tokens, config.batch_tokens, config.threads)
    starts: list[_Start] = []
    raws: list[_Raw] = []
    with clean_environment() as environment:
        cases: dict[str, Callable[[], None]] = {
            "raw": lambda: raws.append(_Raw(**run_child("raw_llama", str(path), *map(str, limits), PROMPT))),
            "ours": lambda: starts.append(_start(environment)),
        }
        interleaved(rounds, cases)
    return _table(starts[1:], raws[1:])


def _start(environment: dict[str, str]) -> _Start:
    begun = time.perf_counter()
    with Kernel(environment) as kernel:
        ready = time.perf_counter()
        kernel.execute("%load_ext farm_notebook")
        extended = time.perf_counter()
        return _Start(ready - begun, extended - ready, _shown(kernel), _shown(kernel))


def _shown(kernel: Kernel) -> _Shown:
    cell = kernel.execute(_CHAT, load="answer.timings.load_s", token="answer.timings.first_token_s")
    return _Shown(_first_text_s(cell), float(cell.values["load"]), float(cell.values["token"]))


def _first_text_s(cell: Cell) -> float:
    for message in cell.messages:
        if message.is_output and message.text and not _NOTE.fullmatch(message.text):
            return message.received_s - cell.sent_s
    raise RuntimeError("The cell showed no text.")


def _table(starts: list[_Start], raws: list[_Raw]) -> Table:
    raw = _Raw(*(median(getattr(each, name) for each in raws) for name in _Raw.__slots__))
    kernel_s = median(each.kernel_s for each in starts)
    total_s = median(each.total_s for each in starts)
    floor_s = kernel_s + raw.total_s

    def line(measure: str, seconds: list[float], peer: str = "", peer_s: float = 0.0) -> Row:
        values = [value * 1e3 for value in seconds]
        if not peer:
            return Row(measure, spread(values, "ms"))
        return Row(measure, spread(values, "ms"), f"{peer}: {peer_s * 1e3:.0f} ms", median(seconds) / peer_s)

    rows = (
        line("fresh kernel to first text", [e.total_s for e in starts], "kernel start + raw", floor_s),
        line("· kernel start", [e.kernel_s for e in starts]),
        line("· `%load_ext`", [e.load_ext_s for e in starts]),
        line("· first cell to its first text", [e.first.text_s for e in starts], "raw", raw.total_s),
        line(
            "· · model load", [e.first.load_s for e in starts], "raw import + load", raw.import_s + raw.load_s
        ),
        line("· · first token", [e.first.token_s for e in starts], "raw", raw.first_s),
        line("· · the rest", [e.first.rest_s for e in starts]),
        line("second cell to its first text", [e.again.text_s for e in starts]),
        line("· first token", [e.again.token_s for e in starts]),
        line("· the rest", [e.again.rest_s for e in starts]),
    )
    title = (
        f"`%%farm_chat -t 0` with {EMBEDDED}; raw is llama.cpp in its own process, same file and limits. "
        f"Medians of {len(starts)} (least to greatest)."
    )
    added_s = total_s - floor_s
    note = f"Over the floor: {added_s * 1e3:.0f} ms. The rest is imports, sending, painting and the way back."
    return Table("first_token", title, rows, (note,))
