"""What it costs to look at the devices once: on this machine, and with two NVIDIA GPUs of a double's.

The double is a driver's library that answers at once, so that what remains is what is ours: the way through
``pynvml`` and the making of the values. What a real driver takes comes on top; where there is one, the first
rows have it.
"""

from __future__ import annotations

import shutil
import subprocess
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.measure import ROOT, Settings, interleaved, run_child
from benchmarks.report import Row, Table

ROUNDS = 5
COUNT, WARM_UP = 2_000, 100
GOAL_US = 300.0
GOAL_OF_A_CORE = 0.001  # at one reading a second
DOUBLE = ROOT / "tests" / "devices" / "nvml_double.c"


def run(settings: Settings) -> Table:
    """Fresh processes, the two cases in turn."""
    with TemporaryDirectory() as folder:
        cases = {"this machine": partial(_read, {})}
        if _build(folder):
            cases["a double"] = partial(_read, {"LD_LIBRARY_PATH": folder})
        taken = interleaved(settings.rounds or ROUNDS, cases, warm_up=False)
    rows = [row for name, rounds in taken.items() for row in _rows(name, rounds)]
    title = (
        f"One `farm.gpu.stats()`: medians of {COUNT:,} readings in each of {settings.rounds or ROUNDS} fresh "
        "processes, and the slowest hundredth."
    )
    return Table("devices", title, tuple(rows))


def _read(variables: dict[str, str]) -> dict[str, Any]:
    return run_child("device_stats", str(COUNT), str(WARM_UP), environment=variables)


def _rows(name: str, rounds: list[dict[str, Any]]) -> list[Row]:
    gpus = rounds[0]["gpus"]
    where = f"{name}, {len(gpus)} GPUs ({', '.join(sorted(set(gpus)))})" if gpus else f"{name}, no GPU"
    taken_us = [value * 1e6 for each in rounds for value in each["taken_s"]]
    bare_us = median(value * 1e6 for each in rounds for value in each["bare_s"])
    processor_s = median(each["processor_s"] for each in rounds)
    slow_us = quantiles(taken_us, n=100)[98]
    middle_us, first_s = median(taken_us), median(each["first_s"] for each in rounds)
    return [
        Row(
            f"{where}: a reading",
            f"{middle_us:,.0f} µs (99 %: {slow_us:,.0f} µs)",
            f"psutil, memory only: {bare_us:,.0f} µs",
            middle_us / bare_us,
            f"≤ {GOAL_US:,.0f} µs",
            middle_us <= GOAL_US,
        ),
        Row(
            "· of a core, once a second",
            f"{processor_s:.3%}",
            goal=f"≤ {GOAL_OF_A_CORE:.1%}",
            met=processor_s <= GOAL_OF_A_CORE,
        ),
        Row("· the first, which opens the drivers", f"{first_s * 1e3:,.0f} ms"),
    ]


def _build(folder: str) -> bool:
    """Compile the double; whether there is a compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return False
    library = Path(folder, "libnvidia-ml.so.1")
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-w", "-o", str(library), str(DOUBLE)], check=True)
    return True
